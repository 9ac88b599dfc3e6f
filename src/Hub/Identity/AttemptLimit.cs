using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Identity;

/// <summary>
/// Bounds the guesses at passwords: per address and account, so that a stranger cannot lock the owner out; per account, against many
/// addresses; per address, against many accounts. Counted in this process: a second replica doubles the bound, not more.
/// </summary>
internal sealed class AttemptLimit(TimeProvider time)
{
    public const int PerAddressAndAccountMax = 10;
    public const int PerAccountMax = 50;
    public const int PerAddressMax = 300;

    public static readonly TimeSpan Window = TimeSpan.FromMinutes(15);

    /// <summary>Counts kept; beyond that the oldest go, which the bounds of the others outlast.</summary>
    public const int CountsMax = 20_000;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, Count> _counts = new(StringComparer.Ordinal);
    private readonly Queue<(string Key, DateTimeOffset Ends)> _byEnd = new();

    /// <summary>Counts one attempt.</summary>
    /// <exception cref="HubException">RATE_LIMITED.</exception>
    public void Take(string address, string account)
    {
        var now = time.GetUtcNow();
        lock (_lock)
        {
            Forget(now);
            Require($"both {address} {account}", PerAddressAndAccountMax, now);
            Require($"account {account}", PerAccountMax, now);
            Require($"address {address}", PerAddressMax, now);
            Add($"both {address} {account}", now);
            Add($"account {account}", now);
            Add($"address {address}", now);
        }
    }

    /// <summary>The account's owner was at the address: earlier slips do not count.</summary>
    public void Succeeded(string address, string account)
    {
        lock (_lock)
        {
            if (_counts.TryGetValue($"both {address} {account}", out var count))
            {
                count.Taken = 0;
            }
        }
    }

    private void Require(string key, int max, DateTimeOffset now)
    {
        if (_counts.TryGetValue(key, out var count) && count.Taken >= max)
        {
            throw new HubException(
                ErrorReason.RateLimited, "Too many tries; wait a while.", ("limit", $"{max}"), ("use", $"{count.Taken}"))
            {
                RetryAfter = count.Ends - now,
            };
        }
    }

    private void Add(string key, DateTimeOffset now)
    {
        if (!_counts.TryGetValue(key, out var count))
        {
            _counts[key] = count = new Count(now + Window);
            _byEnd.Enqueue((key, count.Ends));
        }

        count.Taken++;
    }

    private void Forget(DateTimeOffset now)
    {
        while (_byEnd.TryPeek(out var oldest) && (oldest.Ends <= now || _byEnd.Count > CountsMax))
        {
            _byEnd.Dequeue();
            _counts.Remove(oldest.Key);
        }
    }

    private sealed class Count(DateTimeOffset ends)
    {
        public DateTimeOffset Ends { get; } = ends;

        public int Taken { get; set; }
    }
}
