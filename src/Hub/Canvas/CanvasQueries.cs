using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Canvas;

/// <summary>
/// Queries that wait for nodes. They live in memory: a person who asked is looking at the answer's place, and asks again when none comes.
/// </summary>
internal sealed class CanvasQueries(TimeProvider time)
{
    public const int PerHostMax = 100;

    private static readonly TimeSpan Lifetime = TimeSpan.FromMinutes(5);

    /// <summary>A node polls every 10 s and may think for longer; until then its poll does not show the query again.</summary>
    private static readonly TimeSpan LeaseFor = TimeSpan.FromSeconds(60);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, List<Waiting>> _hosts = new(StringComparer.Ordinal);

    /// <summary>Adds a query; a repeat of the key answers with the first one while it waits.</summary>
    /// <exception cref="HubException">ITEMS_MAX.</exception>
    public CanvasQuery Add(string hostId, CanvasQuery query, string? idempotencyKey)
    {
        lock (_gate)
        {
            var waiting = Live(hostId);
            if (idempotencyKey is not null && waiting.Find(item => item.IdempotencyKey == idempotencyKey) is { } earlier)
            {
                return earlier.Query;
            }

            if (waiting.Count >= PerHostMax)
            {
                throw new HubException(
                    ErrorReason.ItemsMax, $"{PerHostMax} queries wait for this host; try again when it has answered some.",
                    ("limit", $"{PerHostMax}"));
            }

            _hosts[hostId] = waiting;
            waiting.Add(new Waiting(query, idempotencyKey, time.GetUtcNow() + Lifetime));
            return query;
        }
    }

    /// <summary>What waits, oldest first.</summary>
    public IReadOnlyList<CanvasQuery> Read(string hostId)
    {
        lock (_gate)
        {
            return [.. Live(hostId).Select(item => item.Query)];
        }
    }

    /// <summary>What waits and was not handed out a moment ago, oldest first.</summary>
    public IReadOnlyList<CanvasQuery> Lease(string hostId)
    {
        lock (_gate)
        {
            var now = time.GetUtcNow();
            var free = Live(hostId).FindAll(item => item.LeasedUntil <= now);
            free.ForEach(item => item.LeasedUntil = now + LeaseFor);
            return [.. free.Select(item => item.Query)];
        }
    }

    /// <summary>Takes acknowledged queries out.</summary>
    /// <returns>How many waited.</returns>
    public int Take(string hostId, IReadOnlySet<string> queryIds)
    {
        lock (_gate)
        {
            var waiting = Live(hostId);
            var taken = waiting.RemoveAll(item => queryIds.Contains(item.Query.QueryId));
            if (waiting.Count == 0)
            {
                _hosts.Remove(hostId);
            }

            return taken;
        }
    }

    /// <summary>The host's queries without those whose time is over; under the gate.</summary>
    private List<Waiting> Live(string hostId)
    {
        if (!_hosts.TryGetValue(hostId, out var waiting))
        {
            return [];
        }

        var now = time.GetUtcNow();
        waiting.RemoveAll(item => item.Until <= now);
        if (waiting.Count == 0)
        {
            _hosts.Remove(hostId);
        }

        return waiting;
    }

    private sealed record Waiting(CanvasQuery Query, string? IdempotencyKey, DateTimeOffset Until)
    {
        public DateTimeOffset LeasedUntil { get; set; }
    }
}
