using System.Globalization;

namespace Hub.Benchmarks.Bench;

/// <summary>One thing that is measured beside what it stands on. Its contenders take turns; of each column the median of the turns counts.</summary>
/// <param name="Name">The word that chooses it.</param>
/// <param name="FloorIs">What the contender <see cref="Floor"/> does.</param>
/// <param name="Reach">Where the figure has to be, in words.</param>
/// <param name="Columns">What each turn yields; the first is compared with the floor's.</param>
/// <param name="IsReached">Whether the medians are where they have to be, by the contender's name.</param>
/// <param name="Contenders"><see cref="Ours"/> and <see cref="Floor"/> first.</param>
internal sealed record Figure(
    string Name, string FloorIs, string Reach, string[] Columns, Func<IReadOnlyDictionary<string, double[]>, bool> IsReached, params Contender[] Contenders)
{
    public const string Ours = "ours";
    public const string Floor = "floor";

    /// <summary>Columns of a figure that is a rate.</summary>
    public static readonly string[] Rate = ["per second", "p50 µs", "p99 µs"];

    /// <summary>Columns of a figure that is a wait.</summary>
    public static readonly string[] Wait = ["p50 µs", "p99 µs"];
}

/// <summary>One of those that take turns.</summary>
/// <param name="TurnAsync">Measures for about so many seconds, and yields a value for each column; warms up by itself, once if it stays.</param>
internal sealed record Contender(string Name, Func<double, Task<double[]>> TurnAsync)
{
    /// <summary>Ends what it kept from turn to turn.</summary>
    public Func<ValueTask> EndAsync { get; init; } = () => ValueTask.CompletedTask;
}

/// <summary>What came out.</summary>
/// <param name="Medians">Of each column.</param>
/// <param name="Spreads">How far the first column's turns lie apart, as a share of their median.</param>
/// <param name="Stolen">Share of processor time that the machine's host gave to others, in the turn in which it was most.</param>
internal sealed record FigureResult(
    Figure Figure, IReadOnlyDictionary<string, double[]> Medians, IReadOnlyDictionary<string, double> Spreads, IReadOnlyDictionary<string, double> Stolen)
{
    public bool IsReached => Figure.IsReached(Medians);

    public static async Task<FigureResult> MeasureAsync(Figure figure, int repeats, double seconds)
    {
        var turns = figure.Contenders.ToDictionary(contender => contender.Name, _ => new List<double[]>());
        var stolen = figure.Contenders.ToDictionary(contender => contender.Name, _ => 0.0);
        try
        {
            for (var turn = 0; turn < repeats; turn++)
            {
                foreach (var contender in figure.Contenders)
                {
                    var before = Machine.ProcessorTime();
                    turns[contender.Name].Add(await contender.TurnAsync(seconds));
                    var after = Machine.ProcessorTime();
                    stolen[contender.Name] = Math.Max(stolen[contender.Name], (double)(after.Stolen - before.Stolen) / Math.Max(1, after.All - before.All));
                }
            }
        }
        finally
        {
            foreach (var contender in figure.Contenders)
            {
                await contender.EndAsync();
            }
        }

        return new FigureResult(
            figure,
            turns.ToDictionary(pair => pair.Key, pair => figure.Columns.Select((_, column) => Middle(pair.Value, column)).ToArray()),
            turns.ToDictionary(pair => pair.Key, pair => (pair.Value.Max(turn => turn[0]) - pair.Value.Min(turn => turn[0])) / Middle(pair.Value, 0)),
            stolen);
    }

    public void Print()
    {
        Console.WriteLine();
        Console.WriteLine($"{Figure.Name}: floor is {Figure.FloorIs}; reach: {Figure.Reach}: {(IsReached ? "reached" : "NOT reached")}");
        Console.WriteLine($"  {"by",-10}{string.Concat(Figure.Columns.Select(column => $"{column,14}"))}    spread    stolen  of the floor");
        foreach (var (name, values) in Medians)
        {
            var cells = string.Concat(values.Select(value => string.Create(CultureInfo.InvariantCulture, $"{value,14:#,0.0}")));
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"  {name,-10}{cells} {Spreads[name],9:P0} {Stolen[name],9:P0} {values[0] / Medians[Figure.Floor][0],12:F2}x"));
        }
    }

    private static double Middle(List<double[]> turns, int column) => turns.Select(turn => turn[column]).Order().ElementAt(turns.Count / 2);
}
