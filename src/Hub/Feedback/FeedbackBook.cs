using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;

namespace Hub.Feedback;

/// <summary>A team's feedback. An item is stored as its message; what lists filter by and what changes stands in columns.</summary>
internal sealed class FeedbackBook(Store store)
{
    public const string Columns = "feedback_id, host_id, status, body, created_at, version";

    private const string OneSql = $"select {Columns} from feedback where team_id = @teamId and feedback_id = @feedbackId";

    private const string RepeatedSql = $"select {Columns}, fingerprint from feedback where team_id = @teamId and idempotency_key = @key";

    private const string InsertSql = """
        insert into feedback (feedback_id, team_id, host_id, kind, status, body, created_at, version, idempotency_key, fingerprint)
        values (@Id, @teamId, @HostId, @Kind, @status, @body, @NowMs, @version, @key, @fingerprint)
        """;

    /// <summary>Keeps an item; a repeat of the key answers with the first one.</summary>
    public Task<(FeedbackItem Item, bool Created)> AddAsync(
        TeamAccess team, FeedbackItem draft, string? key, string fingerprint, CancellationToken cancellation) =>
        store.WriteAsync(
            team.TeamId,
            tx =>
            {
                var teamId = team.TeamId;
                if (key is not null && tx.QuerySingleOrDefault<RepeatedRow>(RepeatedSql, new { teamId, key }) is { } earlier)
                {
                    return earlier.Fingerprint == fingerprint ? (earlier.ToItem(), false) : throw IdempotencyKeys.Reused();
                }

                var item = draft.Clone();
                item.Id = EntityId.New("feedback", tx.NowMs);
                var row = new FeedbackRow
                {
                    FeedbackId = item.Id,
                    HostId = item.HostId,
                    Status = EnumText<FeedbackStatus>.Of(FeedbackStatus.Open),
                    Body = item.ToByteArray(),
                    CreatedAt = tx.NowMs,
                    Version = tx.NowMs * 1000,
                };
                tx.Execute(
                    InsertSql,
                    new { item.Id, teamId, item.HostId, item.Kind, status = row.Status, body = row.Body, tx.NowMs, version = row.Version, key, fingerprint });
                Tell(tx, teamId, row);
                return (row.ToItem(), true);
            },
            cancellation);

    /// <summary>A page of a team's items, the latest first.</summary>
    public async Task<(IReadOnlyList<FeedbackItem> Items, string NextPageToken)> ListAsync(
        TeamAccess team, ListFeedbackRequest request, CancellationToken cancellation)
    {
        var size = PageToken.Size(request.PageSize);
        var (createdAt, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var status = EnumText<FeedbackStatus>.Of(request.Status);
        var rows = await store.QueryAsync<FeedbackRow>(
            TeamScope.Of(team.TeamId),
            $"""
            select {Columns} from feedback
            where team_id = @teamId and (created_at, feedback_id) < (@createdAt, @id)
                {(request.HostId.Length > 0 ? "and host_id = @HostId" : "")} {(request.Kind.Length > 0 ? "and kind = @Kind" : "")}
                {(request.Status != FeedbackStatus.Unspecified ? "and status = @status" : "")}
            order by created_at desc, feedback_id desc limit @limit
            """,
            new { teamId = team.TeamId, createdAt, id, request.HostId, request.Kind, status, limit = size + 1 },
            cancellation);
        return (
            [.. rows.Take(size).Select(row => row.ToItem())],
            rows.Count > size ? PageToken.Of(rows[size - 1].CreatedAt, rows[size - 1].FeedbackId) : "");
    }

    /// <exception cref="HubException">RECORD_NOT_FOUND.</exception>
    public async Task<FeedbackItem> GetAsync(TeamAccess team, string feedbackId, CancellationToken cancellation)
    {
        var row = await store.QuerySingleOrDefaultAsync<FeedbackRow>(
            TeamScope.Of(team.TeamId), OneSql, new { teamId = team.TeamId, feedbackId }, cancellation);
        return (row ?? throw NotFound(feedbackId)).ToItem();
    }

    /// <exception cref="HubException">RECORD_NOT_FOUND, VERSION_MISMATCH.</exception>
    public Task<FeedbackItem> SetStatusAsync(
        TeamAccess team, string feedbackId, FeedbackStatus status, long expectedVersion, CancellationToken cancellation) =>
        store.WriteAsync(
            team.TeamId,
            tx =>
            {
                var teamId = team.TeamId;
                var row = tx.QuerySingleOrDefault<FeedbackRow>(OneSql, new { teamId, feedbackId }) ?? throw NotFound(feedbackId);
                if (expectedVersion != 0 && expectedVersion != row.Version)
                {
                    throw new HubException(
                        ErrorReason.VersionMismatch, "The item was changed meanwhile; read it again.", ("version", $"{row.Version}"));
                }

                var word = EnumText<FeedbackStatus>.Of(status);
                if (row.Status == word)
                {
                    return row.ToItem();
                }

                var changed = row with { Status = word, Version = RecordStore.NextVersion(tx, row.Version) };
                tx.Execute(
                    "update feedback set status = @Status, version = @Version where team_id = @teamId and feedback_id = @FeedbackId",
                    new { changed.Status, changed.Version, teamId, changed.FeedbackId });
                Tell(tx, teamId, changed);
                return changed.ToItem();
            },
            cancellation);

    private static void Tell(StoreTransaction tx, string teamId, FeedbackRow row) => tx.AppendEvent(
        teamId, EnumText<WatchKind>.Of(WatchKind.Feedback), row.HostId.Length > 0 ? row.HostId : null, row.FeedbackId, row.Version);

    private static HubException NotFound(string feedbackId) =>
        new(ErrorReason.RecordNotFound, "The team has no such feedback.", ("feedback_id", feedbackId));

    internal record FeedbackRow
    {
        public required string FeedbackId { get; init; }
        public required string HostId { get; init; }
        public required string Status { get; init; }
        public required byte[] Body { get; init; }
        public long CreatedAt { get; init; }
        public long Version { get; init; }

        public FeedbackItem ToItem()
        {
            var item = FeedbackItem.Parser.ParseFrom(Body);
            item.Status = EnumText<FeedbackStatus>.Parse(Status);
            item.CreatedAt = EpochMs.ToTimestamp(CreatedAt);
            item.Version = Version;
            return item;
        }
    }

    private sealed record RepeatedRow : FeedbackRow
    {
        public required string Fingerprint { get; init; }
    }
}
