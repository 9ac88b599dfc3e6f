using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// One re-sync on its way out: digests of ranges, listings of the ranges that differ, the records that the Hub lacks, the end. It lives in
/// memory only, since a re-sync that is interrupted begins anew under another id and finds equal what it brought over; that it is due is
/// durable in the journal. What it holds is bounded: no more digests are sent while ranges wait to be listed or records to be sent.
/// </summary>
internal sealed class SnapshotRun(Collection collection)
{
    /// <summary>Records of one range.</summary>
    private const int RangeRecords = 200;

    /// <summary>Ranges of one entry, small enough that the Hub compares them within a few milliseconds.</summary>
    private const int EntryRangesMax = 4;

    /// <summary>Records of one listing; a range that grew meanwhile is listed in several.</summary>
    private const int ListingRecordsMax = 1_000;

    private readonly string _id = Guid.NewGuid().ToString("N");
    private readonly Dictionary<long, Range[]> _compared = [];
    private readonly Dictionary<long, string[]> _listed = [];
    private readonly Queue<Range> _different = new();
    private readonly Queue<string> _wanted = new();
    private string _digestedThrough = "";
    private bool _allDigested;
    private bool _begun;

    public Collection Collection => collection;

    /// <summary>Number of the end entry once it was sent.</summary>
    public long? EndSeq { get; private set; }

    /// <summary>The next entry, numbered by the journal; null when the Hub's answers are due first, or all was sent.</summary>
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
                    // Everything numbered so far is in the mirror; what changes later has a higher number.
                    BaseSeq = journal.Position(Lane.Data).LastSeq,
                },
            });
        }

        if (NextPart(journal) is { } part)
        {
            return Numbered(journal, new Entry { SnapshotPart = part });
        }

        if (_different.TryDequeue(out var range))
        {
            return NextListing(journal, range);
        }

        if (!_allDigested && _compared.Count == 0)
        {
            return NextDigests(journal);
        }

        if (!_allDigested || _compared.Count > 0 || _listed.Count > 0)
        {
            return null;
        }

        var end = Numbered(journal, new Entry { SnapshotEnd = new SnapshotEnd { SnapshotId = _id, Compared = true } });
        EndSeq = end.Seq;
        return end;
    }

    /// <summary>The Hub has compared everything up to the number of the acknowledgement, and says what it wants.</summary>
    /// <exception cref="LinkProtocolException">A request names what was not sent.</exception>
    public void Answered(Ack ack)
    {
        foreach (var request in ack.SnapshotRequests)
        {
            // A request about neither answers an entry of a run that was begun anew since.
            if (_compared.TryGetValue(request.Seq, out var ranges))
            {
                Take(request, ranges, _different);
            }
            else if (_listed.TryGetValue(request.Seq, out var keys))
            {
                Take(request, keys, _wanted);
            }
        }

        foreach (var seq in _compared.Keys.Concat(_listed.Keys).Where(seq => seq <= ack.Seq).ToArray())
        {
            _compared.Remove(seq);
            _listed.Remove(seq);
        }
    }

    private static void Take<T>(SnapshotRequest request, T[] sent, Queue<T> into)
    {
        foreach (var index in request.Indexes)
        {
            if (index >= sent.Length)
            {
                throw new LinkProtocolException($"The Hub asks for item {index} of {sent.Length} of a re-sync.");
            }

            into.Enqueue(sent[index]);
        }
    }

    private SnapshotPart? NextPart(Journal journal)
    {
        var part = new SnapshotPart { SnapshotId = _id };
        for (var bytes = 0; _wanted.TryPeek(out var key); _wanted.Dequeue())
        {
            if (journal.FindMirrored(collection, key) is { } record) // Else it was deleted meanwhile, which the data lane says.
            {
                bytes += record.CalculateSize();
                if (bytes > LinkLimits.BatchBytesMax && part.Records.Count > 0)
                {
                    break;
                }

                part.Records.Add(record);
            }
        }

        return part.Records.Count > 0 ? part : null;
    }

    private Entry NextListing(Journal journal, Range range)
    {
        var records = journal.MirrorRange(collection, range.After, range.Through, ListingRecordsMax + 1);
        var through = range.Through;
        if (records.Count > ListingRecordsMax)
        {
            records = [.. records.Take(ListingRecordsMax)];
            through = records[^1].RecordId;
            _different.Enqueue(range with { After = through });
        }

        var listing = new SnapshotListing { SnapshotId = _id, After = range.After, Through = through };
        listing.Records = ByteString.CopyFrom([.. records.SelectMany(RecordDigest.Listed)]);
        var entry = Numbered(journal, new Entry { SnapshotListing = listing });
        _listed[entry.Seq] = [.. records.Select(Records.Key)];
        return entry;
    }

    private Entry NextDigests(Journal journal)
    {
        var digests = new SnapshotDigests { SnapshotId = _id, After = _digestedThrough };
        var ranges = new List<Range>();
        while (!_allDigested && ranges.Count < EntryRangesMax)
        {
            // One more than the range has: whether it is the last is known at once.
            var records = journal.MirrorRange(collection, _digestedThrough, "", RangeRecords + 1);
            _allDigested = records.Count <= RangeRecords;
            var range = new Range(_digestedThrough, _allDigested ? "" : records[RangeRecords - 1].RecordId);
            var digest = RecordDigest.Empty();
            var count = Math.Min(records.Count, RangeRecords);
            foreach (var record in records.Take(count))
            {
                RecordDigest.AddTo(digest, record);
            }

            digests.Ranges.Add(new SnapshotRange { Through = range.Through, Count = (uint)count, Digest = ByteString.CopyFrom(digest) });
            ranges.Add(range);
            _digestedThrough = range.Through;
        }

        var entry = Numbered(journal, new Entry { SnapshotDigests = digests });
        _compared[entry.Seq] = [.. ranges];
        return entry;
    }

    private static Entry Numbered(Journal journal, Entry entry)
    {
        entry.Seq = journal.TakeNumber(Lane.Bulk);
        return entry;
    }

    /// <summary>Record ids behind the first up to the second; empty is the start and the end of the collection.</summary>
    private sealed record Range(string After, string Through);
}
