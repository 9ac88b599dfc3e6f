using Google.Protobuf;
using Hub.Benchmarks.Swarm;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.Benchmarks.Bench;

/// <summary>Bytes the Hub allocates for what comes most often. It runs in this process here, since nobody else can tell.</summary>
internal static class AllocationFigures
{
    private const int Links = 500;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(5);

    public static IEnumerable<Figure> All =>
    [
        new(
            "allocations",
            "what the messages are parsed into",
            "it is told, there is no bound",
            ["B per delta", "B/heartbeat"],
            _ => true,
            new Contender(Figure.Ours, HubAsync),
            new Contender(Figure.Floor, _ => Task.FromResult(Parsed()))),
    ];

    private static async Task<double[]> HubAsync(double seconds)
    {
        await using var fixture = new SqliteStoreFixture();
        await using var hub = await HubHost.StartAsync(
            fixture, await fixture.CreateDatabaseAsync(), settings: [.. SwarmScene.Settings.Select(setting => (setting.Key, setting.Value))]);
        var plan = new SwarmPlan { Hubs = [hub.GrpcUrl], Rest = hub.HttpUrl, ApiKey = await hub.ApiKeyAsync("Admin"), Links = Links };
        return
        [
            await AllocatedAsync(
                plan with { EntriesPerBatch = DeltaFigures.EntriesPerBatch, BatchesOnTheWay = DeltaFigures.BatchesOnTheWay },
                period => period.Last.DeltasAcked - period.First.DeltasAcked),
            await AllocatedAsync(plan with { Seed = 2, HeartbeatSeconds = 1 }, period => Links * period.Seconds),
        ];

        async Task<double> AllocatedAsync(SwarmPlan plan, Func<SwarmPeriod, double> count)
        {
            await using var swarm = await SwarmProcess.StartAsync(plan);
            await swarm.UntilAllLiveAsync(Links, SwarmScene.Patience);
            await swarm.WatchAsync(WarmUp);
            var before = GC.GetTotalAllocatedBytes(precise: true);
            var period = await swarm.WatchAsync(TimeSpan.FromSeconds(seconds));
            return (GC.GetTotalAllocatedBytes(precise: true) - before) / count(period);
        }
    }

    private static double[] Parsed()
    {
        var text = new string('x', SwarmPlan.TextBytesUnset);
        var entries = Enumerable.Range(1, DeltaFigures.EntriesPerBatch).Select(version => SwarmNode.TaskEntry(version, text));
        return
        [
            AllocatedBy(new ConnectRequest { Batch = new Batch { Lane = Lane.Data, Entries = { entries } } }) / DeltaFigures.EntriesPerBatch,
            AllocatedBy(new ConnectRequest { Heartbeat = new NodeHeartbeat { ChatDownSeq = 1 } }),
        ];
    }

    private static double AllocatedBy(ConnectRequest message)
    {
        var bytes = message.ToByteArray();
        _ = ConnectRequest.Parser.ParseFrom(bytes); // What is made once does not count.
        var before = GC.GetAllocatedBytesForCurrentThread();
        _ = ConnectRequest.Parser.ParseFrom(bytes);
        return GC.GetAllocatedBytesForCurrentThread() - before;
    }
}
