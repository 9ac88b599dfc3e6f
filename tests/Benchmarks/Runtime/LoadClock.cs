using System.Diagnostics;
using System.Text.Json;

namespace Hub.Benchmarks.Runtime;

/// <summary>What one load measured.</summary>
/// <param name="PerSecond">Operations per second.</param>
/// <param name="P50">Median latency in microseconds; 0 where only the rate counts.</param>
/// <param name="P99">99th percentile of the latency in microseconds.</param>
internal sealed record LoadResult(double PerSecond, double P50, double P99);

/// <summary>Counts what happens between the end of the warm-up and the end of the run. Thread-safe.</summary>
internal sealed class LoadClock(TimeSpan warmUp, TimeSpan run)
{
    /// <summary>Latencies kept: more than any load makes in a run of some seconds; those after are only counted.</summary>
    private const int LatenciesMax = 4_000_000;

    private readonly long _from = Stopwatch.GetTimestamp() + (long)(warmUp.TotalSeconds * Stopwatch.Frequency);
    private readonly long _until = Stopwatch.GetTimestamp() + (long)((warmUp + run).TotalSeconds * Stopwatch.Frequency);
    private readonly long[] _latencies = new long[LatenciesMax];
    private int _latencyCount;
    private long _count;

    public bool IsRunning => Stopwatch.GetTimestamp() < _until;

    /// <summary>Operations answered now, begun at <paramref name="sent"/>.</summary>
    public void Count(long operations, long sent = 0)
    {
        var now = Stopwatch.GetTimestamp();
        if (now < _from || now >= _until)
        {
            return;
        }

        Interlocked.Add(ref _count, operations);
        if (sent != 0 && Interlocked.Increment(ref _latencyCount) is var number && number <= LatenciesMax)
        {
            _latencies[number - 1] = now - sent;
        }
    }

    public string Report()
    {
        var all = _latencies[..Math.Min(_latencyCount, LatenciesMax)];
        Array.Sort(all);
        double At(double share) => all.Length == 0 ? 0 : Stopwatch.GetElapsedTime(0, all[(int)(all.Length * share)]).TotalMicroseconds;
        return JsonSerializer.Serialize(new LoadResult(_count / run.TotalSeconds, At(0.50), At(0.99)));
    }
}
