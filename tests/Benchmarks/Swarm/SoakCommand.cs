using System.Diagnostics;
using System.Globalization;

namespace Hub.Benchmarks.Swarm;

/// <summary>Finds what the Hub can take here, gives it a share of that for long, and tells whether memory, handles or threads grow.</summary>
internal static class SoakCommand
{
    private const double FirstRate = 100;
    private const double RateStep = 1.5;
    private const int StepsMax = 25;
    private const double CommandsPerSecond = 10;
    private const double ChatsPerSecond = 10;

    /// <summary>Links of 100 that are cut each minute, so that ends and resumes are part of the load.</summary>
    private const double CutShare = 2;

    /// <summary>A step holds while nearly all that is due is acknowledged, and soon.</summary>
    private const double HoldingShare = 0.95;
    private static readonly TimeSpan HoldingP99 = TimeSpan.FromMilliseconds(250);

    private static readonly TimeSpan Step = TimeSpan.FromSeconds(4);
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    /// <returns>0 if no node saw a fault and all are linked at the end.</returns>
    public static async Task<int> RunAsync(SwarmOptions options, int minutes, double load)
    {
        Console.WriteLine(Machine.Describe());
        await using var scene = await SwarmScene.StartAsync(options.Store);
        await using var swarm = await SwarmProcess.StartAsync(await scene.PlanAsync() with
        {
            Links = options.Links,
            CommandsPerSecond = CommandsPerSecond,
            ChatsPerSecond = ChatsPerSecond,
            CutsPerSecond = options.Links * CutShare / 100 / 60,
        });
        await swarm.UntilAllLiveAsync(options.Links, SwarmScene.Patience);
        var limit = await LimitAsync(swarm);
        var rate = limit * load;
        await swarm.SetRateAsync("deltas", rate);
        Console.WriteLine(FormattableString.Invariant($"Limit: {limit:N0} records/s over {options.Links} links on {options.Store}; {load:P0} of it for {minutes} minutes:"));
        Console.WriteLine("  minute   MiB  handles  threads  records/s  commands/s  record acknowledged");
        using var hub = Process.GetProcessById(scene.Hubs[0].ProcessId);
        var minutesSeen = new List<Sample>();
        SwarmPeriod? last = null;
        for (var minute = 1; minute <= minutes; minute++)
        {
            last = await swarm.WatchAsync(Minute);
            hub.Refresh();
            var sample = new Sample(minute, hub.WorkingSet64 / (1024.0 * 1024), hub.HandleCount, hub.Threads.Count, last.DeltasPerSecond, last.CommandsPerSecond, last.Deltas.Quantile(0.99).TotalMilliseconds);
            minutesSeen.Add(sample);
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {minute,6} {sample.MiB,5:F0} {sample.Handles,8} {sample.Threads,8} {sample.RecordsPerSecond,10:N0} {sample.CommandsPerSecond,11:F1}  {last.Deltas}"));
        }

        // The first third warms up: pools fill, code is compiled again.
        var settled = minutesSeen.Skip(minutes / 3).ToArray();
        var slopes = new
        {
            mibPerHour = SlopePerHour(settled, sample => sample.MiB),
            handlesPerHour = SlopePerHour(settled, sample => sample.Handles),
            threadsPerHour = SlopePerHour(settled, sample => sample.Threads),
        };
        Console.WriteLine(FormattableString.Invariant(
            $"Growth per hour, after the first third: {slopes.mibPerHour:+0.0;-0.0} MiB, {slopes.handlesPerHour:+0.0;-0.0} handles, {slopes.threadsPerHour:+0.0;-0.0} threads"));
        await options.WriteAsync(new { limitPerSecond = limit, load, slopes, minutes = minutesSeen });
        var faults = last?.Last.Faults ?? [];
        Array.ForEach(faults, Console.WriteLine);
        await swarm.UntilAllLiveAsync(options.Links, SwarmScene.Patience);
        return faults.Length == 0 ? 0 : 1;
    }

    /// <summary>Raises the rate until it does not hold; the last that did is the limit.</summary>
    private static async Task<double> LimitAsync(SwarmProcess swarm)
    {
        var (rate, limit) = (FirstRate, FirstRate);
        for (var step = 0; step < StepsMax; step++)
        {
            await swarm.SetRateAsync("deltas", rate);
            await swarm.WatchAsync(Step / 4); // What the change itself costs.
            var period = await swarm.WatchAsync(Step);
            var holds = period.DeltasPerSecond >= HoldingShare * rate && period.Deltas.Quantile(0.99) <= HoldingP99;
            Console.WriteLine(FormattableString.Invariant($"  {rate,9:N0} records/s due, {period.DeltasPerSecond,9:N0} stored, {period.Deltas}{(holds ? "" : ": too much")}"));
            if (!holds)
            {
                break;
            }

            (limit, rate) = (rate, rate * RateStep);
        }

        return limit;
    }

    /// <summary>Least squares.</summary>
    private static double SlopePerHour(Sample[] samples, Func<Sample, double> value)
    {
        if (samples.Length < 2)
        {
            return 0;
        }

        var (meanX, meanY) = (samples.Average(sample => sample.Minute), samples.Average(value));
        return 60 * samples.Sum(sample => (sample.Minute - meanX) * (value(sample) - meanY)) / samples.Sum(sample => Math.Pow(sample.Minute - meanX, 2));
    }

    private sealed record Sample(int Minute, double MiB, int Handles, int Threads, double RecordsPerSecond, double CommandsPerSecond, double RecordP99Ms);
}
