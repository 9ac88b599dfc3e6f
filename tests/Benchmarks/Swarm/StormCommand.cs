using System.Globalization;

namespace Hub.Benchmarks.Swarm;

/// <summary>
/// All nodes lose their Hub at once: by SIGTERM, which tells each when to come back, and by SIGKILL, which tells nobody anything. On
/// PostgreSQL a second Hub takes them in; on SQLite the same one is started again.
/// </summary>
internal static class StormCommand
{
    private const int Bars = 10;
    private const int BarWidth = 50;
    private const double CommandsPerSecond = 20;

    /// <returns>0 if all nodes came back and none saw a fault.</returns>
    public static async Task<int> RunAsync(SwarmOptions options)
    {
        Console.WriteLine(Machine.Describe());
        await using var scene = await SwarmScene.StartAsync(options.Store, hubs: options.Store == "postgres" ? 2 : 1);
        var plan = await scene.PlanAsync() with { Links = options.Links, CommandsPerSecond = CommandsPerSecond };
        await using var swarm = await SwarmProcess.StartAsync(plan);
        var began = SwarmPlan.Now;
        var all = await swarm.UntilAllLiveAsync(options.Links, SwarmScene.Patience);
        Console.WriteLine(Line($"{options.Links} nodes enrolled and linked after {Seconds(began, all.At)} s, on {options.Store}"));

        var drain = await DrainAsync(scene, swarm, options.Links);
        var restart = await RestartAsync(scene, swarm, options.Links);
        await options.WriteAsync(new { drain, restart });
        var faults = (await swarm.UntilAsync(_ => true, SwarmScene.Patience)).Faults;
        Array.ForEach(faults, Console.WriteLine);
        return faults.Length == 0 ? 0 : 1;
    }

    private static async Task<object> DrainAsync(SwarmScene scene, SwarmProcess swarm, int links)
    {
        var began = SwarmPlan.Now;
        await scene.Hubs[0].StopAsync();
        var stopped = SwarmPlan.Now;
        if (scene.Hubs.Count == 1)
        {
            await scene.Hubs[0].StartAsync();
        }

        while (swarm.Dispersals.Count < links)
        {
            await swarm.UntilAsync(_ => true, SwarmScene.Patience);
        }

        var back = await swarm.UntilAllLiveAsync(links, SwarmScene.Patience);
        var told = swarm.Dispersals.Select(link => link.Told).ToArray();
        var spread = told.Max();
        var arrivals = Histogram(swarm.Dispersals.Select(link => link.DialledAt - link.DrainedAt), spread);
        Console.WriteLine();
        Console.WriteLine(Line($"SIGTERM: the Hub ended after {Seconds(began, stopped)} s; {told.Distinct().Count()} different delays up to {spread / 1_000:F2} s for {links} links"));
        Console.WriteLine($"  links that dialled again, by tenths of the longest delay; even would be {links / Bars}:");
        for (var bar = 0; bar < arrivals.Length; bar++)
        {
            var upTo = bar < Bars ? Line($"{spread * (bar + 1) / Bars / 1_000,6:F2} s") : "   later";
            Console.WriteLine($"  {upTo} {arrivals[bar],6} {new string('#', arrivals[bar] * BarWidth / Math.Max(1, arrivals.Max()))}");
        }

        Console.WriteLine(Line($"  all linked again after {Seconds(began, back.At)} s"));
        return new { stopSeconds = (stopped - began) / 1_000, delays = told.Distinct().Count(), spreadMs = spread, arrivals, allLinkedSeconds = (back.At - began) / 1_000 };
    }

    private static async Task<object> RestartAsync(SwarmScene scene, SwarmProcess swarm, int links)
    {
        var hub = scene.Hubs[^1];
        var before = await swarm.UntilAsync(_ => true, SwarmScene.Patience);
        var began = SwarmPlan.Now;
        await hub.KillAsync();
        await hub.StartAsync();
        var serves = SwarmPlan.Now;
        var done = (await swarm.UntilAsync(_ => true, SwarmScene.Patience)).CommandsDone;
        var flowing = await swarm.UntilAsync(report => report.CommandsDone > done, SwarmScene.Patience);
        var back = await swarm.UntilAsync(report => report.Live == links && report.Welcomes >= before.Welcomes + links, SwarmScene.Patience);
        Console.WriteLine();
        Console.WriteLine(Line(
            $"SIGKILL: the Hub serves again after {Seconds(began, serves)} s, commands flow after {Seconds(began, flowing.At)} s, all {links} nodes are linked after {Seconds(began, back.At)} s"));
        return new { servesSeconds = (serves - began) / 1_000, commandsSeconds = (flowing.At - began) / 1_000, allLinkedSeconds = (back.At - began) / 1_000 };
    }

    /// <summary>Counts per tenth of the spread, and those beyond it.</summary>
    private static int[] Histogram(IEnumerable<double> waits, double spread)
    {
        var counts = new int[Bars + 1];
        foreach (var wait in waits)
        {
            // A timer is late by milliseconds, and the last would all count as late.
            counts[wait <= spread ? Math.Min(Bars - 1, (int)(wait / spread * Bars)) : wait <= spread * 1.05 ? Bars - 1 : Bars]++;
        }

        return counts;
    }

    private static string Line(FormattableString text) => FormattableString.Invariant(text);

    private static string Seconds(double from, double to) => ((to - from) / 1_000).ToString("F1", CultureInfo.InvariantCulture);
}
