using System.Collections.Concurrent;

namespace Hub.Limits;

/// <summary>A refused amount: what may be used, what is used of it, when some and when all of it is free again.</summary>
internal readonly record struct RateExcess(long Limit, long Use, TimeSpan RetryAfter, TimeSpan Reset);

/// <summary>
/// One limit for each of many keys: an allowance that fills up evenly over its window. A key that used nothing for a window has no entry, so
/// there are as many entries as keys were active in the last window, twice over at most.
/// </summary>
/// <param name="limit">Amount per window; 0 stands for no limit.</param>
internal sealed class RateMeter(long limit, TimeSpan window, TimeProvider time)
{
    /// <summary>Entries below which nobody looks for idle ones.</summary>
    private const int SweepMin = 1_024;

    private readonly ConcurrentDictionary<string, Allowance> _allowances = new(StringComparer.Ordinal);
    private readonly double _perTick = (double)limit / window.Ticks;
    private int _sweepAt = SweepMin;

    // Beside the dictionary, whose own count takes all of its locks.
    private int _entries;

    public int Entries => Volatile.Read(ref _entries);

    /// <summary>Takes the amount if it is there.</summary>
    /// <returns>Null, or why nothing was taken.</returns>
    public RateExcess? TryTake(string key, long amount = 1)
    {
        if (limit == 0)
        {
            return null;
        }

        var now = time.GetTimestamp();
        var allowance = Of(key, now);
        lock (allowance)
        {
            var left = Fill(allowance, now);
            if (left >= amount)
            {
                allowance.Left -= amount;
                return null;
            }

            return new RateExcess(limit, limit - (long)left, Until(amount - left), Until(limit - left));
        }
    }

    /// <summary>Takes an amount that is used already, on credit if need be.</summary>
    /// <returns>Time until the credit is paid back.</returns>
    public TimeSpan Spend(string key, long amount)
    {
        if (limit == 0)
        {
            return TimeSpan.Zero;
        }

        var now = time.GetTimestamp();
        var allowance = Of(key, now);
        lock (allowance)
        {
            Fill(allowance, now);
            allowance.Left -= amount;
            return allowance.Left < 0 ? Until(-allowance.Left) : TimeSpan.Zero;
        }
    }

    private TimeSpan Until(double missing) => TimeSpan.FromTicks((long)Math.Ceiling(missing / _perTick));

    private double Fill(Allowance allowance, long now)
    {
        // Two callers may have read the clock in another order than they came here.
        var since = Math.Max(0, time.GetElapsedTime(allowance.At, now).Ticks);
        allowance.Left = Math.Min(limit, allowance.Left + (since * _perTick));
        allowance.At = Math.Max(allowance.At, now);
        return allowance.Left;
    }

    private Allowance Of(string key, long now)
    {
        if (_allowances.TryGetValue(key, out var present))
        {
            return present;
        }

        if (Entries >= Volatile.Read(ref _sweepAt))
        {
            Sweep(now);
        }

        var added = new Allowance(limit, now);
        var allowance = _allowances.GetOrAdd(key, added);
        if (allowance == added)
        {
            Interlocked.Increment(ref _entries);
        }

        return allowance;
    }

    /// <summary>Drops entries that say what no entry would say: all is left.</summary>
    private void Sweep(long now)
    {
        foreach (var (key, allowance) in _allowances)
        {
            lock (allowance)
            {
                // Who just got hold of it takes once without being counted, which does no harm.
                if (Fill(allowance, now) >= limit && _allowances.TryRemove(key, out _))
                {
                    Interlocked.Decrement(ref _entries);
                }
            }
        }

        Volatile.Write(ref _sweepAt, Math.Max(SweepMin, 2 * Entries));
    }

    /// <summary>What a key has left. Guarded by a lock on itself.</summary>
    private sealed class Allowance(double left, long at)
    {
        public double Left { get; set; } = left;

        public long At { get; set; } = at;
    }
}
