namespace Hub.Storage;

/// <param name="Since">When the store was first found not to work; stays while one fault turns into another.</param>
internal sealed record StoreOutage(StoreFault Fault, string Reason, DateTimeOffset Since);

/// <summary>
/// Whether the store works, as the Writers last saw it. An outage is logged here and nowhere else above Debug: when it begins or turns
/// into another, at most once a minute while it lasts, and when it is over.
/// </summary>
internal sealed class StoreCondition(TimeProvider time, ILogger log)
{
    private static readonly TimeSpan RepeatAfter = TimeSpan.FromMinutes(1);

    private readonly Lock _gate = new();

    // Guarded by the gate: what was said last, so that a store that comes and goes does not fill the log.
    private readonly Dictionary<StoreFault, long> _saidAt = [];
    private bool _recoveryIsNews;

    private volatile StoreOutage? _outage;

    /// <summary>Null while the store works.</summary>
    public StoreOutage? Outage => _outage;

    /// <exception cref="StoreUnavailableException">The store is lost for this process; see <see cref="StoreFaults.IsFinal"/>.</exception>
    public void ThrowIfLost()
    {
        if (_outage is { } lost && lost.Fault.IsFinal())
        {
            throw new StoreUnavailableException(lost.Fault, lost.Reason);
        }
    }

    public void Failed(StoreUnavailableException failure)
    {
        lock (_gate)
        {
            if (_outage?.Fault.IsFinal() == true && !failure.IsFinal)
            {
                return;
            }
            var isNews = !_saidAt.TryGetValue(failure.Fault, out var said) || time.GetElapsedTime(said) >= RepeatAfter;
            if (isNews)
            {
                _saidAt[failure.Fault] = time.GetTimestamp();
            }
            if (failure.Fault is StoreFault.Contended)
            {
                if (isNews)
                {
                    StoreLog.Contended(log, failure.Message, failure.InnerException);
                }
                return;
            }
            _outage = new StoreOutage(failure.Fault, failure.Message, _outage?.Since ?? time.GetUtcNow());
            if (isNews)
            {
                _recoveryIsNews = true;
                StoreLog.Unavailable(log, failure.Fault, _outage.Since, failure.Message);
            }
        }
    }

    /// <summary>Something was committed.</summary>
    public void Works()
    {
        if (_outage is null)
        {
            return; // The path of every commit.
        }
        lock (_gate)
        {
            if (_outage is not { } over || over.Fault.IsFinal())
            {
                return;
            }
            _outage = null;
            if (_recoveryIsNews)
            {
                _recoveryIsNews = false;
                StoreLog.AvailableAgain(log, over.Fault, time.GetUtcNow() - over.Since);
            }
        }
    }
}
