using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;
using Hub.Tasks;
using Hub.Text;

namespace Hub.Links;

/// <summary>What became of a batch: exactly one of the two is set.</summary>
internal sealed record BatchAnswer(Ack? Ack, Nack? Nack);

/// <summary>
/// Applies numbered entries and moves the lane's position in the same transaction (stream-protocol.md §2): a repeat has no effect, a gap is
/// refused, an entry that can never be stored is set aside so that it does not block the lane.
/// </summary>
internal sealed class LaneEntries(TaskRecords tasks, StoreGuards guards)
{
    /// <summary>Rejected records kept per host; the oldest go first.</summary>
    private const int RejectedMax = 1_000;

    private const int DetailMax = 500;

    private const string PositionsSql = """
        select commands_seq, chat_seq, data_seq, bulk_seq from links where host_id = @hostId
        """;

    public BatchAnswer Apply(StoreTransaction tx, LinkIdentity link, Batch batch)
    {
        var stored = Position(tx, link.HostId, batch.Lane);
        if (guards.RepeatCheck && batch.LastSeq <= stored)
        {
            return new BatchAnswer(new Ack { Lane = batch.Lane, Seq = stored }, null);
        }

        if (guards.RepeatCheck && batch.FirstSeq > stored + 1)
        {
            return new BatchAnswer(null, new Nack { Lane = batch.Lane, ExpectedSeq = stored + 1 });
        }

        var ack = new Ack { Lane = batch.Lane, Seq = batch.LastSeq };
        foreach (var entry in batch.Entries)
        {
            if (guards.RepeatCheck && entry.Seq <= stored)
            {
                continue; // The part of a re-formed batch that was stored before.
            }

            var clean = CleanText.Of(entry);
            if (Fault(batch.Lane, clean) is { } fault)
            {
                ack.Rejected.Add(Reject(tx, link, batch.Lane, clean, fault));
            }
            else
            {
                Apply(tx, link, clean, ack);
            }
        }

        Move(tx, link, batch.Lane, batch.LastSeq);
        return new BatchAnswer(ack, null);
    }

    /// <summary>Sets the only entry of a batch aside: the store refused it for a reason that will not go away.</summary>
    public BatchAnswer SetAside(StoreTransaction tx, LinkIdentity link, Batch batch, string constraint)
    {
        var stored = Position(tx, link.HostId, batch.Lane);
        if (batch.LastSeq <= stored || batch.FirstSeq > stored + 1)
        {
            return Apply(tx, link, batch);
        }

        var fault = new HubException(ErrorReason.RecordInvalid, $"The store does not take this record: {constraint}.");
        var ack = new Ack
        {
            Lane = batch.Lane,
            Seq = batch.LastSeq,
            Rejected = { Reject(tx, link, batch.Lane, CleanText.Of(batch.Entries[0]), fault) },
        };
        Move(tx, link, batch.Lane, batch.LastSeq);
        return new BatchAnswer(ack, null);
    }

    /// <summary>Rejected records of the journal the node has not taken note of.</summary>
    public static IReadOnlyList<RejectedRecord> RejectedUnnoted(StoreTransaction tx, string hostId, string journalId) =>
    [
        .. tx.Query<RejectedRow>(
            """
            select lane, seq, record_id, reason, detail from rejected_deltas
            where host_id = @hostId and journal_id = @journalId and noted_at is null order by rejected_id limit 1000
            """,
            new { hostId, journalId }).Select(row => new RejectedRecord
            {
                Lane = EnumText<Lane>.Parse(row.Lane),
                Seq = row.Seq,
                RecordId = row.RecordId,
                Reason = row.Reason,
                Detail = row.Detail,
            }),
    ];

    private static long Position(StoreTransaction tx, string hostId, Lane lane)
    {
        var row = tx.QuerySingle<PositionsRow>(PositionsSql, new { hostId });
        return lane switch
        {
            Lane.Commands => row.CommandsSeq,
            Lane.Chat => row.ChatSeq,
            Lane.Data => row.DataSeq,
            _ => row.BulkSeq,
        };
    }

    private static void Move(StoreTransaction tx, LinkIdentity link, Lane lane, long seq) =>
        tx.Execute(
            $"update links set {Column(lane)} = @seq, journal_epoch = @Epoch where host_id = @HostId and {Column(lane)} < @seq",
            new { seq, link.Epoch, link.HostId });

    private static string Column(Lane lane) => lane switch
    {
        Lane.Commands => "commands_seq",
        Lane.Chat => "chat_seq",
        Lane.Data => "data_seq",
        Lane.Bulk => "bulk_seq",
        _ => throw new ArgumentOutOfRangeException(nameof(lane), lane, "The lane is not numbered."),
    };

    /// <summary>The fault that makes an entry unacceptable for good, or null.</summary>
    private static HubException? Fault(Lane lane, Entry entry)
    {
        if (entry.CalculateSize() is > LinkOptions.RecordBytesMax and var size && lane != Lane.Bulk)
        {
            return new HubException(
                ErrorReason.RecordTooLarge, $"A record has at most {LinkOptions.RecordBytesMax} bytes; this one has {size}.");
        }

        return (lane, entry.BodyCase) switch
        {
            (Lane.Data, Entry.BodyOneofCase.Delta) => Fault(entry.Delta),
            (Lane.Chat, Entry.BodyOneofCase.Chat) => ChatLog.Fault(entry.Chat),
            (Lane.Commands, Entry.BodyOneofCase.RejectedNoted) when !System.Enum.IsDefined(entry.RejectedNoted.Lane) =>
                new HubException(ErrorReason.RecordInvalid, "The note names no lane."),
            (Lane.Commands, Entry.BodyOneofCase.CommandAccepted or Entry.BodyOneofCase.CommandStarted
                or Entry.BodyOneofCase.CommandOutcome or Entry.BodyOneofCase.RejectedNoted) => null,
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotBegin) when entry.SnapshotBegin.SnapshotId.Length is > 0 and <= 64 => null,
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotPart or Entry.BodyOneofCase.SnapshotEnd) => null,
            _ => new HubException(ErrorReason.RecordInvalid, $"{entry.BodyCase} does not travel on the lane {EnumText<Lane>.Of(lane)}."),
        };
    }

    private static HubException? Fault(Delta delta) => delta switch
    {
        { Collection: not Collection.Tasks } => new HubException(ErrorReason.RecordInvalid, "The Hub does not know this collection."),
        { Op: DeltaOp.Delete } => TaskRules.Fault(delta.RecordId, null),
        { Op: DeltaOp.Upsert, BodyCase: Delta.BodyOneofCase.Task } => TaskRules.Fault(delta.RecordId, delta.Task),
        _ => new HubException(ErrorReason.RecordInvalid, "A delta is a DELETE, or an UPSERT with the body of its collection."),
    };

    private void Apply(StoreTransaction tx, LinkIdentity link, Entry entry, Ack ack)
    {
        switch (entry.BodyCase)
        {
            case Entry.BodyOneofCase.Delta:
                var change = ChangeOf(entry.Delta, link.JournalId, entry.Seq, snapshotId: "");
                if (tasks.Apply(tx, link.TeamId, link.HostId, change).ConflictId is { } conflictId)
                {
                    ack.Conflicts.Add(new ConflictNotice
                    {
                        Collection = entry.Delta.Collection,
                        RecordId = entry.Delta.RecordId,
                        ConflictId = conflictId,
                    });
                }

                break;
            case Entry.BodyOneofCase.Chat:
                ChatLog.Accept(tx, link.TeamId, link.HostId, entry.Chat);
                break;
            case Entry.BodyOneofCase.CommandAccepted:
                var accepted = entry.CommandAccepted;
                ack.Commands.Add(new CommandVerdict
                {
                    CommandId = accepted.CommandId,
                    Attempt = accepted.Attempt,
                    Verdict = CommandMachine.NodeAccepted(tx, link.HostId, link.JournalId, accepted.CommandId, accepted.Attempt),
                });
                break;
            case Entry.BodyOneofCase.CommandStarted:
                CommandMachine.NodeStarted(tx, link.HostId, link.JournalId, entry.CommandStarted.CommandId, entry.CommandStarted.Attempt);
                break;
            case Entry.BodyOneofCase.CommandOutcome:
                CommandMachine.NodeFinished(tx, link.HostId, entry.CommandOutcome);
                break;
            case Entry.BodyOneofCase.RejectedNoted:
                tx.Execute(
                    """
                    update rejected_deltas set noted_at = @NowMs
                    where host_id = @HostId and journal_id = @JournalId and lane = @lane and seq <= @Seq and noted_at is null
                    """,
                    new { tx.NowMs, link.HostId, link.JournalId, lane = EnumText<Lane>.Of(entry.RejectedNoted.Lane), entry.RejectedNoted.Seq });
                break;
            default:
                ApplySnapshot(tx, link, entry);
                break;
        }
    }

    /// <summary>
    /// A re-sync: every part marks the records it mentions with the snapshot's id, the end deletes what has another. Parts can be repeated
    /// and the whole can be interrupted at any point: only the end of the latest snapshot deletes.
    /// </summary>
    private void ApplySnapshot(StoreTransaction tx, LinkIdentity link, Entry entry)
    {
        if (entry.SnapshotBegin is { } begin)
        {
            tx.Execute(
                """
                insert into snapshots (host_id, team_id, collection, snapshot_id, base_seq, started_at)
                values (@HostId, @TeamId, @collection, @SnapshotId, @BaseSeq, @NowMs)
                on conflict (host_id, collection) do update set snapshot_id = excluded.snapshot_id, base_seq = excluded.base_seq,
                    started_at = excluded.started_at
                """,
                new { link.HostId, link.TeamId, collection = TaskRecords.Collection, begin.SnapshotId, begin.BaseSeq, tx.NowMs });
            return;
        }

        var snapshotId = entry.SnapshotPart?.SnapshotId ?? entry.SnapshotEnd.SnapshotId;
        if (tx.QuerySingleOrDefault<SnapshotRow>(
            "select snapshot_id, base_seq from snapshots where host_id = @HostId and snapshot_id = @snapshotId",
            new { link.HostId, snapshotId }) is not { } snapshot)
        {
            return; // A newer snapshot of the collection began meanwhile.
        }

        if (entry.SnapshotPart is { } part)
        {
            foreach (var delta in part.Records)
            {
                if (Fault(delta) is null && delta.Op == DeltaOp.Upsert)
                {
                    tasks.Apply(tx, link.TeamId, link.HostId, ChangeOf(delta, link.JournalId, snapshot.BaseSeq, snapshotId));
                }
            }

            return;
        }

        tasks.DeleteUnmentioned(tx, link.TeamId, link.HostId, link.JournalId, snapshotId, snapshot.BaseSeq);
        tx.Execute("delete from snapshots where host_id = @HostId and snapshot_id = @snapshotId", new { link.HostId, snapshotId });
    }

    private static TaskChange ChangeOf(Delta delta, string journalId, long seq, string snapshotId) => new(
        delta.RecordId, delta.Op == DeltaOp.Delete ? null : delta.Task, delta.Version, delta.HasBaseVersion ? delta.BaseVersion : null,
        RecordOrigin.Node, journalId, seq, snapshotId);

    private static RejectedRecord Reject(StoreTransaction tx, LinkIdentity link, Lane lane, Entry entry, HubException fault)
    {
        var rejected = new RejectedRecord
        {
            Lane = lane,
            Seq = entry.Seq,
            RecordId = Cut(entry.Delta?.RecordId ?? entry.Chat?.Id ?? ""),
            Reason = EnumText<ErrorReason>.Of(fault.Reason),
            Detail = Cut(fault.Message),
        };
        tx.Execute(
            """
            insert into rejected_deltas (team_id, host_id, rejected_id, journal_id, lane, seq, record_id, reason, detail, created_at)
            values (@TeamId, @HostId, @id, @JournalId, @lane, @Seq, @RecordId, @Reason, @Detail, @NowMs)
            """,
            new
            {
                link.TeamId,
                link.HostId,
                id = EntityId.New("rejected", tx.NowMs),
                link.JournalId,
                lane = EnumText<Lane>.Of(lane),
                rejected.Seq,
                rejected.RecordId,
                rejected.Reason,
                rejected.Detail,
                tx.NowMs,
            });
        tx.Execute(
            """
            delete from rejected_deltas where host_id = @HostId and rejected_id in (
                select rejected_id from rejected_deltas where host_id = @HostId order by rejected_id desc limit 1000 offset @RejectedMax)
            """,
            new { link.HostId, RejectedMax });
        return rejected;
    }

    private static string Cut(string text) => text.Length <= DetailMax ? text : text[..DetailMax];

    private sealed record PositionsRow(long CommandsSeq, long ChatSeq, long DataSeq, long BulkSeq);

    private sealed record RejectedRow(string Lane, long Seq, string RecordId, string Reason, string Detail);

    private sealed record SnapshotRow(string SnapshotId, long BaseSeq);
}
