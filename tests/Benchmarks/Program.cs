using System.Globalization;
using Hub.Benchmarks;
using Hub.Benchmarks.Bench;
using Hub.Benchmarks.Faults;
using Hub.Benchmarks.Reads;
using Hub.Benchmarks.Runtime;
using Hub.Benchmarks.Swarm;

// One benchmark per word; each prints a table. Figures count only against those of the same run.
return args switch
{
    _ when args.Contains("--help") => Usage(Console.Out, 0),
    ["json"] => JsonBenchmark.Run(),
    ["bench", .. var options] => await BenchCommand.RunAsync(BenchOptions(new Words(options))),
    ["resync", .. var options] => await ResyncCommand.RunAsync(ResyncOptions(new Words(options))),
    ["kill", .. var options] => await KillCommand.RunAsync(KillOptions(new Words(options))),
    ["proxy", .. var options] => await ProxyCommand.RunAsync(ProxyOptions(new Words(options))),
    ["storm", .. var options] => await StormCommand.RunAsync(SwarmOptions(new Words(options), links: 2_000)),
    ["fair", .. var options] => await FairCommand.RunAsync(
        SwarmOptions(new Words(options), links: 100), TimeSpan.FromSeconds(new Words(options).Number("--seconds", 20.0))),
    ["soak", .. var options] => await SoakCommand.RunAsync(
        SwarmOptions(new Words(options), links: 200), new Words(options).Number("--minutes", 30), new Words(options).Number("--load", 0.7)),
    ["reads", .. var options] => await ReadsCommand.RunAsync(ReadsOptions(new Words(options))),
    // The processes that a benchmark starts.
    ["swarm"] => await SwarmProgram.RunAsync(),
    ["server", var kind] => await RuntimeServers.RunAsync(kind),
    ["rest-floor", var file] => await RestFloor.RunAsync(file),
    ["watchers"] => await WatchersProgram.RunAsync(),
    ["hold", var port, var streams] => await RuntimeLoads.HoldAsync(
        int.Parse(port, CultureInfo.InvariantCulture), int.Parse(streams, CultureInfo.InvariantCulture)),
    ["load", var kind, var figure, var port, var seconds] => await RuntimeLoads.RunAsync(
        kind, figure, int.Parse(port, CultureInfo.InvariantCulture), double.Parse(seconds, CultureInfo.InvariantCulture)),
    _ => Usage(Console.Error, 2),
};

static BenchOptions BenchOptions(Words words) => new(
    words.Number("--repeats", 5), words.Number("--seconds", 4.0), words.Text("--only")?.Split(',') ?? [], words.Text("--json"));

static KillOptions KillOptions(Words words) => new(
    words.Number("--kills", 20),
    words.Number("--nodes", 50),
    TimeSpan.FromMilliseconds(words.Number("--pace-ms", 250)),
    Stores(words),
    words.Number("--seed", Environment.ProcessId));

static ResyncOptions ResyncOptions(Words words) => new(words.Number("--records", 50_000), words.Number("--changed", 1_000), Stores(words));

static ProxyOptions ProxyOptions(Words words) => new(
    Address(words.Text("--http")),
    Address(words.Text("--grpc")),
    words.Text("--token"),
    words.Text("--node"),
    TimeSpan.FromSeconds(words.Number("--heartbeat", 25.0)));

static Uri? Address(string? text) => text is null ? null : new Uri(text);

static ReadsOptions ReadsOptions(Words words) => new(
    words.Number("--hosts", 1_000),
    words.Number("--tasks", 100_000),
    words.Number("--messages", 1_000_000),
    words.Number("--calls", 200),
    Stores(words),
    words.Text("--json"));

static string[] Stores(Words words) => words.Text("--store") is { } store ? [store] : ["sqlite", "postgres"];

static SwarmOptions SwarmOptions(Words words, int links) => new(
    words.Text("--store") ?? "sqlite", words.Number("--links", links), words.Text("--json"));

static int Usage(TextWriter to, int code)
{
    to.WriteLine("""
        dotnet run -c Release --project tests/Benchmarks -- json
        dotnet run -c Release --project tests/Benchmarks -- bench [--repeats 5] [--seconds 4] [--only NAME,…] [--json FILE]
        dotnet run -c Release --project tests/Benchmarks -- kill [--kills 20] [--nodes 50] [--pace-ms 250] [--store sqlite|postgres] [--seed N]
        dotnet run -c Release --project tests/Benchmarks -- resync [--records 50000] [--changed 1000] [--store sqlite|postgres]
        dotnet run -c Release --project tests/Benchmarks -- proxy [--http URL --grpc URL --token T] [--node "COMMAND"] [--heartbeat 25]
        dotnet run -c Release --project tests/Benchmarks -- storm [--links 2000] [--store sqlite|postgres] [--json FILE]
        dotnet run -c Release --project tests/Benchmarks -- fair [--links 100] [--seconds 20] [--store sqlite|postgres] [--json FILE]
        dotnet run -c Release --project tests/Benchmarks -- soak [--minutes 30] [--load 0.7] [--links 200] [--store sqlite|postgres] [--json FILE]
        dotnet run -c Release --project tests/Benchmarks -- reads [--hosts 1000] [--tasks 100000] [--messages 1000000] [--calls 200] [--store sqlite|postgres] [--json FILE]
        """);
    return code;
}
