using Hub.Hosting;
using Hub.Links;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// Moves commands that are due by the Hub's clock, once a second and in small batches, and wakes links that have something to send: also
/// for commands another replica created or is asked to cancel.
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

    /// <summary>From the commands, which are few, to their links, which are many.</summary>
    internal const string WaitingSql = """
        select l.host_id from commands c cross join links l
        where c.state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED') and c.state = 'QUEUED' and c.accept_by > @now
            and l.host_id = c.host_id and l.replica_id = @replicaId and l.state = 'LIVE'
        union select l.host_id from commands c cross join links l
        where c.cancel_by is not null and c.cancel_by > @now and l.host_id = c.host_id and l.replica_id = @replicaId and l.state = 'LIVE'
        """;

    /// <summary>Chat that another replica took for a node whose link is here.</summary>
    internal const string ChatSql =
        "select host_id from links where replica_id = @replicaId and chat_down_seq > chat_down_acked and state = 'LIVE'";

    protected override Task ExecuteAsync(CancellationToken stoppingToken) =>
        Periodic.RunAsync(Tick, time, SweepAsync, LogNotSwept, stoppingToken);

    internal async Task SweepAsync(CancellationToken cancellation)
    {
        var due = await store.QueryAsync<DueRow>(TeamScope.System, DueSql, new { now = time.NowMs(), limit = BatchMax }, cancellation);
        foreach (var team in due.Distinct().GroupBy(row => row.TeamId))
        {
            var requeued = await store.WriteAsync(
                team.Key,
                tx => CommandRows.Change(tx, rows =>
                {
                    rows.Load(team.Select(row => (row.HostId, row.CommandId)));
                    return team.Where(row => CommandMachine.Due(rows, row.HostId, row.CommandId)).Select(row => row.HostId).Distinct().ToArray();
                }),
                cancellation);
            Array.ForEach(requeued, links.Wake);
        }

        var asked = new { now = time.NowMs(), replicaId = links.ReplicaId };
        var (waiting, chat) = await store.ReadAsync(
            TeamScope.System,
            async reader => (await reader.QueryAsync<string>(WaitingSql, asked), await reader.QueryAsync<string>(ChatSql, asked)),
            cancellation);
        foreach (var hostId in waiting)
        {
            links.Wake(hostId);
        }

        foreach (var hostId in chat)
        {
            links.WakeForChat(hostId);
        }
    }

    [LoggerMessage(LogLevel.Debug, "Commands that are due could not be moved, and will be in the next sweep: {Cause}", EventName = "CommandsNotSwept")]
    private partial void LogNotSwept(string cause);

    private sealed record DueRow(string CommandId, string TeamId, string HostId);
}
