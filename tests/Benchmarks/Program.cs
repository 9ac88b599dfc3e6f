using Hub.Benchmarks;

// One benchmark per word; each prints a table. Figures count only against those of the same run.
return args switch
{
    ["json"] => JsonBenchmark.Run(),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("dotnet run -c Release --project tests/Benchmarks -- json");
    return 2;
}
