namespace Hub.Storage;

/// <summary>
/// A use case's writes on their way through the Writer. It may run several times (halving), so what a run yields is kept apart from what
/// the caller is told, and the caller is told once.
/// </summary>
internal abstract class WriteJob(string teamId, Fence? fence, bool isBulk)
{
    private const int Waiting = 0;
    private const int Started = 1;
    private const int Cancelled = 2;

    private int _state;

    public TeamScope Scope { get; } = TeamScope.OfJob(teamId);

    public Fence? Fence { get; } = fence;

    /// <summary>It may wait behind what is urgent.</summary>
    public bool IsBulk { get; } = isBulk;

    /// <summary>Why the last run failed; the group went on without it.</summary>
    public Exception? Failure { get; set; }

    /// <summary>What the last run asked to be done after the commit, in that order.</summary>
    public IReadOnlyList<Action> Effects { get; set; } = [];

    /// <summary>False when the caller has given up; from true on the job runs whatever the caller does.</summary>
    public bool TryStart() => Interlocked.CompareExchange(ref _state, Started, Waiting) == Waiting;

    public void TryCancel(CancellationToken ct)
    {
        if (Interlocked.CompareExchange(ref _state, Cancelled, Waiting) == Waiting)
        {
            OnCancelled(ct);
        }
    }

    public abstract void Run(StoreTransaction transaction);

    /// <summary>Tells the caller the last run's result or failure.</summary>
    public abstract void Deliver();

    public abstract void Fail(Exception failure);

    protected abstract void OnCancelled(CancellationToken ct);
}

internal sealed class WriteJob<T>(string teamId, Fence? fence, Func<StoreTransaction, T> body, bool isBulk = false)
    : WriteJob(teamId, fence, isBulk)
{
    private readonly TaskCompletionSource<T> _told = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private T? _result;

    public Task<T> Told => _told.Task;

    public override void Run(StoreTransaction transaction) => _result = body(transaction);

    public override void Deliver()
    {
        if (Failure is { } failure)
        {
            Fail(failure);
        }
        else
        {
            _told.TrySetResult(_result!);
        }
    }

    public override void Fail(Exception failure) => _told.TrySetException(failure);

    protected override void OnCancelled(CancellationToken ct) => _told.TrySetCanceled(ct);
}
