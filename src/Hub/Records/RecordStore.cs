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
    RecordCollection Collection, string RecordId, IMessage? Body, long Version, long? BaseVersion, RecordOrigin Origin, string JournalId = "",
    long Seq = 0, string SnapshotId = "");

/// <summary>What became of a change.</summary>
/// <param name="ConflictId">Set when both sides had changed the record: both are in the ledger.</param>
internal readonly record struct AppliedChange(bool Changed, string? ConflictId);

/// <summary>
/// The records of hosts, of all collections: which of two changes wins (stream-protocol.md §3), tombstones, conflicts. A body is stored as
/// its message; what lists filter by stands in columns.
/// </summary>
internal sealed class RecordStore(StoreGuards guards)
{
    private const string StoredSql = """
        select version, journal_id, seq, origin, body, body_hash, deleted_at from records
        where host_id = @hostId and collection = @collection and record_id = @recordId
        """;

    private const string UpsertSql = """
        insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
            parent_id, body, body_hash, changed_at, deleted_at)
        values (@teamId, @hostId, @collection, @recordId, @version, @journalId, @seq, @origin, @snapshotId, @Status, @Agent, @Level,
            @ParentId, @body, @bodyHash, @now, @deletedAt)
        on conflict (host_id, collection, record_id) do update set version = excluded.version, journal_id = excluded.journal_id,
            seq = excluded.seq, origin = excluded.origin, snapshot_id = excluded.snapshot_id, status = excluded.status,
            agent = excluded.agent, level = excluded.level, parent_id = excluded.parent_id, body = excluded.body,
            body_hash = excluded.body_hash, changed_at = excluded.changed_at, deleted_at = excluded.deleted_at
        """;

    private const string ConflictSql = """
        insert into sync_conflicts (conflict_id, team_id, host_id, collection, record_id, base_version, stored_version, incoming_version,
            stored_body, incoming_body, created_at)
        values (@conflictId, @teamId, @hostId, @collection, @recordId, @baseVersion, @storedVersion, @version, @storedBody, @body, @now)
        """;

    /// <summary>Applies a change if it wins over what is stored.</summary>
    public AppliedChange Apply(StoreTransaction tx, string teamId, string hostId, RecordChange change)
    {
        var collection = change.Collection.Name;
        var stored = tx.QuerySingleOrDefault<StoredRecord>(StoredSql, new { hostId, collection, recordId = change.RecordId });
        var body = change.Body is null ? null : change.Collection.Write(change.Body, change.RecordId);
        var bodyHash = body is null ? "" : HashOf(body);
        if (stored is not null && !Wins(change, bodyHash, stored))
        {
            if (change.SnapshotId.Length > 0)
            {
                Mention(tx, hostId, change.Collection, change.RecordId, change.SnapshotId); // Older than what is stored, but the node has it: it must not be deleted as absent.
            }

            return default;
        }

        var conflictId = stored is not null && guards.BaseVersion && IsConflict(change, bodyHash, stored)
            ? WriteConflict(tx, teamId, hostId, change, stored, body)
            : null;
        if (stored is null && RecordRetention.IsOver(tx, teamId, change))
        {
            return default;
        }

        var unchanged = stored is not null && stored.BodyHash == bodyHash && stored.DeletedAt is null == body is not null;
        var columns = change.Collection.ColumnsOf(change.Body);
        tx.Execute(UpsertSql, new
        {
            teamId,
            hostId,
            collection,
            recordId = change.RecordId,
            version = unchanged && stored is not null ? Math.Max(stored.Version, change.Version) : change.Version,
            // A change on the cloud side keeps the node's position: only the node's own numbers order its deltas.
            journalId = change.Origin == RecordOrigin.Cloud && stored is not null ? stored.JournalId : change.JournalId,
            seq = change.Origin == RecordOrigin.Cloud && stored is not null ? stored.Seq : change.Seq,
            origin = OriginText(change.Origin),
            snapshotId = change.SnapshotId,
            columns.Status,
            columns.Agent,
            columns.Level,
            columns.ParentId,
            body,
            bodyHash,
            now = tx.NowMs,
            deletedAt = body is null ? tx.NowMs : (long?)null,
        });
        if (!unchanged)
        {
            if (change.Body is not null)
            {
                change.Collection.Derive?.Invoke(
                    tx, teamId, hostId, stored?.Body is null ? null : change.Collection.Read(stored.Body, stored.Version), change.Body);
            }

            var kind = body is null ? change.Collection.Deleted : change.Collection.Changed;
            tx.AppendEvent(teamId, EnumText<WatchKind>.Of(kind), hostId, change.RecordId, change.Version);
        }

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
                    tx, teamId, hostId,
                    new RecordChange(collection, recordId, null, tx.NowMs * 1000, null, RecordOrigin.Node, journalId, baseSeq, snapshotId));
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

    private static string WriteConflict(StoreTransaction tx, string teamId, string hostId, RecordChange change, StoredRecord stored, byte[]? body)
    {
        var conflictId = EntityId.New("conflict", tx.NowMs);
        tx.Execute(ConflictSql, new
        {
            conflictId,
            teamId,
            hostId,
            collection = change.Collection.Name,
            recordId = change.RecordId,
            baseVersion = change.BaseVersion ?? 0,
            storedVersion = stored.Version,
            version = change.Version,
            storedBody = stored.Body,
            body,
            now = tx.NowMs,
        });
        return conflictId;
    }

    private static string OriginText(RecordOrigin origin) => origin == RecordOrigin.Node ? "node" : "cloud";

    internal sealed record StoredRecord
    {
        public long Version { get; init; }
        public required string JournalId { get; init; }
        public long Seq { get; init; }
        public required string Origin { get; init; }
        public byte[]? Body { get; init; }
        public required string BodyHash { get; init; }
        public long? DeletedAt { get; init; }
    }
}
