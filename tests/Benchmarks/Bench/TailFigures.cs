using System.Text.Json;
using Hub.Benchmarks.Runtime;
using Hub.Benchmarks.Swarm;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Bench;

/// <summary>How many changes reach watchers in a second, and how late when it is half as many.</summary>
internal static class TailFigures
{
    private const int Nodes = 20;
    private const int EntriesPerBatch = 8;
    private const double FirstRate = 100;
    private const double RateStep = 1.25;
    private const int StepsMax = 25;

    /// <summary>A step holds while nearly all that changed has reached every watcher.</summary>
    private const double HoldingShare = 0.95;
    private const double Share = 0.5;
    private const double P99Max = 50_000;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(3);

    /// <summary>Who is shown changes this soon has none waiting.</summary>
    private static readonly TimeSpan Caught = TimeSpan.FromMilliseconds(P99Max / 1_000);

    public static IEnumerable<Figure> All =>
    [
        new(
            "tail",
            "as many bytes written to as many streams by Kestrel alone",
            FormattableString.Invariant($"{WatchersPlan.Sse} SSE and {WatchersPlan.Grpc} gRPC watchers: {Share}x the floor, p99 at most {P99Max / 1_000} ms at half of it"),
            ["events/s", "p99 µs at half"],
            medians => medians[Figure.Ours][0] >= Share * medians[Figure.Floor][0] && medians[Figure.Ours][1] <= P99Max,
            new Contender(Figure.Ours, HubAsync),
            new Contender(Figure.Floor, KestrelAsync)),
    ];

    private static async Task<double[]> HubAsync(double seconds)
    {
        await using var scene = await SwarmScene.StartAsync("sqlite");
        var plan = await scene.PlanAsync();
        await using var swarm = await SwarmProcess.StartAsync(plan with { Links = Nodes, Connections = 1, EntriesPerBatch = EntriesPerBatch });
        await swarm.UntilAllLiveAsync(Nodes, SwarmScene.Patience);
        await using var watchers = await Watchers.StartAsync(new WatchersPlan(plan.Rest, plan.Hubs[0], plan.ApiKey, IsFloor: false));
        var (rate, limit, reached) = (FirstRate, FirstRate, 0.0);
        for (var step = 0; step < StepsMax; step++)
        {
            await swarm.SetRateAsync("deltas", rate);
            await watchers.WatchAsync(WarmUp / 2); // What the change itself costs.
            var (perSecond, _) = await watchers.WatchAsync(TimeSpan.FromSeconds(seconds));
            var each = perSecond / WatchersPlan.Count;
            Console.Error.WriteLine(FormattableString.Invariant($"tail: {rate:N0} changes a second, {each:N0} reached each watcher"));
            if (perSecond < HoldingShare * rate * WatchersPlan.Count)
            {
                break;
            }

            (limit, reached) = (rate, perSecond);
            rate *= RateStep;
        }

        await swarm.SetRateAsync("deltas", limit / 2);
        for (var i = 0; i < StepsMax && (await watchers.WatchAsync(WarmUp)).Latency is var late && (late.Count == 0 || late.Quantile(0.5) > Caught); i++)
        {
            // What the step that did not hold left behind is shown first.
        }

        var (_, latency) = await watchers.WatchAsync(TimeSpan.FromSeconds(seconds));
        return [reached, latency.Quantile(0.99).TotalMicroseconds];
    }

    private static async Task<double[]> KestrelAsync(double seconds)
    {
        await using var server = ChildProgram.Start("Hub.Benchmarks.dll", ["server", RuntimeServers.FanOut]);
        var ports = await server.ReadPortsAsync();
        Uri At(string port) => new($"http://127.0.0.1:{port}");
        await using var watchers = await Watchers.StartAsync(new WatchersPlan(At(ports[0]), At(ports[1]), ApiKey: "", IsFloor: true));
        await watchers.WatchAsync(WarmUp);
        var (perSecond, _) = await watchers.WatchAsync(TimeSpan.FromSeconds(seconds));
        return [perSecond, 0];
    }

    /// <summary>Watchers in a process of their own.</summary>
    private sealed class Watchers(ChildProgram program) : IAsyncDisposable
    {
        public static async Task<Watchers> StartAsync(WatchersPlan plan)
        {
            var program = ChildProgram.Start("Hub.Benchmarks.dll", ["watchers"]);
            await program.TrySayAsync(JsonSerializer.Serialize(plan, SwarmPlan.Json));
            var watchers = new Watchers(program);
            while ((await watchers.NextAsync()).Open < WatchersPlan.Count)
            {
            }

            return watchers;
        }

        /// <returns>Events that reached watchers per second, and how late.</returns>
        public async Task<(double PerSecond, LatencyHistogram Latency)> WatchAsync(TimeSpan duration)
        {
            var now = SwarmPlan.Now;
            var first = await NextAsync();
            while (first.At < now)
            {
                first = await NextAsync();
            }

            var latency = new LatencyHistogram();
            while (true)
            {
                var report = await NextAsync();
                latency.Add(report.Latency);
                if (report.At >= first.At + duration.TotalMilliseconds)
                {
                    return ((report.Events - first.Events) * 1_000 / (report.At - first.At), latency);
                }
            }
        }

        public ValueTask DisposeAsync() => program.DisposeAsync();

        private async Task<WatchersReport> NextAsync()
        {
            var line = await program.ReadUntilAsync("{") ?? throw new InvalidOperationException($"The watchers have ended: {program.Errors}");
            return JsonSerializer.Deserialize<WatchersReport>(line, SwarmPlan.Json)!;
        }
    }
}
