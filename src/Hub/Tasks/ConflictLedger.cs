using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;

namespace Hub.Tasks;

/// <summary>
/// Records that node and cloud changed without knowing of each other (stream-protocol.md §3). The node's side was stored when it came; a
/// person may bring the cloud's back.
/// </summary>
internal sealed class ConflictLedger(Store store, RecordStore records)
{
    public const string Columns = """
        host_id, conflict_id, collection, record_id, base_version, stored_version, incoming_version, stored_body, incoming_body, created_at, resolved_at
        """;

    private const string PageSql = $"""
        select {Columns} from sync_conflicts
        where host_id = @hostId and team_id = @teamId and (created_at, conflict_id) < (@createdAt, @id)
        """;

    private const string OrderSql = "order by created_at desc, conflict_id desc limit @limit";

    private const string OneSql = $"select {Columns} from sync_conflicts where host_id = @hostId and team_id = @teamId and conflict_id = @conflictId";

    private const string StoredVersionSql =
        "select version from records where host_id = @hostId and collection = @Collection and record_id = @RecordId";

    public async Task<(IReadOnlyList<SyncConflict> Conflicts, string NextPageToken)> ListAsync(
        HostAccess host, bool withResolved, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (createdAt, id) = PageToken.Read(pageToken, long.MaxValue);
        var rows = await store.QueryAsync<Row>(
            TeamScope.Of(host.TeamId),
            $"{PageSql} {(withResolved ? "" : "and resolved_at is null")} {OrderSql}",
            new { hostId = host.HostId, teamId = host.TeamId, createdAt, id, limit = size + 1 },
            cancellation);
        return (
            [.. rows.Take(size).Select(row => row.ToConflict())],
            rows.Count > size ? PageToken.Of(rows[size - 1].CreatedAt, rows[size - 1].ConflictId) : "");
    }

    /// <summary>Closes a conflict; one that is closed stays as it was closed.</summary>
    /// <exception cref="HubException">RECORD_NOT_FOUND.</exception>
    public Task<SyncConflict> ResolveAsync(HostAccess host, string conflictId, bool keepCloud, CancellationToken cancellation) =>
        store.WriteAsync(
            host.TeamId,
            tx =>
            {
                var row = tx.QuerySingleOrDefault<Row>(OneSql, new { hostId = host.HostId, teamId = host.TeamId, conflictId })
                    ?? throw new HubException(ErrorReason.RecordNotFound, "The host has no such conflict.", ("conflict_id", conflictId));
                if (row.ResolvedAt is not null)
                {
                    return row.ToConflict();
                }

                if (keepCloud)
                {
                    var collection = RecordCollections.Named(row.Collection);
                    var version = RecordStore.NextVersion(
                        tx, tx.QuerySingleOrDefault<long>(StoredVersionSql, new { hostId = host.HostId, row.Collection, row.RecordId }));
                    var body = row.StoredBody is null ? null : collection.Read(row.StoredBody, version);
                    records.Apply(
                        tx, new RecordChange(host.TeamId, host.HostId, collection, row.RecordId, body, version, null, RecordOrigin.Cloud));
                }

                tx.Execute("update sync_conflicts set resolved_at = @NowMs where conflict_id = @conflictId", new { tx.NowMs, conflictId });
                tx.AppendEvent(host.TeamId, EnumText<WatchKind>.Of(WatchKind.Conflict), host.HostId, conflictId, 0);
                return (row with { ResolvedAt = tx.NowMs }).ToConflict();
            },
            cancellation);

    internal sealed record Row
    {
        public required string HostId { get; init; }
        public required string ConflictId { get; init; }
        public required string Collection { get; init; }
        public required string RecordId { get; init; }
        public long BaseVersion { get; init; }
        public long StoredVersion { get; init; }
        public long IncomingVersion { get; init; }
        public byte[]? StoredBody { get; init; }
        public byte[]? IncomingBody { get; init; }
        public long CreatedAt { get; init; }
        public long? ResolvedAt { get; init; }

        public SyncConflict ToConflict()
        {
            var conflict = new SyncConflict
            {
                Id = ConflictId,
                Collection = Collection,
                RecordId = RecordId,
                BaseVersion = BaseVersion,
                CloudVersion = StoredVersion,
                NodeVersion = IncomingVersion,
                CloudTask = TaskOf(StoredBody, StoredVersion),
                NodeTask = TaskOf(IncomingBody, IncomingVersion),
                CreatedAt = CreatedAt,
            };
            if (ResolvedAt is { } resolvedAt)
            {
                conflict.ResolvedAt = resolvedAt;
            }

            return conflict;
        }

        private HostTask? TaskOf(byte[]? body, long version) =>
            body is not null && Collection == RecordCollections.Tasks.Name ? (HostTask)RecordCollections.Tasks.Read(body, version) : null;
    }
}
