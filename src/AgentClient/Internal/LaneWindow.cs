using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// What is under way on one upstream lane of one link: the number sent last, and the batches whose acknowledgement is still due. Acks are
/// the credit that lets more be sent.
/// </summary>
internal sealed class LaneWindow(Lane lane)
{
    private readonly Queue<(long LastSeq, int Bytes)> _unacked = new();
    private long _unackedBytes;
    private long _highestSent;

    /// <summary>The numbered upstream lanes in the order they are served.</summary>
    public static readonly IReadOnlyList<Lane> Lanes = [Lane.Commands, Lane.Chat, Lane.Data, Lane.Bulk];

    public Lane Lane => lane;

    /// <summary>Last number sent; the next batch begins one higher.</summary>
    public long Cursor { get; private set; }

    /// <summary>Whether the journal may hold something to send; saves asking it for every frame.</summary>
    public bool MayHaveMore { get; set; }

    public bool IsIdle => _unacked.Count == 0;

    /// <summary>Begins a link: the Hub holds everything up to <paramref name="storedSeq"/>.</summary>
    public void Start(long storedSeq)
    {
        _unacked.Clear();
        _unackedBytes = 0;
        Cursor = _highestSent = storedSeq;
        MayHaveMore = true;
    }

    /// <summary>Bytes that may be sent now; 0 when the credit is used up.</summary>
    public long Credit(int batchesMax, long bytesMax) => _unacked.Count >= batchesMax ? 0 : Math.Max(0, bytesMax - _unackedBytes);

    public void Sent(Batch batch, int bytes)
    {
        _unacked.Enqueue((batch.LastSeq, bytes));
        _unackedBytes += bytes;
        Cursor = batch.LastSeq;
        _highestSent = Math.Max(_highestSent, Cursor);
    }

    /// <exception cref="LinkProtocolException">The number was never sent on this link.</exception>
    public void Acked(long seq)
    {
        if (seq > _highestSent)
        {
            throw new LinkProtocolException($"Lane {lane}: number {seq} was acknowledged, {_highestSent} is the last that was sent.");
        }

        while (_unacked.TryPeek(out var batch) && batch.LastSeq <= seq)
        {
            _unacked.Dequeue();
            _unackedBytes -= batch.Bytes;
        }

        // After a Nack the cursor may lie below what an earlier copy of the batches has reached meanwhile.
        Cursor = Math.Max(Cursor, seq);
        MayHaveMore = true;
    }

    /// <summary>Goes back to the number the Hub expects. A Nack that was overtaken by an ack is stale and changes nothing.</summary>
    /// <exception cref="LinkProtocolException">The Hub expects a number beyond what was sent.</exception>
    public bool Nacked(long expectedSeq, long ackedSeq)
    {
        if (expectedSeq > _highestSent + 1)
        {
            throw new LinkProtocolException($"Lane {lane}: number {expectedSeq} is expected, {_highestSent} is the last that was sent.");
        }

        if (expectedSeq <= ackedSeq || expectedSeq > Cursor)
        {
            return false;
        }

        var kept = _unacked.Where(batch => batch.LastSeq < expectedSeq).ToArray();
        _unacked.Clear();
        _unackedBytes = 0;
        foreach (var batch in kept)
        {
            _unacked.Enqueue(batch);
            _unackedBytes += batch.Bytes;
        }

        Cursor = expectedSeq - 1;
        MayHaveMore = true;
        return true;
    }
}
