using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// One re-sync on its way out: begin, parts by record key, end. It lives in memory only, since a re-sync that is interrupted begins anew
/// under another id; that it is due is durable in the journal.
/// </summary>
internal sealed class SnapshotRun(Collection collection)
{
    private readonly string _id = Guid.NewGuid().ToString("N");
    private string _lastKey = "";
    private bool _begun;

    public Collection Collection => collection;

    /// <summary>Number of the end entry once it was sent.</summary>
    public long? EndSeq { get; private set; }

    /// <summary>The next entry, numbered by the journal; null when all was sent.</summary>
    public Entry? Next(Journal journal)
    {
        if (EndSeq is not null)
        {
            return null;
        }

        if (!_begun)
        {
            _begun = true;
            return Numbered(journal, new Entry
            {
                SnapshotBegin = new SnapshotBegin
                {
                    SnapshotId = _id,
                    Collection = collection,
                    // Everything numbered so far is in the mirror the parts are read from; what changes later has a higher number.
                    BaseSeq = journal.Position(Lane.Data).LastSeq,
                },
            });
        }

        var records = journal.MirrorAfter(collection, _lastKey, LinkLimits.BatchBytesMax);
        if (records.Count > 0)
        {
            _lastKey = records[^1].Key;
            return Numbered(journal, new Entry
            {
                SnapshotPart = new SnapshotPart { SnapshotId = _id, Records = { records.Select(record => record.Record) } },
            });
        }

        var end = Numbered(journal, new Entry { SnapshotEnd = new SnapshotEnd { SnapshotId = _id } });
        EndSeq = end.Seq;
        return end;
    }

    private static Entry Numbered(Journal journal, Entry entry)
    {
        entry.Seq = journal.TakeNumber(Lane.Bulk);
        return entry;
    }
}
