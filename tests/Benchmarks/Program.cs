using System.Globalization;
using Hub.Benchmarks;
using Hub.Benchmarks.Runtime;

// One benchmark per word; each prints a table. Figures count only against those of the same run.
return args switch
{
    ["json"] => JsonBenchmark.Run(),
    ["runtime", .. var options] => await RuntimeBenchmark.RunAsync(Options(options)),
    // The processes that a benchmark starts.
    ["server", var kind] => await RuntimeServers.RunAsync(kind),
    ["load", var kind, var figure, var port, var seconds] => await RuntimeLoads.RunAsync(
        kind, figure, int.Parse(port, CultureInfo.InvariantCulture), double.Parse(seconds, CultureInfo.InvariantCulture)),
    _ => Usage(),
};

static RuntimeBenchmarkOptions Options(string[] words)
{
    string? Value(string name) => Array.IndexOf(words, name) is >= 0 and var at && at + 1 < words.Length ? words[at + 1] : null;
    return new RuntimeBenchmarkOptions(
        int.Parse(Value("--repeats") ?? "5", CultureInfo.InvariantCulture),
        double.Parse(Value("--seconds") ?? "4", CultureInfo.InvariantCulture),
        Value("--only")?.Split(',') ?? [],
        Value("--json"));
}

static int Usage()
{
    Console.Error.WriteLine("""
        dotnet run -c Release --project tests/Benchmarks -- json
        dotnet run -c Release --project tests/Benchmarks -- runtime [--repeats 5] [--seconds 4] [--only ping-pong,one-way,unary] [--json FILE]
        """);
    return 2;
}
