using System.Collections.Concurrent;

namespace Hub.Benchmarks.Swarm;

/// <summary>What the nodes of a swarm count together.</summary>
internal sealed class SwarmTally(SwarmPlan plan)
{
    /// <summary>Faults kept for the report; the first tell most.</summary>
    private const int FaultsMax = 20;

    private readonly ConcurrentDictionary<string, long> _ends = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, TaskCompletionSource> _outcomes = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _faults = new();
    private readonly ConcurrentQueue<Dispersal> _dispersals = new();
    private long _live;
    private long _dials;
    private long _welcomes;
    private long _deltasSent;
    private long _deltasAcked;
    private long _held;
    private long _chatsAcked;
    private long _commandsCreated;
    private long _commandsRefused;
    private long _commandsDone;
    private double _deafEndedAfter;

    /// <summary>Sent and not acknowledged.</summary>
    public long DeltasOnTheWay => Volatile.Read(ref _deltasSent) - Volatile.Read(ref _deltasAcked);

    public LatencyHistogram Deltas { get; } = new();

    public LatencyHistogram Chats { get; } = new();

    public LatencyHistogram Offers { get; } = new();

    public LatencyHistogram Results { get; } = new();

    public void Dialled() => Interlocked.Increment(ref _dials);

    public void Welcomed()
    {
        Interlocked.Increment(ref _welcomes);
        Interlocked.Increment(ref _live);
    }

    public void Left() => Interlocked.Decrement(ref _live);

    public void Ended(string reason) => _ends.AddOrUpdate(reason, 1, (_, count) => count + 1);

    public void DeltasSent(int count) => Interlocked.Add(ref _deltasSent, count);

    public void DeltasAcked(int count) => Interlocked.Add(ref _deltasAcked, count);

    public void Held(int count) => Interlocked.Add(ref _held, count);

    public void ChatsAcked(int count) => Interlocked.Add(ref _chatsAcked, count);

    public void CommandCreated(bool accepted) => Interlocked.Increment(ref accepted ? ref _commandsCreated : ref _commandsRefused);

    public void CommandDone(string commandId)
    {
        Interlocked.Increment(ref _commandsDone);
        if (plan.ReadsResults)
        {
            OutcomeOf(commandId).TrySetResult();
        }
    }

    /// <summary>Returns once the outcome of a command is acknowledged to its node. Asked for once for each command.</summary>
    public async Task UntilDoneAsync(string commandId, CancellationToken cancellation)
    {
        await OutcomeOf(commandId).Task.WaitAsync(cancellation);
        _outcomes.TryRemove(commandId, out _);
    }

    public void Dispersed(Dispersal dispersal) => _dispersals.Enqueue(dispersal);

    public void DeafEnded(TimeSpan after) => Volatile.Write(ref _deafEndedAfter, after.TotalMilliseconds);

    public void Fault(string what)
    {
        if (_faults.Count < FaultsMax)
        {
            _faults.Enqueue(what);
        }
    }

    public SwarmReport Report(int links) => new()
    {
        At = SwarmPlan.Now,
        Links = links,
        Live = (int)Volatile.Read(ref _live),
        Dials = Volatile.Read(ref _dials),
        Welcomes = Volatile.Read(ref _welcomes),
        DeltasSent = Volatile.Read(ref _deltasSent),
        DeltasAcked = Volatile.Read(ref _deltasAcked),
        Held = Volatile.Read(ref _held),
        ChatsAcked = Volatile.Read(ref _chatsAcked),
        CommandsCreated = Volatile.Read(ref _commandsCreated),
        CommandsRefused = Volatile.Read(ref _commandsRefused),
        CommandsDone = Volatile.Read(ref _commandsDone),
        Ends = _ends.ToDictionary(),
        Faults = [.. _faults],
        DeltaLatency = Deltas.TakeCounts(),
        ChatLatency = Chats.TakeCounts(),
        OfferLatency = Offers.TakeCounts(),
        ResultLatency = Results.TakeCounts(),
        Dispersals = [.. TakeDispersals()],
        DeafEndedAfter = Volatile.Read(ref _deafEndedAfter),
    };

    // Whoever comes first, the node or who created the command, makes it.
    private TaskCompletionSource OutcomeOf(string commandId) =>
        _outcomes.GetOrAdd(commandId, _ => new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously));

    private IEnumerable<Dispersal> TakeDispersals()
    {
        while (_dispersals.TryDequeue(out var dispersal))
        {
            yield return dispersal;
        }
    }
}
