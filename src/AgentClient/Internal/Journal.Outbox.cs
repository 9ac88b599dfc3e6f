using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>Outbox and numbering.</content>
internal sealed partial class Journal
{
    /// <summary>Rows the application may have waiting. A node that is away for weeks is stopped from filling the disk with messages.</summary>
    public const int OutboxRowsMax = 1_000_000;

    // Number of rows, counted once and then kept; null when a rollback made it doubtful.
    private long? _outboxRows;

    /// <summary>Refuses a change of the application when the outbox is full. What the commands lane needs is bounded elsewhere.</summary>
    public void EnsureOutboxRoom()
    {
        _outboxRows ??= Scalar<long>("select count(*) from outbox");
        if (_outboxRows >= OutboxRowsMax)
        {
            throw new OutboxFullException($"The outbox holds {OutboxRowsMax} rows that the Hub has not acknowledged.");
        }
    }

    /// <summary>Adds an entry without a number. On the data lane it takes the place of the record's row, whose number becomes a hole.</summary>
    public void Enqueue(Lane lane, string key, Entry entry)
    {
        if (lane is Lane.Data)
        {
            _outboxRows -= Execute("delete from outbox where lane = 3 and record_key = $1", key);
        }

        Execute("insert into outbox(lane, record_key, entry) values($1, $2, $3)", (int)lane, key, entry.ToByteArray());
        _outboxRows++;
    }

    /// <summary>Whether an entry under this key waits on the lane.</summary>
    public bool IsQueued(Lane lane, string key) =>
        Scalar<long>("select exists(select 1 from outbox where lane = $1 and record_key = $2)", (int)lane, key) == 1;

    /// <summary>Takes entries back that the Hub no longer wants; numbers they had become holes.</summary>
    public void Withdraw(Lane lane, string key) =>
        _outboxRows -= Execute("delete from outbox where lane = $1 and record_key = $2", (int)lane, key);

    /// <summary>Highest number ever given on the lane, and the number up to which the Hub holds everything.</summary>
    public (long LastSeq, long AckedSeq) Position(Lane lane)
    {
        using var rows = Query("select last_seq, acked_seq from lanes where lane = $1", (int)lane);
        rows.Read();
        return (rows.GetInt64(0), rows.GetInt64(1));
    }

    /// <summary>
    /// Forms the batch that follows <paramref name="after"/>: rows that have numbers first, then rows that get theirs now. The numbers are
    /// on the disk before the batch is returned, so that no number is ever used for two contents. Null when nothing fits or waits.
    /// </summary>
    /// <param name="lane">The lane.</param>
    /// <param name="after">Last number sent before.</param>
    /// <param name="entriesMax">Most entries.</param>
    /// <param name="bytesMax">Most bytes.</param>
    /// <param name="orOneLarger">Whether a single entry larger than <paramref name="bytesMax"/> may travel alone.</param>
    public Batch? NextBatch(Lane lane, long after, int entriesMax, long bytesMax, bool orOneLarger)
    {
        var batch = new Batch { Lane = lane, FirstSeq = after + 1 };
        var room = new BatchRoom(entriesMax, bytesMax, orOneLarger);
        if (AddNumbered(batch, after, room))
        {
            AddUnnumbered(batch, room);
        }

        if (batch.Entries.Count == 0)
        {
            return null;
        }

        batch.LastSeq = batch.Entries[^1].Seq;
        return batch;
    }

    /// <summary>Gives the next number of a lane whose entries are not kept, as those of the bulk lane are not.</summary>
    public long TakeNumber(Lane lane) =>
        Write(() => Scalar<long>("update lanes set last_seq = last_seq + 1 where lane = $1 returning last_seq", (int)lane));

    /// <summary>Removes what the Hub holds and says what it was, by number.</summary>
    public IReadOnlyList<Entry> Acknowledge(Lane lane, long seq)
    {
        var acked = new List<Entry>();
        using (var rows = Query("delete from outbox where lane = $1 and seq <= $2 returning seq, entry", (int)lane, seq))
        {
            while (rows.Read())
            {
                var entry = Entry.Parser.ParseFrom(Blob(rows, 1));
                entry.Seq = rows.GetInt64(0);
                acked.Add(entry);
            }
        }

        _outboxRows -= acked.Count;
        Execute("update lanes set acked_seq = $2 where lane = $1 and acked_seq < $2", (int)lane, seq);
        acked.Sort((left, right) => left.Seq.CompareTo(right.Seq));
        return acked;
    }

    /// <summary>
    /// Takes the Hub's word for what it holds, also when that is less than it acknowledged before: the next batch has to begin there, and
    /// the next Hello must not claim that numbers are missing which a re-sync has covered.
    /// </summary>
    public void SetAcked(Lane lane, long seq) => Execute("update lanes set acked_seq = $2 where lane = $1", (int)lane, seq);

    /// <summary>Numbering of every lane starts at 1 again; what waits is numbered anew when it is sent.</summary>
    public void RestartNumbering()
    {
        Execute("update outbox set seq = null where seq is not null");
        Execute("update lanes set last_seq = 0, acked_seq = 0");
    }

    /// <summary>Mark for <see cref="IsAckedUpTo"/>: everything that waits now lies at or below it.</summary>
    public long OutboxMark() => Scalar<long>("select max(id) from outbox");

    /// <summary>Whether everything up to the mark was acknowledged or replaced by something newer.</summary>
    public bool IsAckedUpTo(long mark) => Scalar<long>("select exists(select 1 from outbox where id <= $1)", mark) == 0;

    // False when the batch is full, so that rows without a number have to wait for the next one.
    private bool AddNumbered(Batch batch, long after, BatchRoom room)
    {
        using var rows = Query("select seq, entry from outbox where lane = $1 and seq > $2 order by seq", (int)batch.Lane, after);
        while (rows.Read())
        {
            if (!room.TryAdd(batch, Entry.Parser.ParseFrom(Blob(rows, 1)), rows.GetInt64(0)))
            {
                return false;
            }
        }

        return true;
    }

    private void AddUnnumbered(Batch batch, BatchRoom room)
    {
        var first = Position(batch.Lane).LastSeq + 1;
        var ids = new List<long>();
        using (var rows = Query("select id, entry from outbox where lane = $1 and seq is null order by id", (int)batch.Lane))
        {
            while (rows.Read() && room.TryAdd(batch, Entry.Parser.ParseFrom(Blob(rows, 1)), first + ids.Count))
            {
                ids.Add(rows.GetInt64(0));
            }
        }

        if (ids.Count == 0)
        {
            return;
        }

        Write(() =>
        {
            for (var i = 0; i < ids.Count; i++)
            {
                Execute("update outbox set seq = $2 where id = $1", ids[i], first + i);
            }

            Execute("update lanes set last_seq = $2 where lane = $1", (int)batch.Lane, first + ids.Count - 1);
        });
    }

    /// <summary>What still fits into a batch.</summary>
    private sealed class BatchRoom(int entriesMax, long bytesMax, bool orOneLarger)
    {
        // Tag and length of an entry within its batch, and its number.
        private const int EntryOverheadBytes = 16;

        private long _bytes;

        public bool TryAdd(Batch batch, Entry entry, long seq)
        {
            var size = entry.CalculateSize() + EntryOverheadBytes;
            var fits = _bytes + size <= bytesMax || (orOneLarger && batch.Entries.Count == 0);
            if (!fits || batch.Entries.Count == entriesMax)
            {
                return false;
            }

            _bytes += size;
            entry.Seq = seq;
            batch.Entries.Add(entry);
            return true;
        }
    }
}
