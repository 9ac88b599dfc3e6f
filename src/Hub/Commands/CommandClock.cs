using Hub.Hosting;
using Hub.Links;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// Moves commands that are due by the Hub's clock, once a second and in small batches, and wakes links that have something to send: also
/// for commands another replica created.
/// </summary>
internal sealed partial class CommandClock(Store store, LinkRegistry links, TimeProvider time, ILogger<CommandClock> log)
    : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    /// <summary>Commands moved per sweep; what is left is due in the next.</summary>
    private const int BatchMax = 500;

    private const string DueSql = """
        select command_id, team_id, host_id from commands
        where state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED') and accept_by <= @now
        union all select command_id, team_id, host_id from commands where state = 'OFFERED' and offered_until <= @now
        union all select command_id, team_id, host_id from commands where state in ('ACCEPTED', 'RUNNING') and finish_by <= @now
        union all select command_id, team_id, host_id from commands where cancel_by is not null and cancel_by <= @now
        limit @limit
        """;

    private const string WaitingSql = """
        select distinct l.host_id from links l join commands c on c.host_id = l.host_id
        where l.replica_id = @replicaId and l.state = 'LIVE' and c.state = 'QUEUED'
        """;

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Periodic.RunAsync(Tick, time, SweepAsync, LogNotSwept, stoppingToken);

    internal async Task SweepAsync(CancellationToken cancellation)
    {
        var due = await store.ReadAsync(
            TeamScope.System,
            reader => reader.QueryAsync<DueRow>(DueSql, new { now = time.NowMs(), limit = BatchMax }), cancellation);
        foreach (var team in due.Distinct().GroupBy(row => row.TeamId))
        {
            var requeued = await store.WriteAsync(
                team.Key,
                tx => team.Where(row => CommandMachine.Due(tx, row.HostId, row.CommandId)).Select(row => row.HostId).Distinct().ToArray(),
                cancellation);
            Array.ForEach(requeued, links.Wake);
        }

        var waiting = await store.ReadAsync(
            TeamScope.System, reader => reader.QueryAsync<string>(WaitingSql, new { replicaId = links.ReplicaId }), cancellation);
        foreach (var hostId in waiting)
        {
            links.Wake(hostId);
        }
    }

    [LoggerMessage(LogLevel.Debug, "Commands that are due could not be moved, and will be in the next sweep: {Cause}", EventName = "CommandsNotSwept")]
    private partial void LogNotSwept(string cause);

    private sealed record DueRow(string CommandId, string TeamId, string HostId);
}
