using System.Threading.Tasks.Sources;

namespace Hub.Hosting;

/// <summary>
/// An auto-reset event for one waiter: any number of <see cref="Set"/> before a wait complete one wait. Unlike a semaphore it owns nothing to
/// dispose, and a wait is no object of its own: ten thousand idle links wait twice each.
/// </summary>
internal sealed class WakeSignal : IValueTaskSource
{
    private readonly Lock _gate = new();
    private ManualResetValueTaskSourceCore<bool> _wait = new() { RunContinuationsAsynchronously = true };
    private CancellationTokenRegistration _cancelled;
    private bool _isSet;
    private bool _isWaitedFor;

    public void Set()
    {
        if (TryEnd(isSet: true))
        {
            _wait.SetResult(true);
        }
    }

    /// <summary>Completes once the signal is set, and resets it. One wait at a time, which is awaited once.</summary>
    public ValueTask WaitAsync(CancellationToken cancellation)
    {
        lock (_gate)
        {
            if (_isSet)
            {
                _isSet = false;
                return default;
            }

            _wait.Reset();
            _isWaitedFor = true;
        }

        _cancelled = cancellation.UnsafeRegister(static (signal, token) => ((WakeSignal)signal!).Cancel(token), this);
        return new ValueTask(this, _wait.Version);
    }

    void IValueTaskSource.GetResult(short token)
    {
        _cancelled.Dispose(); // Returns once no cancellation can be on its way to the next wait.
        _wait.GetResult(token);
    }

    ValueTaskSourceStatus IValueTaskSource.GetStatus(short token) => _wait.GetStatus(token);

    void IValueTaskSource.OnCompleted(Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _wait.OnCompleted(continuation, state, token, flags);

    private void Cancel(CancellationToken token)
    {
        if (TryEnd(isSet: false))
        {
            _wait.SetException(new OperationCanceledException(token));
        }
    }

    /// <returns>Whether a wait was there, which the caller completes.</returns>
    private bool TryEnd(bool isSet)
    {
        lock (_gate)
        {
            _isSet |= isSet && !_isWaitedFor;
            var waited = _isWaitedFor;
            _isWaitedFor = false;
            return waited;
        }
    }
}
