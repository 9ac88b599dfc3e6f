namespace Hub.Benchmarks.Swarm;

/// <summary>What others feel of a team that sends all it can and of a node that reads nothing.</summary>
internal static class FairCommand
{
    private const double DeltasPerSecond = 200;
    private const double CommandsPerSecond = 20;

    /// <summary>Of the noisy team: ten times what the others send, and more than any Hub takes.</summary>
    private static readonly double[] NoisyDeltasPerSecond = [10 * DeltasPerSecond, 100_000];

    private const int NoisyLinks = 20;
    private const int NoisyEntriesPerBatch = 20;

    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(5);

    /// <returns>0 if no node saw a fault.</returns>
    public static async Task<int> RunAsync(SwarmOptions options, TimeSpan period)
    {
        Console.WriteLine(Machine.Describe());
        await using var scene = await SwarmScene.StartAsync(options.Store);
        var plan = await scene.PlanAsync() with { Links = options.Links, DeltasPerSecond = DeltasPerSecond, CommandsPerSecond = CommandsPerSecond };
        await using var others = await SwarmProcess.StartAsync(plan);
        await others.UntilAllLiveAsync(options.Links, SwarmScene.Patience);
        await others.WatchAsync(WarmUp);
        Console.WriteLine(FormattableString.Invariant(
            $"{options.Links} nodes of one team with {DeltasPerSecond} records/s and {CommandsPerSecond} commands/s, {period.TotalSeconds:F0} s each, on {options.Store}"));
        Console.WriteLine($"{"",-40}{"record acknowledged",-40} command offered");
        var without = await others.WatchAsync(period);
        Print("alone", without);

        await using var deaf = await SwarmProcess.StartAsync(plan with { Seed = 2, Links = 1, DeltasPerSecond = 0, CommandsPerSecond = 0, FirstIsDeaf = true });
        var figures = new List<object>();
        var faults = new List<string>();
        foreach (var asked in NoisyDeltasPerSecond)
        {
            await using var noisy = await SwarmProcess.StartAsync(await scene.PlanAsync($"noisy-{asked}") with
            {
                Seed = 3,
                Links = NoisyLinks,
                EntriesPerBatch = NoisyEntriesPerBatch,
                DeltasPerSecond = asked,
            });
            await noisy.UntilAllLiveAsync(NoisyLinks, SwarmScene.Patience);
            await others.WatchAsync(WarmUp);
            var watchingNoise = noisy.WatchAsync(period);
            var with = await others.WatchAsync(period);
            var noise = await watchingNoise;
            Print(FormattableString.Invariant($"beside {noise.DeltasPerSecond:N0} records/s of another"), with);
            Console.WriteLine(FormattableString.Invariant(
                $"{"",-40}p99 {Ratio(without.Deltas, with.Deltas):F1} times that alone {"",-17}p99 {Ratio(without.Offers, with.Offers):F1} times that alone"));
            figures.Add(new { noisyPerSecond = noise.DeltasPerSecond, others = Figures(with) });
            faults.AddRange([.. with.Last.Faults, .. noise.Last.Faults]);
        }

        var slow = await deaf.UntilAsync(report => report.DeafEndedAfter > 0, SwarmScene.Patience);
        Console.WriteLine(FormattableString.Invariant($"A node that read nothing meanwhile was ended after {slow.DeafEndedAfter / 1_000:F1} s."));
        await options.WriteAsync(new { without = Figures(without), with = figures, slowNodeEndedSeconds = slow.DeafEndedAfter / 1_000 });
        faults.ForEach(Console.WriteLine);
        return faults.Count == 0 ? 0 : 1;
    }

    private static void Print(string name, SwarmPeriod period) => Console.WriteLine($"{name,-40}{period.Deltas,-40} {period.Offers}");

    private static double Ratio(LatencyHistogram without, LatencyHistogram with) =>
        with.Quantile(0.99) / TimeSpan.FromTicks(Math.Max(1, without.Quantile(0.99).Ticks));

    private static object Figures(SwarmPeriod period) => new
    {
        recordsPerSecond = period.DeltasPerSecond,
        recordP99Ms = period.Deltas.Quantile(0.99).TotalMilliseconds,
        commandsPerSecond = period.CommandsPerSecond,
        offerP99Ms = period.Offers.Quantile(0.99).TotalMilliseconds,
    };
}
