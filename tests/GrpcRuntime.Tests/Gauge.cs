using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Counts what runs at a time.</summary>
internal sealed class Gauge
{
    private readonly Lock _gate = new();
    private TaskCompletionSource? _empty;
    private int _count;

    public int Highest { get; private set; }

    public IDisposable Enter()
    {
        lock (_gate)
        {
            Highest = Math.Max(Highest, ++_count);
        }

        return new Leaving(this);
    }

    /// <summary>Completes when nothing runs any more.</summary>
    public Task EmptyAsync()
    {
        lock (_gate)
        {
            return _count == 0
                ? Task.CompletedTask
                : (_empty ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).Task.Within();
        }
    }

    private void Leave()
    {
        lock (_gate)
        {
            if (--_count == 0)
            {
                _empty?.TrySetResult();
            }
        }
    }

    private sealed class Leaving(Gauge gauge) : IDisposable
    {
        public void Dispose() => gauge.Leave();
    }
}
