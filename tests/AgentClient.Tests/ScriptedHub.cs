using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>The Hub's side of the protocol in memory: positions, records, chat and commands as its database would hold them.</summary>
internal sealed class ScriptedHub
{
    private readonly Dictionary<Lane, long> _stored = [];
    private SnapshotBegin? _snapshot;
    private string _journalId = "";
    private long _journalEpoch;

    public long Epoch { get; set; }

    /// <summary>What Welcome says about versions.</summary>
    public long VersionFloor { get; set; }

    public string JournalId => _journalId;

    public Settings Settings { get; } = new() { HeartbeatInterval = Duration.FromTimeSpan(TimeSpan.FromSeconds(25)) };

    public Dictionary<string, (Delta Delta, string JournalId, long Seq)> Tasks { get; } = [];

    public List<ChatMessage> ChatUp { get; } = [];

    public List<ChatMessage> ChatDown { get; } = [];

    public List<Entry> CommandEntries { get; } = [];

    public List<Batch> Batches { get; } = [];

    public int SnapshotsCompleted { get; private set; }

    /// <summary>Records that re-syncs brought.</summary>
    public List<Delta> SnapshotRecords { get; } = [];

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
        var welcome = new Welcome { LinkId = $"link-{++Epoch}", Epoch = Epoch, Protocol = 1, Settings = Settings, HostId = "host-1", ChatDownSeq = hello.ChatDownSeq, VersionFloor = VersionFloor };
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
                break;
            case Entry.BodyOneofCase.SnapshotDigests when entry.SnapshotDigests.SnapshotId == _snapshot?.SnapshotId:
                Ask(entry, ack, Differing(entry.SnapshotDigests));
                break;
            case Entry.BodyOneofCase.SnapshotListing when entry.SnapshotListing.SnapshotId == _snapshot?.SnapshotId:
                Ask(entry, ack, Compare(entry.SnapshotListing));
                break;
            case Entry.BodyOneofCase.SnapshotPart when entry.SnapshotPart.SnapshotId == _snapshot?.SnapshotId:
                Apply(entry.SnapshotPart);
                break;
            case Entry.BodyOneofCase.SnapshotEnd when entry.SnapshotEnd.SnapshotId == _snapshot?.SnapshotId:
                _snapshot = null;
                SnapshotsCompleted++;
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

    private static void Ask(Entry entry, Ack ack, IEnumerable<uint> indexes)
    {
        var request = new SnapshotRequest { Seq = entry.Seq, Indexes = { indexes } };
        if (request.Indexes.Count > 0)
        {
            ack.SnapshotRequests.Add(request);
        }
    }

    private IEnumerable<uint> Differing(SnapshotDigests digests)
    {
        var after = digests.After;
        for (var i = 0; i < digests.Ranges.Count; i++)
        {
            var digest = RecordDigest.Empty();
            foreach (var record in Within(after, digests.Ranges[i].Through))
            {
                RecordDigest.AddTo(digest, record);
            }

            if (!digest.SequenceEqual(digests.Ranges[i].Digest))
            {
                yield return (uint)i;
            }

            after = digests.Ranges[i].Through;
        }
    }

    private List<uint> Compare(SnapshotListing listing)
    {
        var listed = listing.Records.Chunk(RecordDigest.ListedBytes).Select(Convert.ToHexString).ToList();
        var held = Within(listing.After, listing.Through).ToDictionary(record => Convert.ToHexString(RecordDigest.Listed(record)));
        var idLength = listed.FirstOrDefault("").Length / 2;
        foreach (var (key, record) in held)
        {
            var (_, journal, seq) = Tasks[record.RecordId];
            if (!listed.Exists(line => line[..idLength] == key[..idLength]) && (journal != _journalId || seq <= _snapshot!.BaseSeq))
            {
                Tasks.Remove(record.RecordId);
            }
        }

        return [.. Enumerable.Range(0, listed.Count).Where(i => !held.ContainsKey(listed[i])).Select(i => (uint)i)];
    }

    private void Apply(SnapshotPart part)
    {
        SnapshotRecords.AddRange(part.Records);
        foreach (var record in part.Records)
        {
            if (!Tasks.TryGetValue(record.RecordId, out var known) || known.Seq <= _snapshot!.BaseSeq || known.JournalId != _journalId)
            {
                Tasks[record.RecordId] = (record, _journalId, 0);
            }
        }
    }

    private Delta[] Within(string after, string through) =>
    [
        .. Tasks.Values.Select(task => task.Delta)
            .Where(delta => string.CompareOrdinal(delta.RecordId, after) > 0 && (through.Length == 0 || string.CompareOrdinal(delta.RecordId, through) <= 0)),
    ];

    private CommandVerdict Word(string commandId, int attempt) =>
        new() { CommandId = commandId, Attempt = attempt, Verdict = VerdictOn(commandId, attempt) };
}
