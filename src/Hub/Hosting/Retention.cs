using Hub.Hosts;
using Hub.Storage;

namespace Hub.Hosting;

/// <summary>Removes what has outlived its use, in small batches that wait behind everything urgent.</summary>
internal sealed partial class Retention(Store store, TimeProvider time, ILogger<Retention> log) : BackgroundService
{
    private static readonly TimeSpan Interval = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan TombstonesKept = TimeSpan.FromDays(30);

    internal static readonly TimeSpan EventsKept = TimeSpan.FromDays(7);

    /// <summary>Events kept per team, whatever their age.</summary>
    public const long EventsPerTeamMax = 1_000_000;

    /// <summary>Rows removed at once: each touches pages that its neighbours share, and all who write wait for them.</summary>
    internal const int BatchMax = 500;

    /// <summary>Rest after a batch, in times of what it took: a team that has reached its bound has as much removed as it adds.</summary>
    private const int RestTimes = 2;

    /// <summary>Teams whose oldest event is too old, with its number: a look at one row for each team.</summary>
    private const string OldEventsSql = """
        select c.team_id, (select min(e.seq) from events e where e.team_id = c.team_id) as seq from team_counters c
        where (select e.at from events e where e.team_id = c.team_id order by e.seq limit 1) <= @before
        """;

    /// <summary>Each removes a batch and tells its size.</summary>
    internal static readonly Func<StoreTransaction, int>[] Sweeps =
        [SweepTombstones, SweepEvents, SweepSurplus, tx => HostErasure.Sweep(tx, BatchMax), tx => PlanRetention.Sweep(tx, BatchMax), SweepIdentity];

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Periodic.RunAsync(Interval, time, SweepAsync, LogNotSwept, stoppingToken);

    internal async Task SweepAsync(CancellationToken cancellation)
    {
        foreach (var sweep in Sweeps)
        {
            var began = time.GetTimestamp();
            while (await store.WriteBulkAsync(Store.SystemTeam, fence: null, sweep, cancellation) == BatchMax)
            {
                await Task.Delay(RestTimes * time.GetElapsedTime(began), time, cancellation);
                began = time.GetTimestamp();
            }
        }
    }

    private static int SweepTombstones(StoreTransaction tx) => tx.Execute(
        """
        delete from records where (host_id, collection, record_id) in (
            select host_id, collection, record_id from records where deleted_at is not null and deleted_at <= @before limit @limit)
        """,
        new { before = tx.NowMs - (long)TombstonesKept.TotalMilliseconds, limit = BatchMax });

    /// <summary>Events get older in the order of their numbers, so those that are too old are the first.</summary>
    private static int SweepEvents(StoreTransaction tx)
    {
        var before = tx.NowMs - (long)EventsKept.TotalMilliseconds;
        var removed = 0;
        foreach (var (teamId, seq) in tx.Query<(string TeamId, long Seq)>(OldEventsSql, new { before }))
        {
            var end = seq + BatchMax - removed;
            removed += tx.Execute("delete from events where team_id = @teamId and seq >= @seq and seq < @end and at <= @before", new { teamId, seq, end, before });
            if (removed == BatchMax)
            {
                break;
            }
        }

        return removed;
    }

    private static int SweepSurplus(StoreTransaction tx) => tx.Execute(
        """
        delete from events where (team_id, seq) in (
            select e.team_id, e.seq from events e join team_counters c on c.team_id = e.team_id
            where e.seq <= c.event_seq - @max order by e.team_id, e.seq limit @limit)
        """,
        new { max = EventsPerTeamMax, limit = BatchMax });

    /// <summary>Sessions with their refresh tokens, and links to set a password, past their time.</summary>
    private static int SweepIdentity(StoreTransaction tx)
    {
        var due = new { tx.NowMs, limit = BatchMax };
        var sessions = tx.Execute(
            "delete from sessions where session_id in (select session_id from sessions where expires_at <= @NowMs limit @limit)", due);
        var resets = tx.Execute(
            "delete from password_resets where token_hash in (select token_hash from password_resets where expires_at <= @NowMs limit @limit)", due);
        return Math.Max(sessions, resets);
    }

    [LoggerMessage(LogLevel.Debug, "Old rows were not removed and will be next time: {Cause}", EventName = "RetentionNotSwept")]
    private partial void LogNotSwept(string cause);
}
