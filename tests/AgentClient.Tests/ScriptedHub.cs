using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>The Hub's side of the protocol in memory: positions, records, chat and commands as its database would hold them.</summary>
internal sealed class ScriptedHub
{
    private readonly Dictionary<Lane, long> _stored = [];
    private readonly List<Delta> _snapshotRecords = [];
    private SnapshotBegin? _snapshot;
    private string _journalId = "";
    private long _journalEpoch;

    public long Epoch { get; set; }

    public string JournalId => _journalId;

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

    public long Stored(Lane lane) => _stored.GetValueOrDefault(lane);

    /// <summary>Forgets the last numbers of a lane, as a database restored from an older copy does.</summary>
    public void Rewind(Lane lane, long seq) => _stored[lane] = seq;

    public void Forget()
    {
        _journalId = "";
        _stored.Clear();
        Tasks.Clear();
        Epoch = 0;
    }

    public ConnectResponse Welcome(Hello hello)
    {
        var welcome = new Welcome { LinkId = $"link-{++Epoch}", Epoch = Epoch, Protocol = 1, Settings = Settings, HostId = "host-1", ChatDownSeq = hello.ChatDownSeq };
        var isNew = hello.JournalId != _journalId;
        var isOld = !isNew && hello.JournalEpoch < _journalEpoch;
        if (isNew)
        {
            _journalId = hello.JournalId;
            _journalEpoch = 0;
            _stored.Clear();
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
            _journalEpoch = Epoch;
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

            _stored[batch.Lane] = batch.LastSeq;
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
                Tasks[entry.Delta.RecordId] = (entry.Delta, _journalId, entry.Seq);
                break;
            case Entry.BodyOneofCase.Chat:
                ChatUp.Add(entry.Chat);
                break;
            case Entry.BodyOneofCase.SnapshotBegin:
                _snapshot = entry.SnapshotBegin;
                _snapshotRecords.Clear();
                break;
            case Entry.BodyOneofCase.SnapshotPart when entry.SnapshotPart.SnapshotId == _snapshot?.SnapshotId:
                _snapshotRecords.AddRange(entry.SnapshotPart.Records);
                break;
            case Entry.BodyOneofCase.SnapshotEnd when entry.SnapshotEnd.SnapshotId == _snapshot?.SnapshotId:
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
        var mentioned = _snapshotRecords.Select(record => record.RecordId).ToHashSet();
        foreach (var (id, (_, journal, seq)) in Tasks.ToArray())
        {
            if (!mentioned.Contains(id) && (journal != _journalId || seq <= _snapshot!.BaseSeq))
            {
                Tasks.Remove(id);
            }
        }

        foreach (var record in _snapshotRecords)
        {
            if (!Tasks.TryGetValue(record.RecordId, out var known) || known.Seq <= _snapshot!.BaseSeq || known.JournalId != _journalId)
            {
                Tasks[record.RecordId] = (record, _journalId, 0);
            }
        }

        _snapshot = null;
        SnapshotsCompleted++;
    }

    private CommandVerdict Word(string commandId, int attempt) =>
        new() { CommandId = commandId, Attempt = attempt, Verdict = VerdictOn(commandId, attempt) };
}
