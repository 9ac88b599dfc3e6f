using System.Security.Cryptography;
using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Records;

/// <summary>Where a change of a record comes from.</summary>
internal enum RecordOrigin
{
    Node,
    Cloud,
}

/// <summary>A change of a record on its way into the store.</summary>
/// <param name="Body">Null for a deletion.</param>
/// <param name="JournalId">Journal of a numbered delta, else empty.</param>
/// <param name="Seq">Number within the journal's data lane, else 0.</param>
/// <param name="SnapshotId">The re-sync it belongs to, else empty.</param>
internal sealed record RecordChange(
    string TeamId, string HostId, RecordCollection Collection, string RecordId, IMessage? Body, long Version, long? BaseVersion, RecordOrigin Origin,
    string JournalId = "", long Seq = 0, string SnapshotId = "");

/// <summary>What became of a change.</summary>
/// <param name="ConflictId">Set when both sides had changed the record: both are in the ledger.</param>
internal readonly record struct AppliedChange(bool Changed, string? ConflictId);

/// <summary>
/// The records of hosts, of all collections: which of two changes wins (stream-protocol.md §3), tombstones, conflicts. A body is stored as
/// its message; what lists filter by stands in columns.
/// </summary>
internal sealed class RecordStore(StoreGuards guards)
{
    /// <summary>Without the bodies, which only a conflict or a derivation needs.</summary>
    private static readonly RowsStatement<RecordKey> Stored = new(
        """
        select s.host_id, s.collection, s.record_id, s.version, s.journal_id, s.seq, s.origin, s.body_hash, s.deleted_at
        from {rows} join records s on s.host_id = r.host_id and s.collection = r.collection and s.record_id = r.record_id
        """,
        Column<RecordKey>.Of("host_id", key => key.HostId),
        Column<RecordKey>.Of("collection", key => key.Collection),
        Column<RecordKey>.Of("record_id", key => key.RecordId));

    private const string BodySql =
        "select body from records where host_id = @HostId and collection = @Collection and record_id = @RecordId";

    internal static readonly RowsStatement<RecordRow> Upsert = new(
        """
        insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
            parent_id, body, body_hash, changed_at, deleted_at, is_history)
        select * from {rows} where true
        on conflict (host_id, collection, record_id) do update set version = excluded.version, journal_id = excluded.journal_id,
            seq = excluded.seq, origin = excluded.origin, snapshot_id = excluded.snapshot_id, status = excluded.status,
            agent = excluded.agent, level = excluded.level, parent_id = excluded.parent_id, body = excluded.body,
            body_hash = excluded.body_hash, changed_at = excluded.changed_at, deleted_at = excluded.deleted_at,
            is_history = excluded.is_history
        """,
        Column<RecordRow>.Of("team_id", row => row.TeamId),
        Column<RecordRow>.Of("host_id", row => row.Key.HostId),
        Column<RecordRow>.Of("collection", row => row.Key.Collection),
        Column<RecordRow>.Of("record_id", row => row.Key.RecordId),
        Column<RecordRow>.Of("version", row => row.State.Version),
        Column<RecordRow>.Of("journal_id", row => row.State.JournalId),
        Column<RecordRow>.Of("seq", row => row.State.Seq),
        Column<RecordRow>.Of("origin", row => row.State.Origin),
        Column<RecordRow>.Of("snapshot_id", row => row.SnapshotId),
        Column<RecordRow>.Of("status", row => row.Columns.Status),
        Column<RecordRow>.Of("agent", row => row.Columns.Agent),
        Column<RecordRow>.Of("level", row => row.Columns.Level),
        Column<RecordRow>.Of("parent_id", row => row.Columns.ParentId),
        Column<RecordRow>.Of("body", row => row.Body),
        Column<RecordRow>.Of("body_hash", row => row.State.BodyHash),
        Column<RecordRow>.Of("changed_at", row => row.ChangedAt),
        Column<RecordRow>.Of("deleted_at", row => row.State.DeletedAt),
        Column<RecordRow>.Of("is_history", row => row.IsHistory));

    private const string ConflictSql = """
        insert into sync_conflicts (conflict_id, team_id, host_id, collection, record_id, base_version, stored_version, incoming_version,
            stored_body, incoming_body, created_at)
        values (@conflictId, @teamId, @hostId, @collection, @recordId, @baseVersion, @storedVersion, @version, @storedBody, @body, @now)
        """;

    /// <summary>Applies a change if it wins over what is stored.</summary>
    public AppliedChange Apply(StoreTransaction tx, RecordChange change) => Apply(tx, [change])[0];

    /// <summary>Applies changes, of any hosts, in their order: each if it wins over what is stored or came before it.</summary>
    /// <returns>What became of each.</returns>
    public IReadOnlyList<AppliedChange> Apply(StoreTransaction tx, IReadOnlyList<RecordChange> changes)
    {
        var known = tx.Query<RecordKey, StoredRecord>(Stored, [.. changes.Select(KeyOf).Distinct()])
            .ToDictionary(record => new RecordKey(record.HostId, record.Collection, record.RecordId));
        var rows = new Dictionary<RecordKey, RecordRow>();
        var applied = new AppliedChange[changes.Count];
        for (var i = 0; i < changes.Count; i++)
        {
            applied[i] = Apply(tx, changes[i], known, rows);
        }

        tx.Execute(Upsert, [.. rows.Values]);
        return applied;
    }

    /// <param name="known">What is stored, and what will be.</param>
    /// <param name="rows">What waits to be written.</param>
    private AppliedChange Apply(StoreTransaction tx, RecordChange change, Dictionary<RecordKey, StoredRecord> known, Dictionary<RecordKey, RecordRow> rows)
    {
        var key = KeyOf(change);
        var body = change.Body is null ? null : change.Collection.Write(change.Body, change.RecordId);
        var bodyHash = body is null ? "" : HashOf(body);
        var stored = known.GetValueOrDefault(key);
        if (stored is not null && !Wins(change, bodyHash, stored))
        {
            if (change.SnapshotId.Length > 0 && rows.TryGetValue(key, out var waiting))
            {
                rows[key] = waiting with { SnapshotId = change.SnapshotId };
            }
            else if (change.SnapshotId.Length > 0)
            {
                // Older than what is stored, but the node has it: it must not be deleted as absent.
                Mention(tx, change.HostId, change.Collection, change.RecordId, change.SnapshotId);
            }

            return default;
        }

        byte[]? StoredBody() => rows.TryGetValue(key, out var waiting) ? waiting.Body : tx.QuerySingle<byte[]?>(BodySql, key);

        var conflictId = stored is not null && guards.BaseVersion && IsConflict(change, bodyHash, stored)
            ? WriteConflict(tx, change, stored, StoredBody(), body)
            : null;
        if (stored is null && RecordRetention.IsOver(tx, change))
        {
            return default;
        }

        var unchanged = stored is not null && stored.BodyHash == bodyHash && stored.DeletedAt is null == body is not null;
        if (!unchanged)
        {
            if (change.Body is not null && change.Collection.Derive is { } derive)
            {
                var before = stored is null ? null : StoredBody();
                derive(tx, change.TeamId, change.HostId, before is null ? null : change.Collection.Read(before, stored!.Version), change.Body);
            }

            var kind = body is null ? change.Collection.Deleted : change.Collection.Changed;
            tx.AppendEvent(change.TeamId, EnumText<WatchKind>.Of(kind), change.HostId, change.RecordId, change.Version);
        }

        // A change on the cloud side keeps the node's position: only the node's own numbers order its deltas.
        var keepsPosition = change.Origin == RecordOrigin.Cloud && stored is not null;
        var state = new StoredRecord
        {
            HostId = key.HostId,
            Collection = key.Collection,
            RecordId = key.RecordId,
            Version = unchanged ? Math.Max(stored!.Version, change.Version) : change.Version,
            JournalId = keepsPosition ? stored!.JournalId : change.JournalId,
            Seq = keepsPosition ? stored!.Seq : change.Seq,
            Origin = OriginText(change.Origin),
            BodyHash = bodyHash,
            DeletedAt = body is null ? tx.NowMs : null,
        };
        var isHistory = change.Body is not null && change.Collection.IsHistory(change.Body);
        known[key] = state;
        rows[key] = new RecordRow(change.TeamId, key, state, change.SnapshotId, change.Collection.ColumnsOf(change.Body), body, tx.NowMs, isHistory ? 1 : 0);
        return new AppliedChange(!unchanged, conflictId);
    }

    /// <summary>
    /// A journal numbers from 1 again: what it wrote under its earlier numbers counts as any other journal's, or its new numbers would seem
    /// to be the older ones.
    /// </summary>
    public static void RestartNumbering(StoreTransaction tx, string hostId, string journalId) =>
        tx.Execute("update records set journal_id = '', seq = 0 where host_id = @hostId and journal_id = @journalId", new { hostId, journalId });

    /// <summary>Deletes what a complete re-sync did not mention and nothing newer than its base wrote.</summary>
    public void DeleteUnmentioned(
        StoreTransaction tx, string teamId, string hostId, RecordCollection collection, string journalId, string snapshotId, long baseSeq)
    {
        var unmentioned = tx.Query<string>(
            "select record_id from records where host_id = @hostId and collection = @Name and deleted_at is null and snapshot_id <> @snapshotId",
            new { hostId, collection.Name, snapshotId });
        DeleteAbsent(tx, teamId, hostId, collection, unmentioned, journalId, snapshotId, baseSeq);
    }

    /// <summary>Deletes records that a re-sync showed the node does not have, unless something newer than its base wrote them.</summary>
    public void DeleteAbsent(
        StoreTransaction tx, string teamId, string hostId, RecordCollection collection, IEnumerable<string> recordIds, string journalId,
        string snapshotId, long baseSeq)
    {
        if (collection.IsPermanent)
        {
            return;
        }

        foreach (var recordId in recordIds)
        {
            var newer = tx.QuerySingleOrDefault<long?>(
                "select 1 from records where host_id = @hostId and collection = @Name and record_id = @recordId and journal_id = @journalId and seq > @baseSeq",
                new { hostId, collection.Name, recordId, journalId, baseSeq });
            if (newer is null)
            {
                Apply(
                    tx,
                    new RecordChange(teamId, hostId, collection, recordId, null, tx.NowMs * 1000, null, RecordOrigin.Node, journalId, baseSeq, snapshotId));
            }
        }
    }

    /// <summary>Notes that a re-sync knows the record, whatever becomes of what it says about it.</summary>
    public static void Mention(StoreTransaction tx, string hostId, RecordCollection collection, string recordId, string snapshotId) =>
        tx.Execute(
            "update records set snapshot_id = @snapshotId where host_id = @hostId and collection = @Name and record_id = @recordId",
            new { hostId, collection.Name, recordId, snapshotId });

    /// <summary>Highest version of any record of the host; 0 if it has none.</summary>
    public static long HighestVersion(StoreTransaction tx, string hostId) => RecordCollections.All.Max(collection => tx.QuerySingle<long>(
        "select coalesce(max(version), 0) from records where host_id = @hostId and collection = @Name", new { hostId, collection.Name }));

    /// <summary>Version of a change made now: never lower than one more than the stored.</summary>
    public static long NextVersion(StoreTransaction tx, long storedVersion) => Math.Max(storedVersion + 1, tx.NowMs * 1000);

    public static string HashOf(byte[] body) => Convert.ToHexStringLower(SHA256.HashData(body));

    private static bool Wins(RecordChange change, string bodyHash, StoredRecord stored)
    {
        if (change.JournalId.Length > 0 && change.JournalId == stored.JournalId)
        {
            // Within one journal its numbers order the changes, whatever the versions say. A snapshot speaks for all up to its base.
            return change.SnapshotId.Length > 0 ? change.Seq >= stored.Seq : change.Seq > stored.Seq;
        }

        if (change.SnapshotId.Length > 0 && change.JournalId != stored.JournalId)
        {
            return true; // The snapshot of a new journal replaces regardless.
        }

        return change.Version > stored.Version || (change.Version == stored.Version && bodyHash != stored.BodyHash);
    }

    /// <summary>
    /// The cloud changed the record and the node did not know: it says so by the version it started from, or, without a link, it cannot know
    /// anything of the cloud's changes.
    /// </summary>
    private static bool IsConflict(RecordChange change, string bodyHash, StoredRecord stored) =>
        change.Origin == RecordOrigin.Node && stored.Origin == OriginText(RecordOrigin.Cloud)
        && (change.BaseVersion is { } known
            ? known != stored.Version
            : change.JournalId.Length == 0 && stored.DeletedAt is null && stored.BodyHash != bodyHash);

    private static string WriteConflict(StoreTransaction tx, RecordChange change, StoredRecord stored, byte[]? storedBody, byte[]? body)
    {
        var conflictId = EntityId.New("conflict", tx.NowMs);
        tx.Execute(ConflictSql, new
        {
            conflictId,
            teamId = change.TeamId,
            hostId = change.HostId,
            collection = change.Collection.Name,
            recordId = change.RecordId,
            baseVersion = change.BaseVersion ?? 0,
            storedVersion = stored.Version,
            version = change.Version,
            storedBody,
            body,
            now = tx.NowMs,
        });
        tx.AppendEvent(change.TeamId, EnumText<WatchKind>.Of(WatchKind.Conflict), change.HostId, conflictId, 0);
        return conflictId;
    }

    private static RecordKey KeyOf(RecordChange change) => new(change.HostId, change.Collection.Name, change.RecordId);

    private static string OriginText(RecordOrigin origin) => origin == RecordOrigin.Node ? "node" : "cloud";

    /// <summary>A row as it is written.</summary>
    internal sealed record RecordRow(
        string TeamId, RecordKey Key, StoredRecord State, string SnapshotId, RecordColumns Columns, byte[]? Body, long ChangedAt, long IsHistory);

    internal sealed record RecordKey(string HostId, string Collection, string RecordId);

    internal sealed record StoredRecord
    {
        public required string HostId { get; init; }
        public required string Collection { get; init; }
        public required string RecordId { get; init; }
        public long Version { get; init; }
        public required string JournalId { get; init; }
        public long Seq { get; init; }
        public required string Origin { get; init; }
        public required string BodyHash { get; init; }
        public long? DeletedAt { get; init; }
    }
}
