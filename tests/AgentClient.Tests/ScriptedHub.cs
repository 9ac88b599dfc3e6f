using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>The Hub's side of the protocol in memory: positions, records, chat and commands as its database would hold them.</summary>
internal sealed class ScriptedHub
{
    private readonly Dictionary<Lane, long> stored = [];
    private readonly List<Delta> snapshotRecords = [];
    private SnapshotBegin? snapshot;
    private string journalId = "";
    private long journalEpoch;

    public long Epoch { get; set; }

    public string JournalId => journalId;

    public Settings Settings { get; } = new() { HeartbeatInterval = Duration.FromTimeSpan(TimeSpan.FromSeconds(25)) };

    public Dictionary<string, (Delta Delta, string JournalId, long Seq)> Tasks { get; } = [];

    public List<ChatMessage> ChatUp { get; } = [];

    public List<ChatMessage> ChatDown { get; } = [];

    public List<Entry> CommandEntries { get; } = [];

    public List<Batch> Batches { get; } = [];

    public int SnapshotsCompleted { get; private set; }

    /// <summary>The word on every attempt a node accepts or holds; KEEP unless a test says otherwise.</summary>
    public Func<string, int, Verdict> VerdictOn { get; set; } = (_, _) => Verdict.Keep;

    /// <summary>Sequence numbers of the data lane that are refused for good.</summary>
    public HashSet<long> RejectedDataSeqs { get; } = [];

    public long Stored(Lane lane) => stored.GetValueOrDefault(lane);

    /// <summary>Forgets the last numbers of a lane, as a database restored from an older copy does.</summary>
    public void Rewind(Lane lane, long seq) => stored[lane] = seq;

    public void Forget()
    {
        journalId = "";
        stored.Clear();
        Tasks.Clear();
        Epoch = 0;
    }

    public ConnectResponse Welcome(Hello hello)
    {
        var welcome = new Welcome { LinkId = $"link-{++Epoch}", Epoch = Epoch, Protocol = 1, Settings = Settings, HostId = "host-1", ChatDownSeq = hello.ChatDownSeq };
        var isNew = hello.JournalId != journalId;
        var isOld = !isNew && hello.JournalEpoch < journalEpoch;
        if (isNew)
        {
            journalId = hello.JournalId;
            journalEpoch = 0;
            stored.Clear();
        }

        foreach (var position in hello.Upstream)
        {
            var start = new LaneStart { Lane = position.Lane, StoredSeq = Stored(position.Lane), Outcome = LaneOutcome.SnapshotRequired };
            if (isNew && position.Lane is Lane.Data)
            {
                start.Reason = SnapshotReason.JournalNew;
            }
            else if (isOld || position.LastSeq < start.StoredSeq)
            {
                start.Reason = isNew ? SnapshotReason.Unspecified : SnapshotReason.JournalRewound;
            }
            else if (position.FirstSeq > start.StoredSeq + 1)
            {
                start.Reason = SnapshotReason.Truncated;
            }
            else
            {
                start.Outcome = position.LastSeq == start.StoredSeq ? LaneOutcome.Resumed : LaneOutcome.Replay;
            }

            welcome.Lanes.Add(start);
        }

        if (welcome.Lanes.All(lane => lane.Reason is not SnapshotReason.JournalRewound))
        {
            journalEpoch = Epoch;
        }

        welcome.Commands.Add(hello.Running.Select(held => Word(held.CommandId, held.Attempt)));
        return new ConnectResponse { Welcome = welcome };
    }

    public IEnumerable<ConnectResponse> Receive(ConnectRequest frame) => frame.FrameCase is ConnectRequest.FrameOneofCase.Batch
        ? [Receive(frame.Batch)]
        : [];

    /// <summary>A batch of the chat written to the node, from a number on.</summary>
    public ConnectResponse ChatBatch(long firstSeq, int count) => new()
    {
        Batch = new Batch
        {
            Lane = Lane.Chat,
            FirstSeq = firstSeq,
            LastSeq = firstSeq + count - 1,
            Entries = { Enumerable.Range(0, count).Select(i => new Entry { Seq = firstSeq + i, Chat = ChatDown[(int)firstSeq - 1 + i] }) },
        },
    };

    private ConnectResponse Receive(Batch batch)
    {
        Batches.Add(batch);
        var position = Stored(batch.Lane);
        if (batch.FirstSeq > position + 1)
        {
            return new ConnectResponse { Nack = new Nack { Lane = batch.Lane, ExpectedSeq = position + 1 } };
        }

        var ack = new Ack { Lane = batch.Lane };
        if (batch.LastSeq > position)
        {
            foreach (var entry in batch.Entries.Where(entry => entry.Seq > position))
            {
                Apply(entry, ack);
            }

            stored[batch.Lane] = batch.LastSeq;
        }

        ack.Seq = Stored(batch.Lane);
        return new ConnectResponse { Ack = ack };
    }

    private void Apply(Entry entry, Ack ack)
    {
        switch (entry.BodyCase)
        {
            case Entry.BodyOneofCase.Delta when RejectedDataSeqs.Contains(entry.Seq):
                ack.Rejected.Add(new RejectedRecord { Lane = Lane.Data, Seq = entry.Seq, RecordId = entry.Delta.RecordId, Reason = "RECORD_INVALID" });
                break;
            case Entry.BodyOneofCase.Delta when entry.Delta.Op is DeltaOp.Delete:
                Tasks.Remove(entry.Delta.RecordId);
                break;
            case Entry.BodyOneofCase.Delta:
                Tasks[entry.Delta.RecordId] = (entry.Delta, journalId, entry.Seq);
                break;
            case Entry.BodyOneofCase.Chat:
                ChatUp.Add(entry.Chat);
                break;
            case Entry.BodyOneofCase.SnapshotBegin:
                snapshot = entry.SnapshotBegin;
                snapshotRecords.Clear();
                break;
            case Entry.BodyOneofCase.SnapshotPart when entry.SnapshotPart.SnapshotId == snapshot?.SnapshotId:
                snapshotRecords.AddRange(entry.SnapshotPart.Records);
                break;
            case Entry.BodyOneofCase.SnapshotEnd when entry.SnapshotEnd.SnapshotId == snapshot?.SnapshotId:
                CompleteSnapshot();
                break;
            default:
                CommandEntries.Add(entry);
                if (entry.CommandAccepted is { } accepted)
                {
                    ack.Commands.Add(Word(accepted.CommandId, accepted.Attempt));
                }

                break;
        }
    }

    private void CompleteSnapshot()
    {
        var mentioned = snapshotRecords.Select(record => record.RecordId).ToHashSet();
        foreach (var (id, (_, journal, seq)) in Tasks.ToArray())
        {
            if (!mentioned.Contains(id) && (journal != journalId || seq <= snapshot!.BaseSeq))
            {
                Tasks.Remove(id);
            }
        }

        foreach (var record in snapshotRecords)
        {
            if (!Tasks.TryGetValue(record.RecordId, out var known) || known.Seq <= snapshot!.BaseSeq || known.JournalId != journalId)
            {
                Tasks[record.RecordId] = (record, journalId, 0);
            }
        }

        snapshot = null;
        SnapshotsCompleted++;
    }

    private CommandVerdict Word(string commandId, int attempt) =>
        new() { CommandId = commandId, Attempt = attempt, Verdict = VerdictOn(commandId, attempt) };
}
