using System.Text.Json;
using Hub.Benchmarks.Runtime;

namespace Hub.Benchmarks.Bench;

/// <summary>How long and what to measure.</summary>
/// <param name="Repeats">Turns of each contender.</param>
/// <param name="Seconds">Length of a turn.</param>
/// <param name="Only">Figures to measure; none stands for all.</param>
/// <param name="JsonPath">Where the figures go as JSON; null for nowhere.</param>
internal sealed record BenchOptions(int Repeats, double Seconds, string[] Only, string? JsonPath);

/// <summary>The hot paths of the Hub, each beside a floor that is taken in the same run.</summary>
internal static class BenchCommand
{
    private static IEnumerable<Figure> All =>
    [
        .. RuntimeFigures.All, .. DeltaFigures.All, .. WaitFigures.All, .. LinkFigures.All, .. RestFigures.All, .. TailFigures.All,
        .. GrowthFigures.All, .. AllocationFigures.All,
    ];

    public static string Names => string.Join(',', All.Select(figure => figure.Name));

    /// <summary>Measures and prints a table for every figure; 1 if one is not where it has to be.</summary>
    public static async Task<int> RunAsync(BenchOptions options)
    {
        var chosen = All.Where(figure => options.Only.Length == 0 || options.Only.Contains(figure.Name)).ToArray();
        if (options.Only.Except(chosen.Select(figure => figure.Name)).ToArray() is { Length: > 0 } unknown)
        {
            Console.Error.WriteLine($"No figure is called {string.Join(", ", unknown)}; there are {Names}.");
            return 2;
        }

        Console.WriteLine(Machine.Describe());
        Console.WriteLine($"Each figure: {options.Repeats} turns of {options.Seconds:0.#} s for each contender, after a warm-up.");
        var results = new List<FigureResult>();
        foreach (var figure in chosen)
        {
            var result = await FigureResult.MeasureAsync(figure, options.Repeats, options.Seconds);
            result.Print();
            results.Add(result);
        }

        if (options.JsonPath is { } path)
        {
            await File.WriteAllTextAsync(path, JsonSerializer.Serialize(new
            {
                machine = Machine.Describe(),
                figures = results.Select(result => new
                {
                    figure = result.Figure.Name,
                    floor = result.Figure.FloorIs,
                    reach = result.Figure.Reach,
                    reached = result.IsReached,
                    columns = result.Figure.Columns,
                    contenders = result.Medians,
                    spreads = result.Spreads,
                    stolen = result.Stolen,
                }),
            }));
        }

        return results.TrueForAll(result => result.IsReached) ? 0 : 1;
    }
}
