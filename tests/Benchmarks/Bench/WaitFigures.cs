using Hub.Benchmarks.Runtime;
using Hub.Benchmarks.Swarm;

namespace Hub.Benchmarks.Bench;

/// <summary>How long a node waits for an acknowledgement, and a person for the result of a command, beside the commits that are in it.</summary>
internal static class WaitFigures
{
    private const int Links = 500;

    /// <summary>Of what the same nodes get acknowledged when they send all they can.</summary>
    private const double Load = 0.3;

    /// <summary>On the way for that.</summary>
    private const int BatchesPerNode = 4;

    private const double CommandsPerSecond = 200;

    /// <summary>Commits between the request that creates a command and its result: created and offered, accepted, done.</summary>
    private const int CommitsOfCommand = 3;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(4);

    /// <summary>Until the runtime has compiled the Hub for good, which at so few commands a second takes it a minute.</summary>
    private static readonly TimeSpan WarmUpOfCommands = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan LimitOver = TimeSpan.FromSeconds(4);

    public static IEnumerable<Figure> All => [Acknowledgement("sqlite"), Acknowledgement("postgres"), Command("sqlite"), Command("postgres")];

    private static Figure Acknowledgement(string store) => new(
        $"ack-{store}",
        "a durable commit of one row",
        $"at {Load:P0} load p50 at most the floor and 2 ms, p99 at most 3x p50",
        Figure.Wait,
        medians => medians[Figure.Ours][0] <= medians[Figure.Floor][0] + 2_000 && medians[Figure.Ours][1] <= 3 * medians[Figure.Ours][0],
        new Contender(Figure.Ours, seconds => AcknowledgeAsync(store, seconds)),
        new Contender(Figure.Floor, async seconds => (await CommitAsync(store, seconds))[1..]));

    private static Figure Command(string store) => new(
        $"command-{store}",
        $"{CommitsOfCommand} durable commits of one row and a ping-pong",
        $"{CommandsPerSecond} a second, p50 at most 2x the floor",
        Figure.Wait,
        medians => medians[Figure.Ours][0] <= 2 * medians[Figure.Floor][0],
        new Contender(Figure.Ours, seconds => CommandAsync(store, seconds)),
        new Contender(Figure.Floor, async seconds =>
        {
            var commit = await CommitAsync(store, seconds);
            var pingPong = await RuntimeFigures.PingPongAsync(seconds);
            return [(CommitsOfCommand * commit[1]) + pingPong[1], (CommitsOfCommand * commit[2]) + pingPong[2]];
        }));

    private static async Task<double[]> AcknowledgeAsync(string store, double seconds)
    {
        await using var scene = await SwarmScene.StartAsync(store, forced: true);
        var plan = await scene.PlanAsync() with { Links = Links };
        double limit;
        await using (var flood = await SwarmProcess.StartAsync(plan with { BatchesOnTheWay = BatchesPerNode * Links }))
        {
            await flood.UntilAllLiveAsync(Links, SwarmScene.Patience);
            await flood.WatchAsync(WarmUp);
            limit = (await flood.WatchAsync(LimitOver)).DeltasPerSecond;
        }

        await using var swarm = await SwarmProcess.StartAsync(plan with { Seed = 2, DeltasPerSecond = Load * limit, CountsFromDone = true });
        var period = await DeltaFigures.WatchAsync(swarm, Links, seconds);
        return [period.Deltas.Quantile(0.5).TotalMicroseconds, period.Deltas.Quantile(0.99).TotalMicroseconds];
    }

    private static async Task<double[]> CommandAsync(string store, double seconds)
    {
        await using var scene = await SwarmScene.StartAsync(store, forced: true);
        await using var swarm = await SwarmProcess.StartAsync(await scene.PlanAsync() with
        {
            Links = Links,
            CommandsPerSecond = CommandsPerSecond,
            ReadsResults = true,
            CountsFromDone = true,
        });
        var period = await DeltaFigures.WatchAsync(swarm, Links, seconds, WarmUpOfCommands);
        return [period.Results.Quantile(0.5).TotalMicroseconds, period.Results.Quantile(0.99).TotalMicroseconds];
    }

    private static async Task<double[]> CommitAsync(string store, double seconds)
    {
        await using var floor = await FloorStore.OpenAsync(store, Links);
        floor.Write(WarmUp / 2, rowsPerCommit: 1);
        return floor.Write(TimeSpan.FromSeconds(seconds), rowsPerCommit: 1);
    }
}
