namespace Hub.Benchmarks.Swarm;

/// <summary>What others feel of a team that sends all it can and of a node that reads nothing.</summary>
internal static class FairCommand
{
    private const double DeltasPerSecond = 200;
    private const double CommandsPerSecond = 20;

    /// <summary>Of the noisy team: more than any Hub takes.</summary>
    private const double NoisyDeltasPerSecond = 100_000;
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
        var without = await others.WatchAsync(period);

        await using var noisy = await SwarmProcess.StartAsync(await scene.PlanAsync("noisy") with
        {
            Seed = 2,
            Links = NoisyLinks,
            EntriesPerBatch = NoisyEntriesPerBatch,
            DeltasPerSecond = NoisyDeltasPerSecond,
        });
        await using var deaf = await SwarmProcess.StartAsync(plan with { Seed = 3, Links = 1, DeltasPerSecond = 0, CommandsPerSecond = 0, FirstIsDeaf = true });
        await noisy.UntilAllLiveAsync(NoisyLinks, SwarmScene.Patience);
        await others.WatchAsync(WarmUp);
        var watchingNoise = noisy.WatchAsync(period);
        var with = await others.WatchAsync(period);
        var noise = await watchingNoise;
        var slow = await deaf.UntilAsync(report => report.DeafEndedAfter > 0, SwarmScene.Patience);

        Console.WriteLine(FormattableString.Invariant(
            $"{options.Links} nodes of one team with {DeltasPerSecond} records/s and {CommandsPerSecond} commands/s, {period.TotalSeconds:F0} s each, on {options.Store}; of the noisy team {noise.DeltasPerSecond:N0} records/s were stored"));
        Console.WriteLine("                        record acknowledged                      command offered");
        Print("alone", without);
        Print("with noise and a slow node", with);
        Console.WriteLine(FormattableString.Invariant(
            $"p99 with : without = {Ratio(without.Deltas, with.Deltas):F1} for records, {Ratio(without.Offers, with.Offers):F1} for commands"));
        Console.WriteLine(FormattableString.Invariant($"The node that reads nothing was ended after {slow.DeafEndedAfter / 1_000:F1} s."));
        await options.WriteAsync(new
        {
            without = Figures(without),
            with = Figures(with),
            noisyPerSecond = noise.DeltasPerSecond,
            slowNodeEndedSeconds = slow.DeafEndedAfter / 1_000,
        });
        string[] faults = [.. with.Last.Faults, .. noise.Last.Faults];
        Array.ForEach(faults, Console.WriteLine);
        return faults.Length == 0 ? 0 : 1;
    }

    private static void Print(string name, SwarmPeriod period) => Console.WriteLine($"{name,-28}{period.Deltas,-40} {period.Offers}");

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
