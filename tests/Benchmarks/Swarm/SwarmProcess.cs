using System.Globalization;
using System.Text.Json;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Swarm;

/// <summary>What a swarm did for a while.</summary>
internal sealed record SwarmPeriod(SwarmReport First, SwarmReport Last, LatencyHistogram Deltas, LatencyHistogram Chats, LatencyHistogram Offers, LatencyHistogram Results)
{
    public double Seconds => Math.Max(0.001, (Last.At - First.At) / 1_000);

    public double DeltasPerSecond => (Last.DeltasAcked - First.DeltasAcked) / Seconds;

    public double CommandsPerSecond => (Last.CommandsDone - First.CommandsDone) / Seconds;
}

/// <summary>A swarm in a process of its own, as the command that started it sees it.</summary>
internal sealed class SwarmProcess : IAsyncDisposable
{
    private readonly ChildProgram _program = ChildProgram.Start("Hub.Benchmarks.dll", ["swarm"]);

    private SwarmProcess()
    {
    }

    /// <summary>All that came back from a Hub that drained.</summary>
    public List<Dispersal> Dispersals { get; } = [];

    public static async Task<SwarmProcess> StartAsync(SwarmPlan plan)
    {
        var swarm = new SwarmProcess();
        await swarm._program.TrySayAsync(JsonSerializer.Serialize(plan, SwarmPlan.Json));
        return swarm;
    }

    /// <param name="what">deltas or commands.</param>
    public Task SetRateAsync(string what, double perSecond) =>
        _program.TrySayAsync(string.Create(CultureInfo.InvariantCulture, $"{what} {perSecond}"));

    /// <summary>The first report from now on that is so.</summary>
    public async Task<SwarmReport> UntilAsync(Func<SwarmReport, bool> isSo, TimeSpan within)
    {
        var from = SwarmPlan.Now;
        while (true)
        {
            var report = await NextAsync();
            if (report.At >= from && isSo(report))
            {
                return report;
            }

            if (report.At > from + within.TotalMilliseconds)
            {
                throw new TimeoutException($"Not so within {within}: {report.Live} of {report.Links} links are live, ends {string.Join(", ", report.Ends)}. {string.Join(' ', report.Faults)}");
            }
        }
    }

    public Task<SwarmReport> UntilAllLiveAsync(int links, TimeSpan within) => UntilAsync(report => report.Live == links, within);

    public async Task<SwarmPeriod> WatchAsync(TimeSpan duration)
    {
        var first = await UntilAsync(_ => true, duration);
        var (deltas, chats, offers, results) = (new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram());
        while (true)
        {
            var report = await NextAsync();
            deltas.Add(report.DeltaLatency);
            chats.Add(report.ChatLatency);
            offers.Add(report.OfferLatency);
            results.Add(report.ResultLatency);
            if (report.At >= first.At + duration.TotalMilliseconds)
            {
                return new SwarmPeriod(first, report, deltas, chats, offers, results);
            }
        }
    }

    public ValueTask DisposeAsync() => _program.DisposeAsync();

    private async Task<SwarmReport> NextAsync()
    {
        var line = await _program.ReadUntilAsync("{") ?? throw new InvalidOperationException($"The swarm has ended: {_program.Errors}");
        var report = JsonSerializer.Deserialize<SwarmReport>(line, SwarmPlan.Json)!;
        Dispersals.AddRange(report.Dispersals);
        return report;
    }
}
