using System.Buffers.Binary;
using System.Net.Sockets;
using System.Threading.Channels;

namespace Hub.TestKit.Faults;

/// <summary>What a path does to the bytes that travel on it.</summary>
public enum PathFault
{
    /// <summary>Everything passes.</summary>
    None,

    /// <summary>A black hole: nothing passes, not even the end of the connection, and nobody is told.</summary>
    Drop,

    /// <summary>
    /// What the application says is held back while the transport looks alive: SETTINGS, WINDOW_UPDATE and PING pass, and PINGs to the
    /// silent side are answered in its place, also when it is dead.
    /// </summary>
    StallData,

    /// <summary>The next DATA frame is cut in the middle and both connections are reset.</summary>
    ResetMidFrame,
}

/// <summary>
/// One direction of a proxied connection. It knows HTTP/2 frame boundaries (RFC 9113 §4.1) and hands on whole frames: one loop reads, one
/// writes, with a bounded channel between. Faults may be switched at any time and hold for what has not passed yet.
/// </summary>
public sealed class FaultyPath : IDisposable
{
    private const int PrefaceLength = 24;
    private const int HeaderLength = 9;
    private const byte AckFlag = 1;

    /// <summary>Largest frame either side may send, for neither raises SETTINGS_MAX_FRAME_SIZE above it.</summary>
    private const int PayloadMax = 1024 * 1024;

    /// <summary>Frames on the way or held back. HTTP/2's own windows stop a sender before that; a full channel stops the reader.</summary>
    private const int FramesMax = 4_096;

    /// <summary>A slow path hands on so many slices per second.</summary>
    private const int SlicesPerSecond = 20;

    /// <summary>A PING of the proxy's own; its opaque data tells the answer from others.</summary>
    private static readonly byte[] OwnPing = [0, 0, 8, (byte)Http2Frame.Ping, 0, 0, 0, 0, 0, .. "by proxy"u8];

    private readonly TimeProvider _time;
    private readonly NetworkStream _source;
    private readonly NetworkStream _destination;
    private readonly bool _hasPreface;
    private readonly Channel<(long DueAt, byte[] Bytes)> _onTheWay = Channel.CreateBounded<(long, byte[])>(FramesMax);
    private readonly SemaphoreSlim _writing = new(1);
    private readonly Lock _gate = new();
    private TaskCompletionSource _switched = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private PathFault _fault;
    private volatile TaskCompletionSource _ownAnswered = new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal FaultyPath(NetworkStream source, NetworkStream destination, bool hasPreface, TimeProvider time) =>
        (_source, _destination, _hasPreface, _time) = (source, destination, hasPreface, time);

    public PathFault Fault
    {
        get
        {
            lock (_gate)
            {
                return _fault;
            }
        }

        set
        {
            TaskCompletionSource switched;
            lock (_gate)
            {
                _fault = value;
                switched = _switched;
                _switched = new(TaskCreationOptions.RunContinuationsAsynchronously);
            }

            switched.SetResult();
        }
    }

    /// <summary>Zero for as fast as it goes.</summary>
    public int BytesPerSecond { get; set; }

    public TimeSpan Latency { get; set; }

    /// <summary>The opposite direction of the same connection.</summary>
    internal FaultyPath Opposite { get; set; } = null!;

    /// <summary>PINGs answered in place of the side this path comes from.</summary>
    public int PingsAnswered { get; private set; }

    /// <summary>Sends a PING in the name of the side this path comes from; returns once the other side has answered it.</summary>
    public async Task PingAsync()
    {
        var answered = _ownAnswered = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await PassAsync(OwnPing, CancellationToken.None).Within();
        await answered.Task.Within();
    }

    public void Dispose() => _writing.Dispose();

    /// <summary>Takes what the source sends until it ends.</summary>
    internal async Task ReadAsync(CancellationToken stopping)
    {
        try
        {
            if (_hasPreface)
            {
                await PutAsync(await ReadExactlyAsync(PrefaceLength, stopping), stopping);
            }

            while (true)
            {
                var frame = await ReadFrameAsync(stopping);
                var kind = (Http2Frame)frame[3];
                var isAnswer = (frame[4] & AckFlag) != 0;
                if (kind == Http2Frame.Ping && isAnswer && frame.AsSpan(HeaderLength).SequenceEqual(OwnPing.AsSpan(HeaderLength)))
                {
                    Opposite._ownAnswered.TrySetResult();
                }
                else if (kind == Http2Frame.Ping && !isAnswer && Opposite.Fault == PathFault.StallData)
                {
                    await Opposite.AnswerAsync(frame, stopping);
                }
                else if (kind is Http2Frame.Ping or Http2Frame.Settings or Http2Frame.WindowUpdate && Fault == PathFault.StallData)
                {
                    await TryPassAsync(frame, stopping);
                }
                else
                {
                    await PutAsync(frame, stopping);
                }
            }
        }
        catch (Exception e) when (IsEnd(e))
        {
            _onTheWay.Writer.TryComplete(e is SocketException or { InnerException: SocketException } ? e : null);
        }
    }

    /// <summary>Hands on until there is nothing more to come, or nobody to hand it to.</summary>
    /// <returns>True if the connection was, or is to be, reset.</returns>
    internal async Task<bool> WriteAsync(CancellationToken stopping)
    {
        try
        {
            await foreach (var (dueAt, frame) in _onTheWay.Reader.ReadAllAsync(stopping))
            {
                if (_time.GetElapsedTime(_time.GetTimestamp(), dueAt) is var early && early > TimeSpan.Zero)
                {
                    await Task.Delay(early, _time, stopping);
                }

                var fault = await UntilItPassesAsync(stopping);
                var isData = frame.Length > HeaderLength && (Http2Frame)frame[3] == Http2Frame.Data;
                if (fault == PathFault.ResetMidFrame && isData)
                {
                    await PassAsync(frame.AsMemory(0, HeaderLength + ((frame.Length - HeaderLength) / 2)), stopping);
                    return true;
                }

                if (!await TryPassAsync(frame, stopping))
                {
                    await Opposite.UntilItPassesAsync(stopping); // That a side is gone is news from the other direction.
                    return true;
                }
            }

            await UntilItPassesAsync(stopping);
            return false;
        }
        catch (Exception e) when (IsEnd(e))
        {
            await ((Task)UntilItPassesAsync(stopping)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            return true;
        }
    }

    private async Task<bool> TryPassAsync(ReadOnlyMemory<byte> frame, CancellationToken stopping)
    {
        try
        {
            await PassAsync(frame, stopping);
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    private ValueTask PutAsync(byte[] frame, CancellationToken stopping) =>
        _onTheWay.Writer.WriteAsync((_time.GetTimestamp() + (long)(Latency.TotalSeconds * _time.TimestampFrequency), frame), stopping);

    /// <summary>The answer that the silent side of this path would give.</summary>
    private async Task AnswerAsync(byte[] ping, CancellationToken stopping)
    {
        ping[4] |= AckFlag;
        await PassAsync(ping, stopping);
        PingsAnswered++;
    }

    private async Task PassAsync(ReadOnlyMemory<byte> frame, CancellationToken stopping)
    {
        await _writing.WaitAsync(stopping);
        try
        {
            while (!frame.IsEmpty)
            {
                var rate = BytesPerSecond;
                var slice = rate == 0 ? frame.Length : Math.Min(frame.Length, Math.Max(1, rate / SlicesPerSecond));
                await _destination.WriteAsync(frame[..slice], stopping);
                frame = frame[slice..];
                if (rate != 0)
                {
                    await Task.Delay(TimeSpan.FromSeconds((double)slice / rate), _time, stopping);
                }
            }
        }
        finally
        {
            _writing.Release();
        }
    }

    /// <summary>Waits while the path holds back; returns what it does to what passes.</summary>
    private async Task<PathFault> UntilItPassesAsync(CancellationToken stopping)
    {
        while (true)
        {
            Task switched;
            lock (_gate)
            {
                if (_fault is PathFault.None or PathFault.ResetMidFrame)
                {
                    return _fault;
                }

                switched = _switched.Task;
            }

            await switched.WaitAsync(stopping);
        }
    }

    private async Task<byte[]> ReadFrameAsync(CancellationToken stopping)
    {
        var header = await ReadExactlyAsync(HeaderLength, stopping);
        var length = BinaryPrimitives.ReadInt32BigEndian(header) >>> 8;
        if (length > PayloadMax)
        {
            throw new IOException($"A frame of {length} bytes is no HTTP/2.");
        }

        var frame = new byte[HeaderLength + length];
        header.CopyTo(frame, 0);
        await _source.ReadExactlyAsync(frame.AsMemory(HeaderLength), stopping);
        return frame;
    }

    private async Task<byte[]> ReadExactlyAsync(int count, CancellationToken stopping)
    {
        var bytes = new byte[count];
        await _source.ReadExactlyAsync(bytes, stopping);
        return bytes;
    }

    private static bool IsEnd(Exception e) =>
        e is IOException or SocketException or OperationCanceledException or ObjectDisposedException or ChannelClosedException;

    /// <summary>Frame types (RFC 9113 §6) that the proxy tells apart.</summary>
    private enum Http2Frame : byte
    {
        Data = 0,
        Settings = 4,
        Ping = 6,
        WindowUpdate = 8,
    }
}
