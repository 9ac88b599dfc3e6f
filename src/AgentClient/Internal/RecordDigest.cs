using System.Security.Cryptography;
using System.Text;
using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>What a re-sync compares of a record (SnapshotDigests and SnapshotListing of link_service.proto).</summary>
internal static class RecordDigest
{
    private const int HalfBytes = 16;

    /// <summary>Size of a record in a listing.</summary>
    public const int ListedBytes = 2 * HalfBytes;

    /// <summary>The record as a listing has it: half of the hash of its id, half of that of its body.</summary>
    public static byte[] Listed(Delta record) =>
    [
        .. SHA256.HashData(Encoding.UTF8.GetBytes(record.RecordId)).AsSpan(0, HalfBytes),
        .. SHA256.HashData(Records.Body(record).ToByteArray()).AsSpan(0, HalfBytes),
    ];

    /// <summary>Adds the record to the digest of its range.</summary>
    public static void AddTo(Span<byte> digest, Delta record)
    {
        byte[] text = [.. Encoding.UTF8.GetBytes(record.RecordId), .. Listed(record).AsSpan(HalfBytes)];
        var own = SHA256.HashData(text);
        for (var i = 0; i < HalfBytes; i++)
        {
            digest[i] ^= own[i];
        }
    }

    public static byte[] Empty() => new byte[HalfBytes];
}
