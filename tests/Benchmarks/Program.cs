using System.Globalization;
using Hub.Benchmarks;
using Hub.Benchmarks.Faults;
using Hub.Benchmarks.Runtime;

// One benchmark per word; each prints a table. Figures count only against those of the same run.
return args switch
{
    ["json"] => JsonBenchmark.Run(),
    ["runtime", .. var options] => await RuntimeBenchmark.RunAsync(RuntimeOptions(new Words(options))),
    ["resync", .. var options] => await ResyncCommand.RunAsync(ResyncOptions(new Words(options))),
    ["kill", .. var options] => await KillCommand.RunAsync(KillOptions(new Words(options))),
    // The processes that a benchmark starts.
    ["server", var kind] => await RuntimeServers.RunAsync(kind),
    ["load", var kind, var figure, var port, var seconds] => await RuntimeLoads.RunAsync(
        kind, figure, int.Parse(port, CultureInfo.InvariantCulture), double.Parse(seconds, CultureInfo.InvariantCulture)),
    _ => Usage(),
};

static RuntimeBenchmarkOptions RuntimeOptions(Words words) => new(
    words.Number("--repeats", 5), words.Number("--seconds", 4.0), words.Text("--only")?.Split(',') ?? [], words.Text("--json"));

static KillOptions KillOptions(Words words) => new(
    words.Number("--kills", 20),
    words.Number("--nodes", 50),
    TimeSpan.FromMilliseconds(words.Number("--pace-ms", 250)),
    Stores(words),
    words.Number("--seed", Environment.ProcessId));

static ResyncOptions ResyncOptions(Words words) => new(words.Number("--records", 50_000), words.Number("--changed", 1_000), Stores(words));

static string[] Stores(Words words) => words.Text("--store") is { } store ? [store] : ["sqlite", "postgres"];

static int Usage()
{
    Console.Error.WriteLine("""
        dotnet run -c Release --project tests/Benchmarks -- json
        dotnet run -c Release --project tests/Benchmarks -- runtime [--repeats 5] [--seconds 4] [--only ping-pong,one-way,unary] [--json FILE]
        dotnet run -c Release --project tests/Benchmarks -- kill [--kills 20] [--nodes 50] [--pace-ms 250] [--store sqlite|postgres] [--seed N]
        dotnet run -c Release --project tests/Benchmarks -- resync [--records 50000] [--changed 1000] [--store sqlite|postgres]
        """);
    return 2;
}
