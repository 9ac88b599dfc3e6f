namespace Grpc.AspNetCore.Server;

/// <summary>The deadline of one call. Only calls that have one pay for a timer and a token source.</summary>
internal sealed class CallDeadline : IDisposable
{
    private readonly TaskCompletionSource _reached = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _cancellation;
    private readonly ITimer _timer;

    public CallDeadline(TimeProvider time, TimeSpan timeout, TimeSpan watched, CancellationToken aborted)
    {
        Timeout = timeout;
        At = Until(time, timeout);
        _cancellation = CancellationTokenSource.CreateLinkedTokenSource(aborted);
        _timer = time.CreateTimer(
            static state => ((TaskCompletionSource)state!).TrySetResult(), _reached, watched, System.Threading.Timeout.InfiniteTimeSpan);
    }

    public TimeSpan Timeout { get; }

    public DateTime At { get; }

    /// <summary>Completes when the deadline has passed.</summary>
    public Task Reached => _reached.Task;

    /// <summary>Fires when the client is gone, or by <see cref="Cancel"/>.</summary>
    public CancellationToken Token => _cancellation.Token;

    public void Cancel() => _cancellation.Cancel();

    public void Dispose()
    {
        _timer.Dispose();
        _cancellation.Dispose();
    }

    private static DateTime Until(TimeProvider time, TimeSpan timeout)
    {
        var now = time.GetUtcNow().UtcDateTime;
        return timeout < DateTime.MaxValue - now ? now + timeout : DateTime.MaxValue;
    }
}
