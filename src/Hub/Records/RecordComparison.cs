using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Records;

/// <summary>
/// What a re-sync compares: the node's digests and listings against the rows (SnapshotDigests and SnapshotListing of link_service.proto).
/// Ranges are read by the primary key, so comparing costs the rows of the range and a write none.
/// </summary>
internal static class RecordComparison
{
    /// <summary>Ranges of one entry.</summary>
    private const int RangesMax = 64;

    /// <summary>Records a range may have to be compared; a larger one counts as different.</summary>
    private const int RangeRecordsMax = 1_000;

    /// <summary>Records of one listing.</summary>
    private const int ListingRecordsMax = 1_000;

    private const int HalfBytes = 16;

    private const int ListedBytes = 2 * HalfBytes;

    private const string RangeSql = """
        select record_id, body_hash from records
        where host_id = @hostId and collection = @Name and deleted_at is null and record_id > @after
        """;

    private const string ThroughSql = " and record_id <= @through";

    public static HubException? Fault(SnapshotDigests digests) =>
        digests.Ranges.Count > RangesMax || digests.Ranges.Any(range => range.Digest.Length != HalfBytes)
            ? new HubException(ErrorReason.RecordInvalid, $"Digests are of at most {RangesMax} ranges and have {HalfBytes} bytes each.")
            : null;

    public static HubException? Fault(SnapshotListing listing) =>
        listing.Records.Length % ListedBytes != 0 || listing.Records.Length > ListingRecordsMax * ListedBytes
            ? new HubException(ErrorReason.RecordInvalid, $"A listing has {ListedBytes} bytes for each of at most {ListingRecordsMax} records.")
            : null;

    /// <summary>Indexes of the ranges in which the node has something else than the Hub.</summary>
    public static IReadOnlyList<uint> Differing(StoreTransaction tx, string hostId, RecordCollection collection, SnapshotDigests digests)
    {
        var differing = new List<uint>();
        var after = digests.After;
        for (var i = 0; i < digests.Ranges.Count; i++)
        {
            var range = digests.Ranges[i];
            if (range.Count > RangeRecordsMax || !IsEqual(Rows(tx, hostId, collection, after, range.Through, (int)range.Count + 1), range))
            {
                differing.Add((uint)i);
            }

            after = range.Through;
        }

        return differing;
    }

    /// <summary>Indexes of the listed records that the Hub lacks or has otherwise, and ids of its records of the range that are not listed.</summary>
    public static (IReadOnlyList<uint> Wanted, IReadOnlyList<string> Absent) Compare(
        StoreTransaction tx, string hostId, RecordCollection collection, SnapshotListing listing)
    {
        var listed = listing.Records.Memory.Span;
        var positions = new Dictionary<UInt128, (uint Index, UInt128 Body)>();
        for (var i = 0; i < listed.Length / ListedBytes; i++)
        {
            var at = listed.Slice(i * ListedBytes, ListedBytes);
            positions[Half(at)] = ((uint)i, Half(at[HalfBytes..]));
        }

        var absent = new List<string>();
        foreach (var row in Rows(tx, hostId, collection, listing.After, listing.Through, int.MaxValue))
        {
            var id = Half(SHA256.HashData(Encoding.UTF8.GetBytes(row.RecordId)));
            if (!positions.TryGetValue(id, out var node))
            {
                absent.Add(row.RecordId);
            }
            else if (node.Body == Half(BodyHalf(row)))
            {
                positions.Remove(id);
            }
        }

        return ([.. positions.Values.Select(node => node.Index).Order()], absent);
    }

    private static bool IsEqual(IReadOnlyList<HashRow> rows, SnapshotRange range)
    {
        if (rows.Count != range.Count)
        {
            return false;
        }

        UInt128 digest = 0;
        foreach (var row in rows)
        {
            digest ^= Half(SHA256.HashData([.. Encoding.UTF8.GetBytes(row.RecordId), .. BodyHalf(row)]));
        }

        return digest == Half(range.Digest.Span);
    }

    private static IReadOnlyList<HashRow> Rows(StoreTransaction tx, string hostId, RecordCollection collection, string after, string through, int limit) =>
        tx.Query<HashRow>(
            through.Length == 0 ? $"{RangeSql} limit @limit" : $"{RangeSql}{ThroughSql} limit @limit",
            new { hostId, collection.Name, after, through, limit });

    // A row moved from an older schema has no hash: nothing is equal to it, and the node's record replaces it.
    private static byte[] BodyHalf(HashRow row) => row.BodyHash.Length == 0 ? new byte[HalfBytes] : Convert.FromHexString(row.BodyHash)[..HalfBytes];

    private static UInt128 Half(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadUInt128BigEndian(bytes);

    private sealed record HashRow(string RecordId, string BodyHash);
}
