using System.Globalization;
using System.Text.Json;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Runtime;

/// <summary>
/// The gRPC runtime beside what it stands on and beside other makers' pairs. Server and load are processes of their own, each on a core of
/// its own; contenders take turns, so that what else the machine does falls on all; medians count.
/// </summary>
internal static class RuntimeBenchmark
{
    private const string Floor = "floor";

    private static readonly Peer[] Ours =
    [
        new("ours", _ => ["dotnet", Self, "server", "grpc"], (figure, port, seconds) => ["dotnet", Self, "load", "grpc", figure, port, seconds]),
        new(Floor, figure => ["dotnet", Self, "server", figure == RuntimeLoads.PingPong ? "tcp" : "kestrel"], (figure, port, seconds) => ["dotnet", Self, "load", Floor, figure, port, seconds]),
    ];

    /// <summary>What is measured, what stands beside it, and where it has to be.</summary>
    private static readonly Figure[] Figures =
    [
        new(RuntimeLoads.PingPong, "raw TCP echo of the same bytes", "p50 at most 1.5x the floor, ahead of the pairs", (ours, floor, pairs) =>
            ours.P50 <= 1.5 * floor.P50 && pairs.All(pair => ours.P50 < pair.P50)),
        new(RuntimeLoads.OneWay, "HTTP/2 DATA of the same bytes into Kestrel", "0.5x the floor, 10x the pairs", (ours, floor, pairs) =>
            ours.PerSecond >= 0.5 * floor.PerSecond && pairs.All(pair => ours.PerSecond >= 10 * pair.PerSecond)),
        new(RuntimeLoads.Unary, "a Kestrel HTTP/2 endpoint that answers the same bytes", "0.9x the floor", (ours, floor, _) =>
            ours.PerSecond >= 0.9 * floor.PerSecond),
    ];

    private static string Self => Path.Combine(AppContext.BaseDirectory, "Hub.Benchmarks.dll");

    /// <summary>Measures every figure and prints a table; 1 if a figure is not where it has to be.</summary>
    public static async Task<int> RunAsync(RuntimeBenchmarkOptions options)
    {
        Peer[] peers = [.. Ours, .. Peers.Available()];
        Console.WriteLine(Machine.Describe());
        Console.WriteLine($"Each figure: {options.Repeats} turns of {options.Seconds:0.#} s for each contender, after a warm-up of half of it.");
        var reached = true;
        var report = new List<object>();
        foreach (var figure in Figures.Where(figure => options.Only.Length == 0 || options.Only.Contains(figure.Name)))
        {
            var turns = peers.ToDictionary(peer => peer.Name, _ => new List<LoadResult>());
            for (var turn = 0; turn < options.Repeats; turn++)
            {
                foreach (var peer in peers)
                {
                    turns[peer.Name].Add(await MeasureAsync(peer, figure.Name, options.Seconds));
                }
            }

            var medians = turns.ToDictionary(pair => pair.Key, pair => Spread.Of(pair.Value));
            var isReached = figure.IsReached(
                medians["ours"].Median, medians[Floor].Median, [.. medians.Where(pair => pair.Key is not ("ours" or Floor)).Select(pair => pair.Value.Median)]);
            reached &= isReached;
            Print(figure, medians, isReached);
            report.Add(new { figure = figure.Name, floor = figure.FloorIs, reach = figure.Reach, reached = isReached, contenders = medians });
        }

        if (options.JsonPath is { } path)
        {
            await File.WriteAllTextAsync(path, JsonSerializer.Serialize(new { machine = Machine.Describe(), figures = report }));
        }

        return reached ? 0 : 1;
    }

    private static async Task<LoadResult> MeasureAsync(Peer peer, string figure, double seconds)
    {
        await using var server = ChildProgram.StartCommand(Machine.OnCore(0, peer.Server(figure)));
        var port = (await server.ReadUntilAsync("port "))?["port ".Length..] ?? throw new InvalidOperationException($"{peer.Name} does not serve: {server.Errors}");
        await using var load = ChildProgram.StartCommand(
            Machine.OnCore(1, peer.Load(figure, port, seconds.ToString(CultureInfo.InvariantCulture))));
        var line = await load.ReadUntilAsync("{") ?? throw new InvalidOperationException($"{peer.Name} measured nothing: {load.Errors}");
        return JsonSerializer.Deserialize<LoadResult>(line)!;
    }

    private static void Print(Figure figure, Dictionary<string, Spread> medians, bool isReached)
    {
        Console.WriteLine();
        Console.WriteLine($"{figure.Name}: floor is {figure.FloorIs}; reach: {figure.Reach}: {(isReached ? "reached" : "NOT reached")}");
        Console.WriteLine("  by         per second    spread     p50 µs     p99 µs  of the floor");
        var floor = medians[Floor].Median.PerSecond;
        foreach (var (name, spread) in medians)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"  {name,-9} {spread.Median.PerSecond,11:N0} {spread.Range,8:P0} {spread.Median.P50,10:F1} {spread.Median.P99,10:F1} {spread.Median.PerSecond / floor,12:F2}x"));
        }
    }

    private sealed record Figure(string Name, string FloorIs, string Reach, Func<LoadResult, LoadResult, LoadResult[], bool> IsReached);

    /// <summary>The median of the turns, each measure by itself, and how far the rates lie apart.</summary>
    private sealed record Spread(LoadResult Median, double Range)
    {
        public static Spread Of(List<LoadResult> turns)
        {
            double Middle(Func<LoadResult, double> measure) => turns.Select(measure).Order().ElementAt(turns.Count / 2);
            var rate = Middle(turn => turn.PerSecond);
            return new Spread(
                new LoadResult(rate, Middle(turn => turn.P50), Middle(turn => turn.P99)),
                (turns.Max(turn => turn.PerSecond) - turns.Min(turn => turn.PerSecond)) / rate);
        }
    }
}

/// <summary>How long and what to measure.</summary>
/// <param name="Repeats">Turns of each contender.</param>
/// <param name="Seconds">Length of a turn.</param>
/// <param name="Only">Figures to measure; none stands for all.</param>
/// <param name="JsonPath">Where the figures go as JSON; null for nowhere.</param>
internal sealed record RuntimeBenchmarkOptions(int Repeats, double Seconds, string[] Only, string? JsonPath);

/// <summary>A pair of server and load.</summary>
/// <param name="Name">How the table calls it.</param>
/// <param name="Server">Its server's command line for a figure. It prints "port N" and serves until its input ends.</param>
/// <param name="Load">Its load's command line for figure, port and seconds. It prints a <see cref="LoadResult"/> as JSON.</param>
internal sealed record Peer(string Name, Func<string, string[]> Server, Func<string, string, string, string[]> Load);
