using System.Buffers.Binary;
using System.IO.Compression;
using Google.Protobuf;
using Grpc.Core;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Reads a whole stream of frames the plain way and says what the protocol makes of it.</summary>
/// <typeparam name="T">The messages in the frames.</typeparam>
/// <param name="parser">Parses one message.</param>
/// <param name="unknownEncoding">Status of a compressed message in an encoding nobody knows: it depends on the side.</param>
internal sealed class FrameOracle<T>(MessageParser<T> parser, StatusCode unknownEncoding)
    where T : IMessage<T>
{
    /// <summary>The messages before the first bad one, and the status of the bad one; OK if there is none.</summary>
    public (List<T> Messages, StatusCode Status) Read(ReadOnlySpan<byte> bytes, string? encoding)
    {
        var messages = new List<T>();
        while (!bytes.IsEmpty)
        {
            if (bytes.Length < 5)
            {
                return (messages, StatusCode.Internal);
            }

            var flag = bytes[0];
            var length = BinaryPrimitives.ReadUInt32BigEndian(bytes[1..]);
            if (length > FrameMutator.ReceiveBytesMax)
            {
                return (messages, StatusCode.ResourceExhausted);
            }

            if (flag > 1 || bytes.Length < 5 + length)
            {
                return (messages, StatusCode.Internal);
            }

            var payload = bytes.Slice(5, (int)length).ToArray();
            if (flag == 1)
            {
                if (encoding is null or "identity")
                {
                    return (messages, StatusCode.Internal);
                }

                if (encoding != "gzip")
                {
                    return (messages, unknownEncoding);
                }

                if (Unpack(payload) is not { } plain)
                {
                    return (messages, StatusCode.Internal);
                }

                if (plain.Length > FrameMutator.ReceiveBytesMax)
                {
                    return (messages, StatusCode.ResourceExhausted);
                }

                payload = plain;
            }

            try
            {
                messages.Add(parser.ParseFrom(payload));
            }
            catch (InvalidProtocolBufferException)
            {
                return (messages, StatusCode.Internal);
            }

            bytes = bytes[(5 + (int)length)..];
        }

        return (messages, StatusCode.OK);
    }

    private static byte[]? Unpack(byte[] packed)
    {
        // Over the limit the rest does not matter, not even whether it is broken.
        var plain = new byte[FrameMutator.ReceiveBytesMax + 1];
        try
        {
            using var gzip = new GZipStream(new MemoryStream(packed), CompressionMode.Decompress);
            return plain[..gzip.ReadAtLeast(plain, plain.Length, throwOnEndOfStream: false)];
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }
}
