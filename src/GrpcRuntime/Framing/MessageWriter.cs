using System.Buffers;
using System.Buffers.Binary;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.IO.Compression;
using System.IO.Pipelines;
using Grpc.Core;

namespace Grpc.Framing;

/// <summary>
/// Puts messages onto one stream. Messages are framed into a buffer of our own; a single pump hands it to the transport and, while the
/// transport is busy, the next messages gather behind it and go out together. A write ends when its message is buffered, unless more
/// than <see cref="UnsentBytesMax"/> wait; then it ends when the transport has caught up. One writer at a time.
/// </summary>
/// <remarks>
/// A client that streams keeps what the transport took, up to the same bound, until the server answers: a server that refuses a stream (it
/// has as many as it wants) has seen none of it, and the HTTP client starts over with another.
/// </remarks>
/// <param name="sendBytesMax">Largest message sent, in bytes before compression; null for no limit.</param>
/// <param name="replays">Whether the transport may be replaced before <see cref="StopReplay"/>.</param>
internal sealed class MessageWriter(int? sendBytesMax, bool replays = false) : SerializationContext, IBufferWriter<byte>
{
    /// <summary>Unsent bytes from which on a write waits for the transport (one message may exceed it).</summary>
    public const int UnsentBytesMax = 64 * 1024;

    /// <summary>First size of a rented buffer, in bytes: a few small messages.</summary>
    private const int BufferBytesMin = 4 * 1024;

    /// <summary>Below this size compression costs more than it saves, in bytes.</summary>
    private const int CompressBytesMin = 1024;

    private readonly Lock _gate = new();
    // Owned by the one writer while _writing, by whoever holds the gate otherwise.
    private byte[] _buffer = [];
    private int _length;
    private int _frameStart;
    private int _announcedBytes;
    private bool _framed;
    private bool _compress;

    // Guarded by the gate. What was taken is null when it is not kept (any more).
    private List<(byte[] Buffer, int Length)>? _taken = replays ? [] : null;
    private int _takenBytes;
    private byte[]? _inFlight;
    private PipeWriter? _output;
    private bool _started;
    private Task _pump = Task.CompletedTask;
    private bool _writing;
    private bool _pumping;
    private bool _closed;
    private Exception? _failure;
    private TaskCompletionSource? _caughtUp;

    /// <summary>Compression of messages worth it; null sends all as they are.</summary>
    public CompressionLevel? Gzip { get; set; }

    /// <summary>Whether any message was ever accepted.</summary>
    public bool HasWritten { get; private set; }

    /// <summary>Messages as a stream without compression carries them, for <see cref="WriteFramesAsync"/>.</summary>
    /// <exception cref="RpcException">One is larger than a stream may send.</exception>
    public static byte[] FramesOf<T>(Marshaller<T> marshaller, IReadOnlyList<T> messages, int? sendBytesMax)
    {
        var writer = new MessageWriter(sendBytesMax);
        try
        {
            foreach (var message in messages)
            {
                writer.Frame(marshaller, message, WriteFlags.NoCompress);
            }

            return writer._buffer[..writer._length];
        }
        finally
        {
            writer.ReturnBuffer();
        }
    }

    /// <summary>
    /// Gives the transport; until then messages gather. One given later starts with what earlier ones took, unflushed; false if that is no
    /// longer there.
    /// </summary>
    public bool Start(PipeWriter output)
    {
        lock (_gate)
        {
            Debug.Assert(_output is null, "An earlier transport is detached first.");
            if (_started && _taken is null)
            {
                return false;
            }

            _started = true;
            foreach (var (buffer, length) in _taken ?? [])
            {
                output.Write(buffer.AsSpan(0, length));
            }

            _output = output;
            return true;
        }
    }

    /// <summary>Takes a lost transport away and waits until it holds nothing of ours.</summary>
    public Task DetachAsync()
    {
        lock (_gate)
        {
            _output = null;
            return _pump;
        }
    }

    /// <summary>Forgets what the transport took: the server has answered, so it will not be wanted again.</summary>
    public void StopReplay()
    {
        bool isLost;
        lock (_gate)
        {
            isLost = _taken is not null && _started && _output is null;
            ReleaseTaken();
        }

        if (isLost)
        {
            Abort(new IOException("The request stream is gone."));
        }
    }

    /// <summary>Sends what was written so far without waiting for more.</summary>
    public void Flush()
    {
        lock (_gate)
        {
            if (_pumping || _writing || _length == 0 || _output is null || _failure is not null)
            {
                return;
            }

            _pumping = true;
        }

        StartPump();
    }

    /// <summary>Writes one message; see the class for when the task ends.</summary>
    public Task WriteAsync<T>(Marshaller<T> marshaller, T message, WriteFlags flags)
    {
        if (BeginWrite() is { } refusal)
        {
            return Task.FromException(refusal);
        }

        try
        {
            Frame(marshaller, message, flags);
        }
        catch (Exception exception)
        {
            // Nothing of a message that could not be framed may stay behind.
            _length = _frameStart;
            _ = EndWrite(flush: true);
            return Task.FromException(exception);
        }

        HasWritten = true;
        return EndWrite(flush: (flags & WriteFlags.BufferHint) == 0);
    }

    /// <summary>As <see cref="WriteAsync{T}"/>, for messages that are framed already.</summary>
    public Task WriteFramesAsync(ReadOnlySpan<byte> frames)
    {
        if (BeginWrite() is { } refusal)
        {
            return Task.FromException(refusal);
        }

        try
        {
            Reserve(frames.Length);
            frames.CopyTo(_buffer.AsSpan(_length));
            _length += frames.Length;
            HasWritten |= frames.Length > 0;
        }
        catch (Exception exception) when (exception is OverflowException or OutOfMemoryException)
        {
            _ = EndWrite(flush: true);
            return Task.FromException(exception);
        }

        return EndWrite(flush: true);
    }

    /// <summary>Takes what was written before there is a transport, as the whole of what will ever be sent.</summary>
    public byte[] TakeWhole()
    {
        lock (_gate)
        {
            _closed = true;
            var whole = _buffer.AsSpan(0, _length).ToArray();
            ReturnBuffer();
            return whole;
        }
    }

    /// <summary>
    /// Accepts no further message and waits for those accepted. The last of them may be left to the caller: what could not be handed over
    /// with an earlier flush is put into the transport without one, so that it travels together with the end of the stream.
    /// </summary>
    /// <param name="output">The transport to end; nothing is put into it if another has taken its place meanwhile.</param>
    public async ValueTask CompleteAsync(PipeWriter output)
    {
        Task? caughtUp = null;
        lock (_gate)
        {
            _closed = true;
            if (_pumping)
            {
                caughtUp = CaughtUp();
            }
        }

        if (caughtUp is not null)
        {
            await caughtUp.ConfigureAwait(false);
        }

        lock (_gate)
        {
            if (_output != output || _writing)
            {
                return;
            }

            if (_length > 0 && _failure is null)
            {
                output.Write(_buffer.AsSpan(0, _length));
                if (Keep(_buffer, _length))
                {
                    (_buffer, _length) = ([], 0);
                }
            }

            ReturnBuffer();
        }
    }

    /// <summary>Ends the stream without sending what waits; writes fail with the cause from now on.</summary>
    /// <returns>Whether the transport is free; if not, it still holds bytes that the peer does not take.</returns>
    public bool Abort(Exception cause)
    {
        TaskCompletionSource? waiting;
        bool free;
        lock (_gate)
        {
            _failure ??= cause;
            free = !_pumping;
            waiting = _caughtUp;
            _caughtUp = null;
            ReleaseTaken();
            if (!_writing)
            {
                ReturnBuffer();
            }
        }

        waiting?.TrySetException(cause);
        return free;
    }

    public override void SetPayloadLength(int payloadLength)
    {
        ThrowIfTooLarge(payloadLength);
        _announcedBytes = payloadLength;
        Reserve(payloadLength);
    }

    public override IBufferWriter<byte> GetBufferWriter() => this;

    public override void Complete() => _framed = true;

    public override void Complete(byte[] payload)
    {
        SetPayloadLength(payload.Length);
        payload.CopyTo(GetSpan(payload.Length));
        Advance(payload.Length);
        _framed = true;
    }

    public void Advance(int count)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, _buffer.Length - _length);
        _length += count;
    }

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _buffer.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _buffer.AsSpan(_length);
    }

    private Exception? BeginWrite()
    {
        lock (_gate)
        {
            if (_failure is not null)
            {
                return _failure;
            }

            if (_closed)
            {
                return new InvalidOperationException("Can't write the message because the call is complete.");
            }

            if (_writing || _caughtUp is not null)
            {
                return new InvalidOperationException("Can't write the message because the previous write is in progress.");
            }

            _writing = true;
            return null;
        }
    }

    private Task EndWrite(bool flush)
    {
        Task task;
        bool pump;
        lock (_gate)
        {
            _writing = false;
            if (_failure is not null)
            {
                ReturnBuffer();
                return Task.FromException(_failure);
            }

            pump = !_pumping && _output is not null && _length > 0 && (flush || _length >= UnsentBytesMax);
            _pumping |= pump;
            task = _length >= UnsentBytesMax ? CaughtUp() : Task.CompletedTask;
        }

        if (pump)
        {
            StartPump();
        }

        return task;
    }

    private void StartPump()
    {
        // It ends by itself and never throws; where its end matters it is awaited through CaughtUp or DetachAsync.
        var pump = PumpAsync();
        lock (_gate)
        {
            _pump = pump;
        }
    }

    private async Task PumpAsync()
    {
        try
        {
            while (TakeBuffer(out var output, out var buffer, out var length))
            {
                try
                {
                    // Kestrel reports an aborted stream by IsCompleted, not by an exception; the call's own token tells the handler.
                    await output.WriteAsync(buffer.AsMemory(0, length)).ConfigureAwait(false);
                }
                finally
                {
                    GiveBack(buffer);
                }
            }
        }
        catch (Exception exception)
        {
            bool isFinal;
            lock (_gate)
            {
                _pumping = false;

                // While all can be sent again, another transport may follow; if none does, the call ends by the failure of this one.
                isFinal = _taken is null;
                _output = null;
            }

            if (isFinal)
            {
                Abort(exception);
            }
        }
    }

    private bool TakeBuffer([NotNullWhen(true)] out PipeWriter? output, out byte[] buffer, out int length)
    {
        TaskCompletionSource? waiting;
        lock (_gate)
        {
            output = _output;

            // A writer in the middle of a message starts the pump again when it is done.
            if (_length > 0 && !_writing && _failure is null && output is not null)
            {
                (buffer, length) = (_buffer, _length);
                (_buffer, _length) = ([], 0);
                _inFlight = buffer;
                Keep(buffer, length);
                return true;
            }

            (buffer, length) = ([], 0);
            _pumping = false;
            if (output is null && _failure is null)
            {
                // Detached: whoever waits for the transport waits for the next one.
                return false;
            }

            waiting = _caughtUp;
            _caughtUp = null;
        }

        waiting?.TrySetResult();
        return false;
    }

    private Task CaughtUp() =>
        (_caughtUp ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task;

    private void Frame<T>(Marshaller<T> marshaller, T message, WriteFlags flags)
    {
        _frameStart = _length;
        _announcedBytes = -1;
        _framed = false;
        _compress = Gzip is not null && (flags & WriteFlags.NoCompress) == 0;

        // The header is filled in afterwards, in place; the payload is written where it stays.
        Reserve(GrpcProtocol.HeaderBytes);
        _length += GrpcProtocol.HeaderBytes;
        marshaller.ContextualSerializer(message, this);
        var payloadBytes = _length - _frameStart - GrpcProtocol.HeaderBytes;
        if (!_framed || (_announcedBytes >= 0 && _announcedBytes != payloadBytes))
        {
            throw new InvalidOperationException("The serializer did not complete the message, or wrote another length than it announced.");
        }

        ThrowIfTooLarge(payloadBytes);
        if (_compress && payloadBytes >= CompressBytesMin)
        {
            payloadBytes = CompressInPlace(payloadBytes);
        }
        else
        {
            _buffer[_frameStart] = 0;
        }

        BinaryPrimitives.WriteInt32BigEndian(_buffer.AsSpan(_frameStart + 1), payloadBytes);
    }

    private int CompressInPlace(int payloadBytes)
    {
        var start = _frameStart + GrpcProtocol.HeaderBytes;
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, Gzip!.Value, leaveOpen: true))
        {
            gzip.Write(_buffer, start, payloadBytes);
        }

        var compressedBytes = (int)compressed.Length;
        _length = start;
        Reserve(compressedBytes);
        compressed.GetBuffer().AsSpan(0, compressedBytes).CopyTo(_buffer.AsSpan(start));
        _length += compressedBytes;
        _buffer[_frameStart] = 1;
        return compressedBytes;
    }

    private void ThrowIfTooLarge(int payloadBytes)
    {
        if (payloadBytes > (sendBytesMax ?? int.MaxValue - GrpcProtocol.HeaderBytes))
        {
            throw new RpcException(new Status(StatusCode.ResourceExhausted, "Sending message exceeds the maximum configured message size."));
        }
    }

    private void Reserve(int bytes)
    {
        var needed = checked(_length + bytes);
        if (needed <= _buffer.Length)
        {
            return;
        }

        var doubled = (int)Math.Min(_buffer.Length * 2L, Array.MaxLength);
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(needed, Math.Max(doubled, BufferBytesMin)));
        _buffer.AsSpan(0, _length).CopyTo(larger);
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
        }

        _buffer = larger;
    }

    /// <summary>Keeps what the transport takes, until it is too much; guarded by the gate.</summary>
    private bool Keep(byte[] buffer, int length)
    {
        if (_taken is null)
        {
            return false;
        }

        if (_takenBytes + length > UnsentBytesMax)
        {
            ReleaseTaken();
            return false;
        }

        _taken.Add((buffer, length));
        _takenBytes += length;
        return true;
    }

    private void GiveBack(byte[] buffer)
    {
        lock (_gate)
        {
            _inFlight = null;
            if (_taken is not null)
            {
                return;
            }
        }

        ArrayPool<byte>.Shared.Return(buffer);
    }

    /// <summary>Guarded by the gate. The buffer that is in flight is given back by the pump.</summary>
    private void ReleaseTaken()
    {
        foreach (var (buffer, _) in _taken ?? [])
        {
            if (buffer != _inFlight)
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }

        _taken = null;
    }

    private void ReturnBuffer()
    {
        if (_buffer.Length > 0)
        {
            ArrayPool<byte>.Shared.Return(_buffer);
            _buffer = [];
        }

        _length = 0;
    }
}
