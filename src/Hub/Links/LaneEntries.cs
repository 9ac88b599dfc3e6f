using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Records;
using Hub.Storage;
using Hub.Text;

namespace Hub.Links;

/// <summary>What became of a batch: exactly one of the two is set.</summary>
internal sealed record BatchAnswer(Ack? Ack, Nack? Nack);

/// <summary>A batch of a link.</summary>
/// <param name="IsLast">False for the first half of a split part of a re-sync: its number is not done with yet.</param>
internal sealed record LaneBatch(LinkIdentity Link, Batch Batch, bool IsLast = true);

/// <summary>
/// Applies numbered entries and moves the lane's position in the same transaction (stream-protocol.md §2): a repeat has no effect, a gap is
/// refused, an entry that can never be stored is set aside so that it does not block the lane.
/// </summary>
internal sealed class LaneEntries(RecordStore records, StoreGuards guards) : ISharedWork<LaneBatch, BatchAnswer>
{
    /// <summary>Rejected records kept per host; the oldest go first.</summary>
    private const int RejectedMax = 1_000;

    private const int DetailMax = 500;

    private static readonly Dictionary<Lane, RowsStatement<Position>> Moves =
        new[] { Lane.Commands, Lane.Chat, Lane.Data, Lane.Bulk }.ToDictionary(lane => lane, lane => new RowsStatement<Position>(
            $"update links set {Column(lane)} = r.seq, journal_epoch = r.epoch from {{rows}} where links.host_id = r.host_id and links.{Column(lane)} < r.seq",
            Column<Position>.Of("host_id", position => position.Link.HostId),
            Column<Position>.Of("epoch", position => position.Link.Epoch),
            Column<Position>.Of("seq", position => position.Seq)));

    // Of a change that conflicts: its own and the conflict's.
    int ISharedWork<LaneBatch, BatchAnswer>.Weight(LaneBatch input) => 2 * input.Batch.Entries.Sum(entry => entry.SnapshotPart?.Records.Count ?? 1);

    /// <summary>Applies batches of any hosts, in their order.</summary>
    public IReadOnlyList<BatchAnswer> Run(StoreTransaction tx, IReadOnlyList<LaneBatch> inputs)
    {
        var moves = new Dictionary<(string HostId, Lane), Position>();
        var deltas = new List<(Ack Ack, Delta Delta, RecordChange Change)>();
        var reports = new List<CommandReport>();
        var answers = new BatchAnswer[inputs.Count];
        for (var i = 0; i < inputs.Count; i++)
        {
            var (link, batch, isLast) = inputs[i];
            var stored = PositionOf(tx, link, batch.Lane);
            answers[i] = Apply(tx, link, batch, stored, isLast, deltas, reports);
            if (isLast && answers[i].Ack is { } ack && ack.Seq > stored)
            {
                moves[(link.HostId, batch.Lane)] = Move(tx, link, batch.Lane, ack.Seq);
            }
        }

        foreach (var ((ack, delta, _), (_, conflictId)) in deltas.Zip(records.Apply(tx, deltas.ConvertAll(delta => delta.Change))))
        {
            if (conflictId is not null)
            {
                ack.Conflicts.Add(new ConflictNotice { Collection = delta.Collection, RecordId = delta.RecordId, ConflictId = conflictId });
            }
        }

        if (reports.Count > 0)
        {
            CommandRows.Change(tx, rows => Apply(rows, reports));
        }

        foreach (var lane in moves.GroupBy(move => move.Key.Item2, move => move.Value))
        {
            tx.Execute(Moves[lane.Key], [.. lane]);
        }

        return answers;
    }

    /// <param name="stored">Position of the lane.</param>
    /// <param name="isLast">Whether the lane's position moves; it does with the last part of what shares a number.</param>
    /// <param name="deltas">Takes the deltas, which are applied with those of other batches; a batch of deltas holds nothing else.</param>
    /// <param name="reports">Takes what the node says of commands, which is applied with that of other batches too.</param>
    private BatchAnswer Apply(
        StoreTransaction tx, LinkIdentity link, Batch batch, long stored, bool isLast, List<(Ack, Delta, RecordChange)> deltas,
        List<CommandReport> reports)
    {
        if (guards.RepeatCheck && batch.LastSeq <= stored)
        {
            return new BatchAnswer(new Ack { Lane = batch.Lane, Seq = stored }, null);
        }

        if (guards.RepeatCheck && batch.FirstSeq > stored + 1)
        {
            return new BatchAnswer(null, new Nack { Lane = batch.Lane, ExpectedSeq = stored + 1 });
        }

        var ack = new Ack { Lane = batch.Lane, Seq = isLast ? batch.LastSeq : stored };
        foreach (var entry in batch.Entries)
        {
            if (guards.RepeatCheck && entry.Seq <= stored)
            {
                continue; // The part of a re-formed batch that was stored before.
            }

            var clean = CleanText.Of(entry);
            if (Fault(batch.Lane, clean) is { } fault)
            {
                ack.Rejected.Add(Reject(tx, link, batch.Lane, clean.Seq, RecordIdOf(clean), fault));
            }
            else if (clean.Delta is { } delta)
            {
                deltas.Add((ack, delta, ChangeOf(link, delta, clean.Seq, snapshotId: "")));
            }
            else if (CommandIdOf(clean) is { } commandId)
            {
                reports.Add(new CommandReport(link, commandId, clean, ack));
            }
            else
            {
                Apply(tx, link, clean, ack);
            }
        }

        return new BatchAnswer(ack, null);
    }

    /// <summary>Sets the only entry of a batch aside: the store refused it for a reason that will not go away.</summary>
    public BatchAnswer SetAside(StoreTransaction tx, LaneBatch input, string constraint)
    {
        var (link, batch, isLast) = input;
        var stored = PositionOf(tx, link, batch.Lane);
        if (batch.LastSeq <= stored || batch.FirstSeq > stored + 1)
        {
            return Run(tx, [input])[0];
        }

        var fault = new HubException(ErrorReason.RecordInvalid, $"The store does not take this record: {constraint}.");
        var entry = CleanText.Of(batch.Entries[0]);
        var ack = new Ack { Lane = batch.Lane, Seq = isLast ? batch.LastSeq : stored };
        if (entry.SnapshotPart is { } part)
        {
            ack.Rejected.Add(RejectPart(tx, link, entry, part.Records[0], part.SnapshotId, fault));
        }
        else
        {
            ack.Rejected.Add(Reject(tx, link, batch.Lane, entry.Seq, RecordIdOf(entry), fault));
        }

        if (isLast)
        {
            tx.Execute(Moves[batch.Lane], [Move(tx, link, batch.Lane, batch.LastSeq)]);
        }

        return new BatchAnswer(ack, null);
    }

    /// <summary>Rejected records of the journal the node has not taken note of.</summary>
    public static IReadOnlyList<RejectedRecord> RejectedUnnoted(StoreTransaction tx, string hostId, string journalId) =>
    [
        .. tx.Query<RejectedRow>(
            """
            select lane, seq, record_id, reason, detail from rejected_deltas
            where host_id = @hostId and journal_id = @journalId and noted_at is null order by created_at, seq limit 1000
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

    private static long PositionOf(StoreTransaction tx, LinkIdentity link, Lane lane)
    {
        var row = tx.LinkOf(link.HostId);
        return lane switch
        {
            Lane.Commands => row.CommandsSeq,
            Lane.Chat => row.ChatSeq,
            Lane.Data => row.DataSeq,
            _ => row.BulkSeq,
        };
    }

    private static Position Move(StoreTransaction tx, LinkIdentity link, Lane lane, long seq)
    {
        var row = tx.LinkOf(link.HostId);
        tx.Moved(lane switch
        {
            Lane.Commands => row with { CommandsSeq = seq },
            Lane.Chat => row with { ChatSeq = seq },
            Lane.Data => row with { DataSeq = seq },
            _ => row with { BulkSeq = seq },
        });
        return new Position(link, seq);
    }

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
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotBegin) when entry.SnapshotBegin.SnapshotId.Length is > 0 and <= 64
                && RecordCollections.Find(entry.SnapshotBegin.Collection) is not null => null,
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotPart or Entry.BodyOneofCase.SnapshotEnd) => null,
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotDigests) => RecordComparison.Fault(entry.SnapshotDigests),
            (Lane.Bulk, Entry.BodyOneofCase.SnapshotListing) => RecordComparison.Fault(entry.SnapshotListing),
            _ => new HubException(ErrorReason.RecordInvalid, $"{entry.BodyCase} does not travel on the lane {EnumText<Lane>.Of(lane)}."),
        };
    }

    private static HubException? Fault(Delta delta)
    {
        if (RecordCollections.Find(delta.Collection) is not { } collection)
        {
            return new HubException(ErrorReason.RecordInvalid, "The Hub does not know this collection.");
        }

        return (delta.Op, collection.BodyOf(delta)) switch
        {
            (DeltaOp.Delete, _) => collection.Fault(delta.RecordId, null),
            (DeltaOp.Upsert, { } body) => collection.Fault(delta.RecordId, body),
            _ => new HubException(ErrorReason.RecordInvalid, "A delta is a DELETE, or an UPSERT with the body of its collection."),
        };
    }

    private void Apply(StoreTransaction tx, LinkIdentity link, Entry entry, Ack ack)
    {
        switch (entry.BodyCase)
        {
            case Entry.BodyOneofCase.Chat:
                ChatLog.Accept(tx, link.TeamId, link.HostId, entry.Chat);
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
                ApplySnapshot(tx, link, entry, ack);
                break;
        }
    }

    private static void Apply(CommandRows rows, IReadOnlyList<CommandReport> reports)
    {
        rows.Load(reports.Select(report => (report.Link.HostId, report.CommandId)));
        foreach (var (link, commandId, entry, ack) in reports)
        {
            switch (entry.BodyCase)
            {
                case Entry.BodyOneofCase.CommandAccepted:
                    var attempt = entry.CommandAccepted.Attempt;
                    var verdict = CommandMachine.NodeAccepted(rows, link.HostId, link.JournalId, commandId, attempt);
                    ack.Commands.Add(new CommandVerdict { CommandId = commandId, Attempt = attempt, Verdict = verdict });
                    break;
                case Entry.BodyOneofCase.CommandStarted:
                    CommandMachine.NodeStarted(rows, link.HostId, link.JournalId, commandId, entry.CommandStarted.Attempt);
                    break;
                default:
                    CommandMachine.NodeFinished(rows, link.HostId, entry.CommandOutcome);
                    break;
            }
        }
    }

    /// <summary>
    /// A re-sync. Of a node that compares, each listing deletes what it does not have. Of one that sends everything, every part marks the
    /// records it mentions with the snapshot's id, and the end deletes what has another. Either can be repeated and interrupted at any
    /// point, and only the latest counts.
    /// </summary>
    private void ApplySnapshot(StoreTransaction tx, LinkIdentity link, Entry entry, Ack ack)
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
                new { link.HostId, link.TeamId, collection = RecordCollections.Find(begin.Collection)!.Name, begin.SnapshotId, begin.BaseSeq, tx.NowMs });
            return;
        }

        var snapshotId = SnapshotIdOf(entry);
        if (tx.QuerySingleOrDefault<SnapshotRow>(
            "select snapshot_id, base_seq, collection from snapshots where host_id = @HostId and snapshot_id = @snapshotId",
            new { link.HostId, snapshotId }) is not { } snapshot)
        {
            return; // A newer snapshot of the collection began meanwhile.
        }

        var collection = RecordCollections.Named(snapshot.Collection);
        switch (entry.BodyCase)
        {
            case Entry.BodyOneofCase.SnapshotDigests:
                Ask(ack, entry, RecordComparison.Differing(tx, link.HostId, collection, entry.SnapshotDigests));
                break;
            case Entry.BodyOneofCase.SnapshotListing:
                var (wanted, absent) = RecordComparison.Compare(tx, link.HostId, collection, entry.SnapshotListing);
                records.DeleteAbsent(tx, link.TeamId, link.HostId, collection, absent, link.JournalId, snapshotId, snapshot.BaseSeq);
                Ask(ack, entry, wanted);
                break;
            case Entry.BodyOneofCase.SnapshotPart:
                ApplyPart(tx, link, entry, snapshot.BaseSeq, ack);
                break;
            default:
                if (!entry.SnapshotEnd.Compared)
                {
                    records.DeleteUnmentioned(tx, link.TeamId, link.HostId, collection, link.JournalId, snapshotId, snapshot.BaseSeq);
                }

                tx.Execute("delete from snapshots where host_id = @HostId and snapshot_id = @snapshotId", new { link.HostId, snapshotId });
                break;
        }
    }

    private void ApplyPart(StoreTransaction tx, LinkIdentity link, Entry entry, long baseSeq, Ack ack)
    {
        var part = entry.SnapshotPart;
        var changes = new List<RecordChange>(part.Records.Count);
        foreach (var delta in part.Records)
        {
            if (Fault(delta) is { } fault)
            {
                ack.Rejected.Add(RejectPart(tx, link, entry, delta, part.SnapshotId, fault));
            }
            else if (delta.Op == DeltaOp.Upsert)
            {
                changes.Add(ChangeOf(link, delta, baseSeq, part.SnapshotId));
            }
        }

        records.Apply(tx, changes);
    }

    private static void Ask(Ack ack, Entry entry, IReadOnlyList<uint> indexes)
    {
        if (indexes.Count > 0)
        {
            ack.SnapshotRequests.Add(new SnapshotRequest { Seq = entry.Seq, Indexes = { indexes } });
        }
    }

    private static string SnapshotIdOf(Entry entry) => entry.BodyCase switch
    {
        Entry.BodyOneofCase.SnapshotDigests => entry.SnapshotDigests.SnapshotId,
        Entry.BodyOneofCase.SnapshotListing => entry.SnapshotListing.SnapshotId,
        Entry.BodyOneofCase.SnapshotPart => entry.SnapshotPart.SnapshotId,
        _ => entry.SnapshotEnd.SnapshotId,
    };

    private static RecordChange ChangeOf(LinkIdentity link, Delta delta, long seq, string snapshotId)
    {
        var collection = RecordCollections.Find(delta.Collection)!; // Fault has asked.
        return new RecordChange(
            link.TeamId, link.HostId, collection, delta.RecordId, delta.Op == DeltaOp.Delete ? null : collection.BodyOf(delta), delta.Version,
            delta.HasBaseVersion ? delta.BaseVersion : null, RecordOrigin.Node, link.JournalId, seq, snapshotId);
    }

    /// <summary>The node has the record, so what the Hub could store of it before stays.</summary>
    private static RejectedRecord RejectPart(
        StoreTransaction tx, LinkIdentity link, Entry entry, Delta delta, string snapshotId, HubException fault)
    {
        if (RecordCollections.Find(delta.Collection) is { } collection)
        {
            RecordStore.Mention(tx, link.HostId, collection, delta.RecordId, snapshotId);
        }

        return Reject(tx, link, Lane.Bulk, entry.Seq, delta.RecordId, fault);
    }

    /// <summary>The command that the entry says something of, or null.</summary>
    private static string? CommandIdOf(Entry entry) => entry.BodyCase switch
    {
        Entry.BodyOneofCase.CommandAccepted => entry.CommandAccepted.CommandId,
        Entry.BodyOneofCase.CommandStarted => entry.CommandStarted.CommandId,
        Entry.BodyOneofCase.CommandOutcome => entry.CommandOutcome.CommandId,
        _ => null,
    };

    private static string RecordIdOf(Entry entry) => entry.Delta?.RecordId ?? entry.Chat?.Id ?? "";

    private static RejectedRecord Reject(StoreTransaction tx, LinkIdentity link, Lane lane, long seq, string recordId, HubException fault)
    {
        var rejected = new RejectedRecord
        {
            Lane = lane,
            Seq = seq,
            RecordId = Cut(recordId),
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
                select rejected_id from rejected_deltas where host_id = @HostId order by created_at desc, seq desc limit 1000 offset @RejectedMax)
            """,
            new { link.HostId, RejectedMax });
        return rejected;
    }

    private static string Cut(string text) => text.Length <= DetailMax ? text : text[..DetailMax];

    private sealed record Position(LinkIdentity Link, long Seq);

    /// <summary>What a node says of a command, and the answer that it gets.</summary>
    private sealed record CommandReport(LinkIdentity Link, string CommandId, Entry Entry, Ack Ack);

    private sealed record RejectedRow(string Lane, long Seq, string RecordId, string Reason, string Detail);

    private sealed record SnapshotRow(string SnapshotId, long BaseSeq, string Collection);
}
