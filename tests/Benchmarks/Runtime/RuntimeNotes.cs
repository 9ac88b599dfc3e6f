using System.Buffers.Binary;
using Google.Protobuf;
using Hub.Benchmarks.V1;

namespace Hub.Benchmarks.Runtime;

/// <summary>The message of all runtime figures.</summary>
internal static class RuntimeNotes
{
    /// <summary>Flag and length before each message on the wire.</summary>
    public const int FrameHeaderBytes = 5;

    private const int BodyBytes = 120;

    /// <summary>A note of about 200 bytes; equally long for every number below 2^63.</summary>
    public static Note Make(long seq) => new()
    {
        Id = "0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a",
        Seq = long.MaxValue - seq,
        At = 1_767_225_600_000,
        Kind = "task_update",
        Body = ByteString.CopyFrom(new byte[BodyBytes]),
        Score = 7.5,
    };

    /// <summary>The same as bytes on the wire, for peers that know no gRPC.</summary>
    public static byte[] Frame() => FrameOf(Make(0));

    /// <summary>Any message as bytes on the wire.</summary>
    public static byte[] FrameOf(IMessage message)
    {
        var size = message.CalculateSize();
        var frame = new byte[FrameHeaderBytes + size];
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), size);
        message.WriteTo(frame.AsSpan(FrameHeaderBytes));
        return frame;
    }
}
