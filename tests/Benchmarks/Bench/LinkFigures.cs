using System.Diagnostics;
using System.Globalization;
using Hub.Benchmarks.Runtime;
using Hub.Benchmarks.Swarm;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Bench;

/// <summary>Many links: what one costs that does nothing but live, and how fast all come back. They need twice as many open files (ulimit -n).</summary>
internal static class LinkFigures
{
    private const int Links = 10_000;

    /// <summary>Changes that are sent before memory is read the first time: more than SQLite's page caches hold.</summary>
    private const double FirstDeltasPerSecond = 2_000;
    private const int FirstTextBytes = 4_000;

    private const double HubMoreBytes = 8 * 1024;
    private const double CpuMicrosecondsMax = 10;
    private const double StormShare = 0.4;
    private const double CommandsPerSecond = 20;

    /// <summary>Longer than a heartbeat interval: all have had one.</summary>
    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan BackOffFirst = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan BackOffMax = TimeSpan.FromMilliseconds(500);

    /// <summary>Until nothing is left of links that have ended: their hosts are OFFLINE after 2.5 heartbeat intervals, and written each minute.</summary>
    private static readonly TimeSpan ForgottenWithin = TimeSpan.FromSeconds(130);

    private static readonly TimeSpan CollectWithin = TimeSpan.FromSeconds(5);

    /// <summary>A command that is offered later than this is late.</summary>
    private static readonly TimeSpan LateAfter = TimeSpan.FromMilliseconds(250);

    public static IEnumerable<Figure> All =>
    [
        new(
            "idle-links",
            "HTTP/2 streams on Kestrel with an empty handler, each on a connection of its own",
            FormattableString.Invariant($"{Links} links: at most the floor and {HubMoreBytes / 1024} KB, at most {CpuMicrosecondsMax} µs CPU a second"),
            ["KB per link", "CPU µs/s"],
            medians => medians[Figure.Ours][0] <= medians[Figure.Floor][0] + (HubMoreBytes / 1024) && medians[Figure.Ours][1] <= CpuMicrosecondsMax,
            new Contender(Figure.Ours, IdleAsync),
            new Contender(Figure.Floor, IdleStreamsAsync)),
        new(
            "hello-storm",
            "HTTP/2 connections with one stream each that Kestrel answers",
            FormattableString.Invariant($"{Links} links back after a restart at {StormShare}x the floor, then no command later than {LateAfter.TotalMilliseconds} ms"),
            ["links/s", "offer p99 µs"],
            medians => medians[Figure.Ours][0] >= StormShare * medians[Figure.Floor][0] && medians[Figure.Ours][1] <= LateAfter.TotalMicroseconds,
            new Contender(Figure.Ours, StormAsync),
            new Contender(Figure.Floor, async _ =>
            {
                await using var floor = await Streams.StartAsync();
                return [await floor.OpenAsync(Links), 0];
            })),
    ];

    /// <summary>
    /// All links were there before: what a server makes once and keeps, such as SQLite's page caches, compiled code and free blocks, is no
    /// link's. What is left is what a link adds.
    /// </summary>
    private static async Task<double[]> IdleAsync(double seconds)
    {
        await using var scene = await SwarmScene.StartAsync("sqlite", environment: StartupHook.Environment);
        var plan = await scene.PlanAsync() with { Links = Links };
        await using (var before = await SwarmProcess.StartAsync(plan with { TextBytes = FirstTextBytes }))
        {
            await before.UntilAllLiveAsync(Links, SwarmScene.Patience);
            await before.SetRateAsync("deltas", FirstDeltasPerSecond);
            await before.WatchAsync(Settle);
        }

        await Task.Delay(ForgottenWithin, TimeProvider.System);
        using var hub = Process.GetProcessById(scene.Hubs[0].ProcessId);
        var without = await ResidentAsync(hub);
        await using var swarm = await SwarmProcess.StartAsync(plan);
        await swarm.UntilAllLiveAsync(Links, SwarmScene.Patience);
        return await CostAsync(hub, without, duration => swarm.WatchAsync(duration));
    }

    private static async Task<double[]> IdleStreamsAsync(double seconds)
    {
        await using var floor = await Streams.StartAsync();
        await floor.OpenAsync(Links);
        await Task.Delay(Settle, TimeProvider.System);
        await floor.CloseAsync();
        await Task.Delay(Settle, TimeProvider.System);
        using var server = Process.GetProcessById(floor.ServerId);
        var without = await ResidentAsync(server);
        await floor.OpenAsync(Links);
        return await CostAsync(server, without, duration => Task.Delay(duration, TimeProvider.System));
    }

    private static async Task<double[]> CostAsync(Process server, long without, Func<TimeSpan, Task> passAsync)
    {
        await passAsync(Settle);
        server.Refresh();
        var (cpu, clock) = (server.TotalProcessorTime, Stopwatch.StartNew());
        await passAsync(Settle * 2);
        server.Refresh();
        cpu = server.TotalProcessorTime - cpu;
        var seconds = clock.Elapsed.TotalSeconds;
        return [(await ResidentAsync(server) - without) / 1024.0 / Links, cpu.TotalMicroseconds / seconds / Links];
    }

    /// <summary>Bytes of a server that was started with <see cref="StartupHook.Environment"/>, without what nobody holds any more.</summary>
    private static async Task<long> ResidentAsync(Process server)
    {
        await StartupHook.CollectAsync(server.Id);
        await Task.Delay(CollectWithin, TimeProvider.System);
        server.Refresh();
        return server.WorkingSet64;
    }

    private static async Task<double[]> StormAsync(double seconds)
    {
        await using var scene = await SwarmScene.StartAsync("sqlite");
        await using var swarm = await SwarmProcess.StartAsync(await scene.PlanAsync() with
        {
            Links = Links,
            CommandsPerSecond = CommandsPerSecond,
            BackOffFirst = BackOffFirst,
            BackOffMax = BackOffMax,
        });
        var all = await swarm.UntilAllLiveAsync(Links, SwarmScene.Patience);
        await scene.Hubs[0].KillAsync();
        await scene.Hubs[0].StartAsync();
        var serves = SwarmPlan.Now;
        var back = await swarm.UntilAsync(report => report.Live == Links && report.Welcomes >= all.Welcomes + Links, SwarmScene.Patience);
        var after = await swarm.WatchAsync(TimeSpan.FromSeconds(seconds));
        return [Links / ((back.At - serves) / 1_000), after.Offers.Quantile(0.99).TotalMicroseconds];
    }

    /// <summary>The floor: a server and those who hold streams open on it.</summary>
    private sealed class Streams(ChildProgram server, string port) : IAsyncDisposable
    {
        private ChildProgram? _holder;

        public int ServerId => server.ProcessId;

        public static async Task<Streams> StartAsync()
        {
            var server = ChildProgram.Start("Hub.Benchmarks.dll", ["server", "kestrel"], StartupHook.Environment);
            return new Streams(server, (await server.ReadPortsAsync())[0]);
        }

        /// <returns>Streams that were opened per second.</returns>
        public async Task<double> OpenAsync(int count)
        {
            _holder = ChildProgram.Start("Hub.Benchmarks.dll", ["hold", port, count.ToString(CultureInfo.InvariantCulture)]);
            var line = await _holder.ReadUntilAsync(RuntimeLoads.HeldPrefix, SwarmScene.Patience) ?? throw new InvalidOperationException($"The streams do not open: {_holder.Errors}");
            return double.Parse(line[RuntimeLoads.HeldPrefix.Length..], CultureInfo.InvariantCulture);
        }

        public async Task CloseAsync()
        {
            if (Interlocked.Exchange(ref _holder, null) is { } holder)
            {
                await holder.DisposeAsync();
            }
        }

        public async ValueTask DisposeAsync()
        {
            await CloseAsync();
            await server.DisposeAsync();
        }
    }
}
