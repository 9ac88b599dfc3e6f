using Hub.Hosting;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;

namespace Hub.Runs;

/// <summary>
/// Removes approvals their node no longer names. A node without a link names all that wait every 10 s, says nothing once there are none, and
/// sends an empty list when it could not look (reflectt-node contract §2, §6.10), so only silence about an item counts. When each was last
/// named stands in memory: to be named again is not a change and costs no write. Approvals of links are deleted by their nodes.
/// </summary>
internal sealed partial class RunApprovals(Store store, RecordStore records, TimeProvider time, ILogger<RunApprovals> log) : BackgroundService
{
    private const int BatchMax = 1_000;

    /// <summary>The collection is named in the statement itself, or its index would not be known to fit.</summary>
    internal const string StaleSql = $"""
        select team_id, host_id, record_id, version from records r
        where collection = 'run_approvals' and deleted_at is null and journal_id = '' and changed_at <= @before and {HostRow.ExistsSql}
        order by changed_at limit @limit
        """;

    private static readonly TimeSpan Lifetime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();
    private readonly Dictionary<(string HostId, string EventId), long> _named = [];

    /// <summary>Whoever was named to the process before this one is heard of again within the lifetime.</summary>
    private readonly long _startedAt = time.GetTimestamp();

    /// <summary>The node of a host named these just now.</summary>
    public void Named(HostAccess host, IEnumerable<string> eventIds)
    {
        var now = time.GetTimestamp();
        lock (_gate)
        {
            foreach (var eventId in eventIds)
            {
                _named[(host.HostId, eventId)] = now;
            }
        }
    }

    /// <summary>Removes what was not named for its lifetime.</summary>
    internal async Task SweepAsync(CancellationToken cancellation)
    {
        Forget();
        var approvals = RecordCollections.RunApprovals;
        var stale = await store.QueryAsync<StaleRow>(
            TeamScope.System, StaleSql, new { before = time.NowMs() - (long)Lifetime.TotalMilliseconds, limit = BatchMax }, cancellation);
        foreach (var team in stale.Where(row => !IsNamed(row.HostId, row.RecordId)).GroupBy(row => row.TeamId))
        {
            await store.WriteAsync(
                team.Key,
                tx =>
                {
                    foreach (var row in team.Where(row => !IsNamed(row.HostId, row.RecordId))) // Perhaps named since it was read.
                    {
                        var version = RecordStore.NextVersion(tx, row.Version);
                        records.Apply(tx, new RecordChange(row.TeamId, row.HostId, approvals, row.RecordId, null, version, null, RecordOrigin.Cloud));
                    }
                },
                cancellation);
        }
    }

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Periodic.RunAsync(Interval, time, SweepAsync, LogNotSwept, stoppingToken);

    private bool IsNamed(string hostId, string eventId)
    {
        lock (_gate)
        {
            return time.GetElapsedTime(_named.GetValueOrDefault((hostId, eventId), _startedAt)) < Lifetime;
        }
    }

    private void Forget()
    {
        lock (_gate)
        {
            foreach (var (key, _) in _named.Where(pair => time.GetElapsedTime(pair.Value) >= Lifetime).ToArray())
            {
                _named.Remove(key);
            }
        }
    }

    [LoggerMessage(LogLevel.Debug, "Approvals nobody names any more were not removed and will be next time: {Cause}", EventName = "ApprovalsNotSwept")]
    private partial void LogNotSwept(string cause);

    private sealed record StaleRow(string TeamId, string HostId, string RecordId, long Version);
}
