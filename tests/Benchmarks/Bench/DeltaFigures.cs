using Hub.Benchmarks.Swarm;

namespace Hub.Benchmarks.Bench;

/// <summary>Deltas of tasks from 500 nodes, each acknowledged after its commit.</summary>
internal static class DeltaFigures
{
    private const int Links = 500;

    // A node with much to send fills its batches. 32 entries of 100 bytes of text are about a twelfth of what a frame may have.
    public const int EntriesPerBatch = 32;

    /// <summary>Of all nodes together, however many they are: some thirty groups of the Writer.</summary>
    public const int BatchesOnTheWay = 500;

    /// <summary>Of a task's body, about.</summary>
    public const int TaskBytes = 130;

    /// <summary>Until the runtime has compiled the Hub for good.</summary>
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(20);

    public static IEnumerable<Figure> All => [Of("sqlite"), Of("postgres")];

    private static Figure Of(string store) => new(
        $"deltas-{store}",
        $"the same rows written by the same driver, {FloorStore.RowsPerCommit} a transaction",
        "0.5x the floor, 3x a broker",
        Figure.Rate,
        medians => medians[Figure.Ours][0] >= 0.5 * medians[Figure.Floor][0]
            && (!medians.TryGetValue(Broker.Name, out var broker) || medians[Figure.Ours][0] >= 3 * broker[0]),
        [
            new Contender(Figure.Ours, seconds => HubAsync(store, seconds)),
            new Contender(Figure.Floor, seconds => FloorAsync(store, seconds)),
            .. Broker.Contenders(),
        ]);

    private static async Task<double[]> HubAsync(string store, double seconds)
    {
        await using var scene = await SwarmScene.StartAsync(store, forced: true);
        await using var swarm = await SwarmProcess.StartAsync(await scene.PlanAsync() with
        {
            Links = Links,
            EntriesPerBatch = EntriesPerBatch,
            BatchesOnTheWay = BatchesOnTheWay,
        });
        var period = await WatchAsync(swarm, Links, seconds);
        return [period.DeltasPerSecond, period.Deltas.Quantile(0.5).TotalMicroseconds, period.Deltas.Quantile(0.99).TotalMicroseconds];
    }

    /// <summary>What a swarm does after it has warmed up.</summary>
    /// <exception cref="InvalidOperationException">A node saw what none may see.</exception>
    public static async Task<SwarmPeriod> WatchAsync(SwarmProcess swarm, int links, double seconds, TimeSpan? warmUp = null)
    {
        await swarm.UntilAllLiveAsync(links, SwarmScene.Patience);
        await swarm.WatchAsync(warmUp ?? WarmUp);
        var period = await swarm.WatchAsync(TimeSpan.FromSeconds(seconds));
        return period.Last.Faults is [var fault, ..] ? throw new InvalidOperationException(fault) : period;
    }

    private static async Task<double[]> FloorAsync(string store, double seconds)
    {
        await using var floor = await FloorStore.OpenAsync(store, Links);
        floor.Write(WarmUp, FloorStore.RowsPerCommit);
        return floor.Write(TimeSpan.FromSeconds(seconds), FloorStore.RowsPerCommit);
    }
}
