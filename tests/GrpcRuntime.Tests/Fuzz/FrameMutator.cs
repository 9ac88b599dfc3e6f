using System.Buffers.Binary;
using System.IO.Compression;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using GrpcRuntime.Tests.V1;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Makes frames that are nearly right: each is a good one with at least one thing changed.</summary>
internal sealed class FrameMutator(int seed)
{
    /// <summary>The limit of received messages the frames are made for, in bytes.</summary>
    public const int ReceiveBytesMax = 1024;

    private static readonly string?[] Encodings = [null, "identity", "gzip", "gzip", "gzip", "snappy"];
    private static readonly string?[] Timeouts = ["1H", "0S", "5x", "123456789S", "7M"];

    // Made once: packing is what the frames cost most.
    private static readonly byte[] Bomb = Gzip(new byte[20 * ReceiveBytesMax]);

    private readonly Random _random = new(seed);

    /// <summary>grpc-encoding of the next call; null for none.</summary>
    public string? NextEncoding() => Encodings[_random.Next(Encodings.Length)];

    /// <summary>grpc-timeout of the next call; null, mostly, for none.</summary>
    public string? NextTimeout() => _random.Next(50) == 0 ? Timeouts[_random.Next(Timeouts.Length)] : null;

    public int Next(int below) => _random.Next(below);

    public byte[] NextFrame()
    {
        var payload = NextMessage();
        return _random.Next(14) switch
        {
            0 or 1 or 2 => RawHttp2.Frame(Flipped(payload, 1 + _random.Next(3))),
            3 => RawHttp2.Frame([.. payload, .. UnknownField()]),

            // Protobuf takes the last value of a field: the handler is asked for another status.
            4 => RawHttp2.Frame([.. payload, .. new EchoRequest { Count = _random.Next(17) }.ToByteArray()]),
            5 => RawHttp2.Frame(Gzip(payload), flag: 1),
            6 => RawHttp2.Frame(Flipped(Gzip(payload), 1 + _random.Next(2)), flag: 1),
            7 => RawHttp2.Frame(Bomb, flag: 1),
            8 => RawHttp2.Frame(payload, (byte)_random.Next(256)),
            9 => WithLength(payload, payload.Length + _random.Next(-8, 9)),
            10 => WithLength(payload, _random.Next(int.MinValue, int.MaxValue)),
            11 => RawHttp2.Frame(payload)[.._random.Next(payload.Length)],
            12 => RawHttp2.Frame(Noise(_random.Next(40))),
            _ => [.. RawHttp2.Frame(payload), .. RawHttp2.Frame(payload)[.._random.Next(6)]],
        };
    }

    public static byte[] Gzip(byte[] plain)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(plain);
        }

        return packed.ToArray();
    }

    private static byte[] WithLength(byte[] payload, int length)
    {
        var frame = RawHttp2.Frame(payload);
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), length);
        return frame;
    }

    private byte[] NextMessage() => new EchoRequest
    {
        Text = new string('t', 1 + _random.Next(40)),
        Payload = UnsafeByteOperations.UnsafeWrap(Noise(_random.Next(120))),
        Count = _random.Next(4) == 0 ? _random.Next(17) : 0,
        SentAt = _random.Next(3) == 0 ? new Timestamp { Seconds = _random.Next() } : null,
        Numbers = { ["n"] = _random.Next() },
    }.ToByteArray();

    private byte[] UnknownField()
    {
        // Field 100, length-delimited.
        var value = Noise(_random.Next(20));
        return [0xA2, 0x06, (byte)value.Length, .. value];
    }

    private byte[] Noise(int length)
    {
        var noise = new byte[length];
        _random.NextBytes(noise);
        return noise;
    }

    private byte[] Flipped(byte[] bytes, int count)
    {
        for (var i = 0; i < count; i++)
        {
            bytes[_random.Next(bytes.Length)] ^= (byte)(1 << _random.Next(8));
        }

        return bytes;
    }
}
