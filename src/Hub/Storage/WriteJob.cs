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

    /// <summary>It was started and did not run: it waits again.</summary>
    public void Return() => Interlocked.Exchange(ref _state, Waiting);

    public void TryCancel(CancellationToken ct)
    {
        if (Interlocked.CompareExchange(ref _state, Cancelled, Waiting) == Waiting)
        {
            OnCancelled(ct);
        }
    }

    /// <summary>What runs the inputs of many jobs at once; null for a job that runs alone.</summary>
    public virtual object? SharedWork => null;

    /// <summary>Events it may append, as far as that is known; they bound what runs at once.</summary>
    public virtual int Weight => 1;

    /// <param name="together">Itself, or with a <see cref="SharedWork"/> also others that share it, in their order: it runs them all.</param>
    public abstract void Run(StoreTransaction transaction, IReadOnlyList<WriteJob> together);

    /// <summary>Tells the caller the last run's result or failure.</summary>
    public abstract void Deliver();

    public abstract void Fail(Exception failure);

    protected abstract void OnCancelled(CancellationToken ct);
}

/// <summary>A job whose caller waits for a result.</summary>
internal abstract class WriteJob<T>(string teamId, Fence? fence, bool isBulk) : WriteJob(teamId, fence, isBulk)
{
    private readonly TaskCompletionSource<T> _told = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private T? _result;

    public Task<T> Told => _told.Task;

    protected void Yield(T result) => _result = result;

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

internal sealed class LoneJob<T>(string teamId, Fence? fence, Func<StoreTransaction, T> body, bool isBulk = false) : WriteJob<T>(teamId, fence, isBulk)
{
    public override void Run(StoreTransaction transaction, IReadOnlyList<WriteJob> together) => Yield(body(transaction));
}

/// <summary>
/// Work that takes the inputs of many callers at once, and costs the database less than each alone. Its inputs keep their order among
/// themselves, not among those of other shared work that waits at the same time.
/// </summary>
internal interface ISharedWork<TInput, T>
{
    /// <summary>Events that the input may make, at most; see <see cref="StoreTransaction.EventsPerJobMax"/>.</summary>
    public int Weight(TInput input);

    /// <returns>A result for each input; what an input does, it does after those before it.</returns>
    public IReadOnlyList<T> Run(StoreTransaction transaction, IReadOnlyList<TInput> inputs);
}

internal sealed class SharedJob<TInput, T>(string teamId, Fence? fence, ISharedWork<TInput, T> work, TInput input, bool isBulk)
    : WriteJob<T>(teamId, fence, isBulk)
{
    public override object SharedWork => work;

    public override int Weight { get; } = work.Weight(input);

    public override void Run(StoreTransaction transaction, IReadOnlyList<WriteJob> together)
    {
        var jobs = together.Cast<SharedJob<TInput, T>>().ToArray();
        var results = work.Run(transaction, Array.ConvertAll(jobs, job => job.Input));
        for (var i = 0; i < jobs.Length; i++)
        {
            jobs[i].Yield(results[i]);
        }
    }

    private TInput Input => input;
}
