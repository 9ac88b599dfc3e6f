using System.Globalization;
using System.Text.Json;
using Hub.Benchmarks.Bench;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Runtime;

/// <summary>The gRPC runtime beside what it stands on and beside other makers' pairs. Server and load are processes of their own, each on a core of its own.</summary>
internal static class RuntimeFigures
{
    /// <summary>How much longer than it measures a load may take.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly Peer[] Both =
    [
        new(Figure.Ours, _ => ["dotnet", Self, "server", "grpc"], (figure, port, seconds) => ["dotnet", Self, "load", "grpc", figure, port, seconds]),
        new(Figure.Floor, figure => ["dotnet", Self, "server", figure == RuntimeLoads.PingPong ? "tcp" : "kestrel"], (figure, port, seconds) => ["dotnet", Self, "load", Figure.Floor, figure, port, seconds]),
    ];

    public static IEnumerable<Figure> All =>
    [
        Of(RuntimeLoads.PingPong, "raw TCP echo of the same bytes", "p50 at most 1.5x the floor, ahead of the pairs", (ours, floor, pairs) =>
            ours[1] <= 1.5 * floor[1] && pairs.All(pair => ours[1] < pair[1])),
        Of(RuntimeLoads.OneWay, "HTTP/2 DATA of the same bytes into Kestrel", "0.5x the floor, 10x the pairs", (ours, floor, pairs) =>
            ours[0] >= 0.5 * floor[0] && pairs.All(pair => ours[0] >= 10 * pair[0])),
        Of(RuntimeLoads.Unary, "a Kestrel HTTP/2 endpoint that answers the same bytes", "0.9x the floor", (ours, floor, _) => ours[0] >= 0.9 * floor[0]),
    ];

    /// <summary>Ours: rate, p50 and p99 of ping-pong on one stream.</summary>
    public static Task<double[]> PingPongAsync(double seconds) => MeasureAsync(Both[0], RuntimeLoads.PingPong, seconds);

    private static string Self => Path.Combine(AppContext.BaseDirectory, "Hub.Benchmarks.dll");

    private static Figure Of(string name, string floorIs, string reach, Func<double[], double[], double[][], bool> isReached) => new(
        name,
        floorIs,
        reach,
        Figure.Rate,
        medians => isReached(
            medians[Figure.Ours], medians[Figure.Floor], [.. medians.Where(pair => pair.Key is not (Figure.Ours or Figure.Floor)).Select(pair => pair.Value)]),
        [.. Both.Concat(Peers.Available()).Select(peer => new Contender(peer.Name, seconds => MeasureAsync(peer, name, seconds)))]);

    private static async Task<double[]> MeasureAsync(Peer peer, string figure, double seconds)
    {
        await using var server = ChildProgram.StartCommand(Machine.OnCore(0, peer.Server(figure)));
        var port = (await server.ReadPortsAsync())[0];
        await using var load = ChildProgram.StartCommand(
            Machine.OnCore(1, peer.Load(figure, port, seconds.ToString(CultureInfo.InvariantCulture))));
        var line = await load.ReadUntilAsync("{", RuntimeLoads.WarmUp + TimeSpan.FromSeconds(seconds) + Patience) ?? throw new InvalidOperationException($"{peer.Name} measured nothing: {load.Errors}");
        var result = JsonSerializer.Deserialize<LoadResult>(line)!;
        return [result.PerSecond, result.P50, result.P99];
    }
}

/// <summary>A pair of server and load.</summary>
/// <param name="Name">How the table calls it.</param>
/// <param name="Server">Its server's command line for a figure. It prints "port N" and serves until its input ends.</param>
/// <param name="Load">Its load's command line for figure, port and seconds. It prints a <see cref="LoadResult"/> as JSON.</param>
internal sealed record Peer(string Name, Func<string, string[]> Server, Func<string, string, string, string[]> Load);
