using System.Buffers;
using System.Threading.Channels;
using Google.Protobuf;
using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>
/// The only writer of a streamed response. Messages are serialised into a buffer by the method and leave by one loop, which sends
/// all that has gathered with one flush: batches come from load, not from a timer. A full buffer makes the method wait.
/// </summary>
internal sealed class ResponsePump : IAsyncDisposable
{
    /// <summary>While nothing is sent, a sign of life leaves this often, well below what proxies call idle.</summary>
    public static readonly TimeSpan HeartbeatInterval = TimeSpan.FromSeconds(15);

    /// <summary>A stream that has not failed after this time sends its head, so that the client knows it is open.</summary>
    public static readonly TimeSpan HeadDelay = TimeSpan.FromSeconds(1);

    /// <summary>Bytes that may wait before the method has to; one message may go beyond.</summary>
    public const int PendingBytesMax = 64 * 1024;

    private readonly HttpContext _http;
    private readonly StreamFormat _format;
    private readonly Lock _gate = new();
    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private readonly ITimer _idle;
    private readonly Task _running;

    private PooledBuffer _pending = new(); // Guarded by _gate; swapped with _sending by the loop.
    private PooledBuffer _sending = new(); // The loop's own.
    private TaskCompletionSource? _room; // Guarded by _gate; waits for the buffer to be taken.
    private bool _isIdle; // Guarded by _gate; the timer asked for a sign of life.
    private bool _isEnding; // Guarded by _gate.
    private bool _isStopped; // Guarded by _gate; nobody takes what is written from now on.

    public ResponsePump(HttpContext http, StreamFormat format, TimeProvider time)
    {
        _http = http;
        _format = format;
        _idle = time.CreateTimer(static pump => ((ResponsePump)pump!).OnIdle(), this, HeadDelay, HeartbeatInterval);
        _running = RunAsync();
    }

    public Task WriteAsync(IMessage message)
    {
        lock (_gate)
        {
            ThrowIfStopped();
            var start = _pending.Length;
            try
            {
                _format.WriteMessage(message, _pending);
            }
            catch
            {
                _pending.Truncate(start); // Half a message would spoil the error that follows it.
                throw;
            }

            return RoomAsync();
        }
    }

    /// <summary>As <see cref="WriteAsync(IMessage)"/>, for messages that are in the format already.</summary>
    public Task WriteAsync(ReadOnlySpan<byte> messages)
    {
        lock (_gate)
        {
            ThrowIfStopped();
            _pending.Write(messages);
            return RoomAsync();
        }
    }

    /// <summary>Has the loop send the response's head without waiting for a message.</summary>
    public void Start() => OnIdle();

    /// <summary>Sends what is left and ends the loop.</summary>
    /// <returns>True if the head has left, so that the client can only be told within the stream.</returns>
    public async Task<bool> CompleteAsync()
    {
        End();
        await _running;
        return _http.Response.HasStarted;
    }

    /// <summary>Writes an error as the last word of a completed stream.</summary>
    public async Task WriteErrorAsync(RestError error)
    {
        // The loop has ended, so its buffer and the response are free.
        _format.WriteError(error, _sending);
        await _http.Response.BodyWriter.WriteAsync(_sending.Memory, _http.RequestAborted);
    }

    public async ValueTask DisposeAsync()
    {
        await _idle.DisposeAsync();
        End();
        await _running.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing); // CompleteAsync has reported the fault.
        _pending.Dispose();
        _sending.Dispose();
    }

    private void ThrowIfStopped()
    {
        if (_isStopped)
        {
            throw new OperationCanceledException("The client is gone.");
        }
    }

    /// <summary>Guarded by the gate. Wakes the loop; completes when there is room again.</summary>
    private Task RoomAsync()
    {
        _wake.Writer.TryWrite(true);
        if (_pending.Length < PendingBytesMax)
        {
            return Task.CompletedTask;
        }

        _room ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        return _room.Task;
    }

    private void End()
    {
        lock (_gate)
        {
            _isEnding = true;
            _wake.Writer.TryWrite(true);
        }
    }

    private void OnIdle()
    {
        if (!_format.CanStartEarly)
        {
            return;
        }

        lock (_gate)
        {
            _isIdle = true;
            _wake.Writer.TryWrite(true);
        }
    }

    private async Task RunAsync()
    {
        var body = _http.Response.BodyWriter;
        try
        {
            while (true)
            {
                await _wake.Reader.ReadAsync(_http.RequestAborted);
                bool isEnding, isIdle;
                lock (_gate)
                {
                    (_pending, _sending) = (_sending, _pending);
                    (isEnding, isIdle, _isIdle) = (_isEnding, _isIdle, false);
                }

                var hasData = _sending.Length > 0;
                if (hasData)
                {
                    body.Write(_sending.Span);
                    _sending.Reset();
                    _idle.Change(HeartbeatInterval, HeartbeatInterval);
                }
                else if (isIdle)
                {
                    body.Write(_format.Heartbeat);
                }

                if (hasData || isIdle)
                {
                    await body.FlushAsync(_http.RequestAborted);
                }

                if (isEnding)
                {
                    return;
                }

                ReleaseWriters(isStopped: false);
            }
        }
        finally
        {
            ReleaseWriters(isStopped: true);
        }
    }

    private void ReleaseWriters(bool isStopped)
    {
        TaskCompletionSource? room;
        lock (_gate)
        {
            _isStopped = isStopped;
            room = _room;
            _room = null;
        }

        room?.TrySetResult();
    }
}
