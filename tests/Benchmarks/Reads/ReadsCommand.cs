using System.Buffers.Text;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Reads;

/// <summary>What a dashboard waits for when much is stored, beside the statements of the store alone.</summary>
internal static class ReadsCommand
{
    // Until what the runtime compiles in the background is compiled; a Hub that serves has that behind it.
    private const int WarmUpCalls = 600;

    /// <summary>The p95 of a route is at most so many times that of its statements.</summary>
    private const double RatioMax = 3;

    private static readonly Dictionary<string, string> Settings = new() { ["HUB_CALLER_REQUESTS_PER_MINUTE"] = "0" };

    /// <returns>0 if every route stays within the ratio.</returns>
    public static async Task<int> RunAsync(ReadsOptions options)
    {
        Console.WriteLine(Machine.Describe());
        var figures = new List<ReadFigure>();
        foreach (var store in options.Stores)
        {
            await using var postgres = store == "postgres" ? await PostgresServer.StartNewAsync() : null;
            var directory = Directory.CreateTempSubdirectory("hub-reads-");
            try
            {
                await using var hub = await HubProcess.StartAsync(
                    directory.FullName, postgres is null ? null : await postgres.CreateDatabaseAsync(), Settings);
                figures.AddRange(await MeasureAsync(hub, store, options));
            }
            finally
            {
                directory.Delete(recursive: true);
            }
        }

        if (options.JsonPath is not null)
        {
            await File.WriteAllTextAsync(
                options.JsonPath, JsonSerializer.Serialize(new { machine = Machine.Describe(), options.Hosts, options.Tasks, options.Messages, figures }));
        }

        var slow = figures.Where(figure => figure.Ratio > RatioMax).ToArray();
        Console.WriteLine(Line($"{figures.Count - slow.Length} of {figures.Count} routes at most {RatioMax:F0} times their statements (p95)"));
        return slow.Length == 0 ? 0 : 1;
    }

    private static async Task<IReadOnlyList<ReadFigure>> MeasureAsync(HubProcess hub, string store, ReadsOptions options)
    {
        var token = await hub.TokenAsync("user", "--email", "owner@example.com");
        await hub.StopAsync();
        var filling = Stopwatch.StartNew();
        await using (var connection = hub.Connect())
        {
            new ReadsDatabase(connection, options).Fill();
        }

        Console.WriteLine(Line(
            $"{store}: {options.Hosts} hosts, {options.Tasks} tasks, {options.Messages} chat messages stored in {filling.Elapsed.TotalSeconds:F0} s"));
        await hub.StartAsync();
        using var rest = hub.As(token);
        await using var raw = new RawReader(hub.Connect(), SubjectOf(token));
        Console.WriteLine($"{"route",-30} {"rows",5} {"route p50",10} {"p95",8} {"store p50",10} {"p95",8} {"ratio",6}   ms");
        var figures = new List<ReadFigure>();
        foreach (var route in ReadRoute.All)
        {
            var figure = await MeasureAsync(rest, raw, store, route, options.Calls);
            figures.Add(figure);
            Console.WriteLine(Line(
                $"{figure.Route,-30} {figure.Rows,5} {figure.RouteP50,10:F2} {figure.RouteP95,8:F2} {figure.StoreP50,10:F2} {figure.StoreP95,8:F2} {figure.Ratio,6:F1}"));
            if (figure.Ratio > RatioMax)
            {
                foreach (var step in await raw.ExplainAsync(route))
                {
                    Console.WriteLine($"      {step}");
                }
            }
        }

        return figures;
    }

    /// <summary>A call and its statements take turns, so that both meet the same machine.</summary>
    private static async Task<ReadFigure> MeasureAsync(HttpClient rest, RawReader raw, string store, ReadRoute route, int calls)
    {
        // A page token as the Hub makes it: the sort key of the last row seen.
        var path = route.Path.Replace("{deep}", Base64Url.EncodeToString("[1700000050000,\"\"]"u8), StringComparison.Ordinal);
        var (answers, reads) = (new double[calls], new double[calls]);
        var rows = 0;
        for (var i = -WarmUpCalls; i < calls; i++)
        {
            var start = Stopwatch.GetTimestamp();
            using var response = await rest.GetAsync(path);
            response.EnsureSuccessStatusCode();
            await response.Content.ReadAsByteArrayAsync();
            var answered = Stopwatch.GetElapsedTime(start);
            start = Stopwatch.GetTimestamp();
            rows = await raw.ReadAsync(route);
            var read = Stopwatch.GetElapsedTime(start);
            if (i >= 0)
            {
                (answers[i], reads[i]) = (answered.TotalMilliseconds, read.TotalMilliseconds);
            }
        }

        Array.Sort(answers);
        Array.Sort(reads);
        return new ReadFigure(store, route.Name, rows, answers[calls / 2], answers[calls * 95 / 100], reads[calls / 2], reads[calls * 95 / 100]);
    }

    private static string SubjectOf(string token)
    {
        using var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(token.Split('.')[1]));
        return claims.RootElement.GetProperty("sub").GetString()!;
    }

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}

/// <param name="Calls">Measured calls of each route.</param>
/// <param name="Stores">"sqlite", "postgres".</param>
/// <param name="JsonPath">Where the figures go as JSON; null for nowhere.</param>
internal sealed record ReadsOptions(int Hosts, int Tasks, int Messages, int Calls, string[] Stores, string? JsonPath);

/// <summary>Milliseconds of a route and of its statements alone.</summary>
internal sealed record ReadFigure(string Store, string Route, int Rows, double RouteP50, double RouteP95, double StoreP50, double StoreP95)
{
    public double Ratio => RouteP95 / StoreP95;
}
