namespace Hub.Hosting;

/// <summary>
/// An auto-reset event for one waiter: any number of <see cref="Set"/> before a wait complete one wait. Unlike a semaphore it owns nothing to
/// dispose, so ten thousand idle links need not either.
/// </summary>
internal sealed class WakeSignal
{
    private readonly Lock _gate = new();
    private bool _set;
    private TaskCompletionSource? _waiter;

    public void Set()
    {
        TaskCompletionSource? waiter;
        lock (_gate)
        {
            if (_waiter is null)
            {
                _set = true;
                return;
            }

            (waiter, _waiter) = (_waiter, null);
        }

        waiter.TrySetResult();
    }

    /// <summary>Completes once the signal is set, and resets it. One wait at a time.</summary>
    public async Task WaitAsync(CancellationToken cancellation)
    {
        TaskCompletionSource waiter;
        lock (_gate)
        {
            if (_set)
            {
                _set = false;
                return;
            }

            _waiter = waiter = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }

        using var cancelled = cancellation.Register(static state => ((TaskCompletionSource)state!).TrySetCanceled(), waiter);
        await waiter.Task;
    }
}
