using System.Buffers;
using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Pipelines;
using Grpc.Core;

namespace Grpc.Framing;

/// <summary>
/// Takes messages off one stream: 1 byte flag, 4 bytes length, then the message. What one wake-up brought is kept and every complete
/// message in it is parsed before the pipe is touched again. One reader at a time.
/// </summary>
/// <param name="input">The stream's bytes; the caller ends it.</param>
/// <param name="receiveBytesMax">Largest message taken, in bytes, before and after decompression; null for no limit.</param>
internal sealed class MessageReader(PipeReader input, int? receiveBytesMax) : DeserializationContext
{
    private ReadOnlySequence<byte> _received;
    private ReadOnlySequence<byte> _payload;
    private bool _holds;
    private bool _ended;

    /// <summary>Value of grpc-encoding; null means none was named.</summary>
    public string? Encoding { get; set; }

    /// <summary>Status of messages in an encoding we do not know: by the protocol the server's refusal differs from the client's.</summary>
    public StatusCode UnknownEncodingStatus { get; init; } = StatusCode.Unimplemented;

    public override int PayloadLength => (int)_payload.Length;

    public override byte[] PayloadAsNewBuffer() => _payload.ToArray();

    public override ReadOnlySequence<byte> PayloadAsReadOnlySequence() => _payload;

    /// <summary>Parses the next message if all of it has arrived.</summary>
    /// <exception cref="RpcException">The bytes are no gRPC frame, or the message is refused.</exception>
    public bool TryRead<T>(Marshaller<T> marshaller, out T? message)
        where T : class
    {
        message = null;
        var available = _received.Length;
        if (available < GrpcProtocol.HeaderBytes)
        {
            return false;
        }

        var (flag, length) = ReadHeader();

        // Refused by the length prefix alone, before a byte of the message is waited for.
        if (length > (receiveBytesMax ?? int.MaxValue))
        {
            throw TooLarge();
        }

        if (flag > 1)
        {
            throw new RpcException(new Status(StatusCode.Internal, $"Frame flag {flag} is not known."));
        }

        var frameBytes = GrpcProtocol.HeaderBytes + (long)length;
        if (available < frameBytes)
        {
            return false;
        }

        _payload = _received.Slice(GrpcProtocol.HeaderBytes, length);
        message = flag == 0 ? Deserialize(marshaller) : DeserializeCompressed(marshaller);
        _payload = default;
        _received = _received.Slice(frameBytes);
        return true;
    }

    /// <summary>Waits for more bytes after <see cref="TryRead"/> said no. False when the peer has ended its side.</summary>
    /// <exception cref="RpcException">The peer ended its side within a message.</exception>
    public async ValueTask<bool> WaitAsync(CancellationToken cancellationToken)
    {
        if (_ended)
        {
            if (!_received.IsEmpty)
            {
                throw new RpcException(new Status(StatusCode.Internal, "The stream ended within a message."));
            }

            return false;
        }

        // All is marked as seen, so the HTTP/2 window opens again even when one message is larger than the window.
        Release();
        var result = await input.ReadAsync(cancellationToken).ConfigureAwait(false);
        if (result.IsCanceled)
        {
            throw new OperationCanceledException("The read was cancelled.");
        }

        _received = result.Buffer;
        _holds = true;
        _ended = result.IsCompleted;
        return true;
    }

    /// <summary>Reads the next message; null at the end of the stream.</summary>
    public async ValueTask<T?> ReadAsync<T>(Marshaller<T> marshaller, CancellationToken cancellationToken)
        where T : class
    {
        T? message;
        while (!TryRead(marshaller, out message))
        {
            if (!await WaitAsync(cancellationToken).ConfigureAwait(false))
            {
                return null;
            }
        }

        return message;
    }

    /// <summary>
    /// Reads the only message of a side that does not stream, and its end. Another number of messages means that the peer knows the method
    /// as one of another kind, which is UNIMPLEMENTED by the protocol.
    /// </summary>
    /// <exception cref="RpcException">There is none, or more than one.</exception>
    public async ValueTask<T> ReadSingleAsync<T>(Marshaller<T> marshaller, CancellationToken cancellationToken)
        where T : class
    {
        var message = await ReadAsync(marshaller, cancellationToken).ConfigureAwait(false)
            ?? throw new RpcException(new Status(StatusCode.Unimplemented, "The stream ended without a message."));
        while (_received.IsEmpty)
        {
            if (!await WaitAsync(cancellationToken).ConfigureAwait(false))
            {
                Release();
                return message;
            }
        }

        throw new RpcException(new Status(StatusCode.Unimplemented, "More than one message came where one was expected."));
    }

    /// <summary>Gives the received bytes back to the pipe. What was not parsed stays there.</summary>
    public void Release()
    {
        if (_holds)
        {
            _holds = false;
            input.AdvanceTo(_received.Start, _received.End);
            _received = default;
        }
    }

    /// <summary>Gives everything back, the pipe included.</summary>
    public void Complete()
    {
        Release();
        input.Complete();
    }

    private static RpcException TooLarge() =>
        new(new Status(StatusCode.ResourceExhausted, "Received message exceeds the maximum configured message size."));

    private (byte Flag, uint Length) ReadHeader()
    {
        var first = _received.FirstSpan;
        if (first.Length >= GrpcProtocol.HeaderBytes)
        {
            return (first[0], BinaryPrimitives.ReadUInt32BigEndian(first[1..]));
        }

        Span<byte> header = stackalloc byte[GrpcProtocol.HeaderBytes];
        _received.Slice(0, GrpcProtocol.HeaderBytes).CopyTo(header);
        return (header[0], BinaryPrimitives.ReadUInt32BigEndian(header[1..]));
    }

    private T Deserialize<T>(Marshaller<T> marshaller)
    {
        try
        {
            return marshaller.ContextualDeserializer(this);
        }
        catch (Exception exception) when (exception is not RpcException)
        {
            throw new RpcException(new Status(StatusCode.Internal, "The message could not be deserialized.", exception));
        }
    }

    private T DeserializeCompressed<T>(Marshaller<T> marshaller)
    {
        switch (Encoding)
        {
            case GrpcProtocol.GzipEncoding:
                break;
            case null or GrpcProtocol.IdentityEncoding:
                throw new RpcException(new Status(StatusCode.Internal, "A message is marked as compressed, but no grpc-encoding was named."));
            default:
                throw new RpcException(new Status(
                    UnknownEncodingStatus, $"grpc-encoding '{Encoding}' is not supported; supported are {GrpcProtocol.AcceptedEncodings}."));
        }

        var plain = new ArrayBufferWriter<byte>();
        try
        {
            using var packed = new MemoryStream(_payload.ToArray());
            using var gzip = new GZipStream(packed, CompressionMode.Decompress);
            while (true)
            {
                // A few bytes can unpack to gigabytes: one byte over the limit is asked for and no more.
                var room = (receiveBytesMax ?? Array.MaxLength - 1) + 1 - plain.WrittenCount;
                var span = plain.GetSpan(4096);
                var read = gzip.Read(span[..Math.Min(span.Length, room)]);
                if (read == 0)
                {
                    break;
                }

                plain.Advance(read);
                if (read == room)
                {
                    throw TooLarge();
                }
            }
        }
        catch (InvalidDataException exception)
        {
            throw new RpcException(new Status(StatusCode.Internal, "The message could not be decompressed.", exception));
        }

        _payload = new ReadOnlySequence<byte>(plain.WrittenMemory);
        return Deserialize(marshaller);
    }
}
