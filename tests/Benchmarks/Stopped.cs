using System.Diagnostics;

namespace Hub.Benchmarks;

/// <summary>Time and memory of one operation.</summary>
internal readonly record struct Cost(double Microseconds, double AllocatedBytes);

/// <summary>
/// Measures operations side by side: after a warm-up they take turns, so that whatever else the machine does falls on all of them, and
/// the median of the turns counts.
/// </summary>
internal static class Stopped
{
    private const int Turns = 9;
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan Turn = TimeSpan.FromMilliseconds(250);

    public static Cost[] Measure(params Action[] operations)
    {
        foreach (var operation in operations)
        {
            RunFor(operation, WarmUp);
        }

        var turns = operations.Select(_ => new List<Cost>(Turns)).ToArray();
        for (var turn = 0; turn < Turns; turn++)
        {
            for (var i = 0; i < operations.Length; i++)
            {
                GC.Collect();
                turns[i].Add(RunFor(operations[i], Turn));
            }
        }

        return [.. turns.Select(costs => costs.OrderBy(cost => cost.Microseconds).ElementAt(Turns / 2))];
    }

    private static Cost RunFor(Action operation, TimeSpan time)
    {
        var allocated = GC.GetAllocatedBytesForCurrentThread();
        var clock = Stopwatch.StartNew();
        var count = 0L;
        do
        {
            operation();
            count++;
        }
        while (clock.Elapsed < time);

        var elapsed = clock.Elapsed;
        return new Cost(elapsed.TotalMicroseconds / count, (GC.GetAllocatedBytesForCurrentThread() - allocated) / (double)count);
    }
}
