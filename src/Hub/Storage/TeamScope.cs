namespace Hub.Storage;

/// <summary>
/// The teams a transaction may see. On PostgreSQL row level security holds it to them even where a query forgets its <c>where</c>;
/// on SQLite it is a statement of intent.
/// </summary>
internal readonly record struct TeamScope
{
    private readonly string? _csv;

    private TeamScope(string csv) => _csv = csv;

    /// <summary>Every row of every team: identity look-ups and migrations only.</summary>
    public static TeamScope System => default;

    public bool IsSystem => _csv is null;

    /// <summary>The value of <c>hub.team_ids</c>.</summary>
    public string Csv => _csv ?? throw new InvalidOperationException("The system scope names no teams.");

    public static TeamScope Of(string teamId)
    {
        // A comma would make one id two; no id of ours has one, so this only stops a forged id.
        if (string.IsNullOrEmpty(teamId) || teamId.Contains(',', StringComparison.Ordinal))
        {
            throw new ArgumentException("A team id is not empty and has no comma.", nameof(teamId));
        }
        return new TeamScope(teamId);
    }

    public static TeamScope Of(IEnumerable<string> teamIds) => new(string.Join(',', teamIds.Select(id => Of(id).Csv)));

    /// <summary>The scope of a write job, whose team may be <see cref="Store.SystemTeam"/>.</summary>
    public static TeamScope OfJob(string teamId) => teamId == Store.SystemTeam ? System : Of(teamId);
}

/// <summary>What a link may write as: jobs behind an older epoch than the stored one are refused.</summary>
internal readonly record struct Fence(string HostId, long Epoch);

/// <summary>The row of a fence's host, as the job finds it: what happened before it in its group is in it.</summary>
internal sealed record FencedLink(string HostId, long Epoch, long CommandsSeq, long ChatSeq, long DataSeq, long BulkSeq)
{
    public const string Columns = "host_id, epoch, commands_seq, chat_seq, data_seq, bulk_seq";
}
