using System.Globalization;
using System.Numerics;

namespace Hub.Benchmarks.Swarm;

/// <summary>
/// Counts of durations in buckets that grow with them: each power of two of microseconds is cut into <see cref="Cuts"/>, so that a figure read
/// from it is at most 1/32 too high, from a microsecond to hours. Histograms of several processes add up. Safe for many threads.
/// </summary>
internal sealed class LatencyHistogram
{
    private const int CutBits = 5;
    private const int Cuts = 1 << CutBits;
    private const int Buckets = (64 - CutBits) * Cuts;

    private readonly long[] _counts = new long[Buckets];

    public long Count => _counts.Sum();

    public void Add(TimeSpan duration) =>
        Interlocked.Increment(ref _counts[BucketOf((ulong)Math.Max(0, duration.TotalMicroseconds))]);

    /// <param name="counts">As <see cref="ToCounts"/> gave them.</param>
    public void Add(IReadOnlyDictionary<int, long> counts)
    {
        foreach (var (bucket, count) in counts)
        {
            Interlocked.Add(ref _counts[bucket], count);
        }
    }

    public void Add(LatencyHistogram other) => Add(other.ToCounts());

    /// <summary>The buckets that hold something.</summary>
    public Dictionary<int, long> ToCounts() =>
        Enumerable.Range(0, Buckets).Where(bucket => Volatile.Read(ref _counts[bucket]) > 0).ToDictionary(bucket => bucket, bucket => Volatile.Read(ref _counts[bucket]));

    /// <summary>As <see cref="ToCounts"/>, and empties it.</summary>
    public Dictionary<int, long> TakeCounts()
    {
        var taken = new Dictionary<int, long>();
        for (var bucket = 0; bucket < Buckets; bucket++)
        {
            if (Interlocked.Exchange(ref _counts[bucket], 0) is > 0 and var count)
            {
                taken[bucket] = count;
            }
        }

        return taken;
    }

    /// <summary>Upper edge of the bucket below which the share lies; zero if nothing was counted.</summary>
    public TimeSpan Quantile(double share)
    {
        var left = (long)Math.Ceiling(share * Count);
        for (var bucket = 0; bucket < Buckets && left > 0; bucket++)
        {
            left -= _counts[bucket];
            if (left <= 0)
            {
                return TimeSpan.FromMicroseconds(UpperEdge(bucket));
            }
        }

        return TimeSpan.Zero;
    }

    public override string ToString() => string.Create(
        CultureInfo.InvariantCulture,
        $"p50 {Quantile(0.5).TotalMilliseconds:F1} p99 {Quantile(0.99).TotalMilliseconds:F1} max {Quantile(1).TotalMilliseconds:F1} ms");

    private static int BucketOf(ulong microseconds)
    {
        // Below 2^CutBits every value has a bucket of its own.
        var shift = Math.Max(0, BitOperations.Log2(microseconds | 1) - CutBits);
        return Math.Min(Buckets - 1, (shift << CutBits) + (int)(microseconds >> shift));
    }

    private static double UpperEdge(int bucket)
    {
        var shift = Math.Max(0, (bucket >> CutBits) - 1);
        return (bucket - (shift << CutBits) + 1) * Math.Pow(2, shift);
    }
}
