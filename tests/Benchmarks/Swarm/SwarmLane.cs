using Hub.Contracts.V1;

namespace Hub.Benchmarks.Swarm;

/// <summary>A batch that waits for its acknowledgement.</summary>
/// <param name="DueAt">Timestamp at which its entries were due.</param>
/// <param name="Resent">It was sent on an earlier link too, so that its latency is that of the outage.</param>
internal sealed record SentBatch(Batch Batch, long DueAt, bool Resent);

/// <summary>One numbered lane towards the Hub: gives the numbers and keeps what is not acknowledged. Guarded by its node's lock.</summary>
internal sealed class SwarmLane(Lane lane)
{
    private readonly Queue<SentBatch> _waiting = new();
    private long _last;

    public int Waiting => _waiting.Count;

    public UpstreamPosition Position => new()
    {
        Lane = lane,
        FirstSeq = _waiting.TryPeek(out var first) ? first.Batch.FirstSeq : _last + 1,
        LastSeq = _last,
    };

    public Batch Next(IEnumerable<Entry> entries, long dueAt)
    {
        var batch = new Batch { Lane = lane, FirstSeq = _last + 1 };
        foreach (var entry in entries)
        {
            entry.Seq = ++_last;
            batch.Entries.Add(entry);
        }

        batch.LastSeq = _last;
        _waiting.Enqueue(new SentBatch(batch, dueAt, Resent: false));
        return batch;
    }

    /// <summary>Takes out what the Hub has stored.</summary>
    public List<SentBatch> Stored(long seq)
    {
        var stored = new List<SentBatch>();
        while (_waiting.TryPeek(out var first) && first.Batch.LastSeq <= seq)
        {
            stored.Add(_waiting.Dequeue());
        }

        return stored;
    }

    /// <summary>What has to be sent again.</summary>
    public List<Batch> Replay()
    {
        var again = _waiting.Select(sent => sent with { Resent = true }).ToArray();
        _waiting.Clear();
        foreach (var sent in again)
        {
            _waiting.Enqueue(sent);
        }

        return [.. again.Select(sent => sent.Batch)];
    }
}
