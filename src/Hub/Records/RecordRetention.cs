using Hub.Storage;

namespace Hub.Records;

/// <summary>
/// What a team's plan keeps of its records: those that are history, for a time, by their own date. What is still open stays, whatever its
/// age. Nodes send old records again and again, so what would be removed at once is not taken either.
/// </summary>
internal static class RecordRetention
{
    /// <summary>Plans count in days.</summary>
    public const long DayMs = 24L * 60 * 60 * 1000;

    private const string KeptSinceSql = """
        select @NowMs - p.retention_days * @DayMs from teams t join plans p on p.plan = t.plan
        where t.team_id = @teamId and p.retention_days is not null
        """;

    /// <summary>Epoch milliseconds a team's history starts at; null where it is kept for ever.</summary>
    public static Task<long?> KeptSinceAsync(Store store, string teamId, long nowMs, CancellationToken cancellation) =>
        store.QuerySingleOrDefaultAsync<long?>(TeamScope.Of(teamId), KeptSinceSql, new { NowMs = nowMs, DayMs, teamId }, cancellation);

    /// <summary>Whether the next sweep would remove the change, were it stored.</summary>
    public static bool IsOver(StoreTransaction tx, RecordChange change) =>
        change.Version <= VersionAt(tx.NowMs - DayMs) // No plan keeps less than a day, and what is new must not cost a look.
        && IsOver(change, tx.QuerySingleOrDefault<long?>(KeptSinceSql, new { tx.NowMs, DayMs, teamId = change.TeamId }));

    /// <param name="change">A change of a record that is not stored.</param>
    /// <param name="keptSince">As <see cref="KeptSinceAsync"/> gave it.</param>
    public static bool IsOver(RecordChange change, long? keptSince) =>
        keptSince is { } since && change.Body is { } body && change.Collection.IsHistory(body) && change.Version <= VersionAt(since);

    /// <summary>Version of a change made at a time in epoch milliseconds.</summary>
    public static long VersionAt(long ms) => ms * 1000;
}
