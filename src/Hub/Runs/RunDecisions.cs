using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Runs;

/// <summary>
/// Decisions for nodes that poll them. The reflectt-node of today polls and cannot carry them out (its contract's §7), so they end by
/// themselves; what is sure to arrive goes as a run_approve command.
/// </summary>
internal sealed class RunDecisions(Store store)
{
    /// <summary>Decisions shown to one poll; what is decided beyond it waits for acknowledgements.</summary>
    private const int PageMax = 1_000;

    private const long LifetimeMs = 10 * 60 * 1000;

    private const string WaitingSql = """
        select event_id, decision from run_decisions
        where host_id = @hostId and team_id = @teamId and acked_at is null and decided_at > @after order by decided_at, event_id limit @limit
        """;

    private const string DecideSql = """
        insert into run_decisions (team_id, host_id, event_id, decision, decided_by, decided_at)
        values (@teamId, @hostId, @eventId, @decision, @by, @NowMs) on conflict (host_id, event_id) do nothing
        """;

    private const string OneSql = "select event_id, decision from run_decisions where host_id = @hostId and event_id = @eventId";

    public async Task<IReadOnlyList<RunDecision>> WaitingAsync(HostAccess host, long nowMs, CancellationToken cancellation) =>
    [
        .. (await store.QueryAsync<Row>(
            TeamScope.Of(host.TeamId),
            WaitingSql,
            new { hostId = host.HostId, teamId = host.TeamId, after = nowMs - LifetimeMs, limit = PageMax },
            cancellation)).Select(row => row.ToDecision()),
    ];

    /// <summary>Decides; what was decided already stays.</summary>
    public Task<RunDecision> DecideAsync(HostAccess host, string eventId, string decision, CancellationToken cancellation) =>
        store.WriteAsync(
            host.TeamId,
            tx =>
            {
                var hostId = host.HostId;
                tx.Execute("delete from run_decisions where host_id = @hostId and decided_at <= @before", new { hostId, before = tx.NowMs - LifetimeMs });
                tx.Execute(DecideSql, new { teamId = host.TeamId, hostId, eventId, decision, by = host.Caller.Name, tx.NowMs });
                return tx.QuerySingle<Row>(OneSql, new { hostId, eventId }).ToDecision();
            },
            cancellation);

    /// <returns>How many waited until now.</returns>
    public Task<int> AckAsync(HostAccess host, IReadOnlyCollection<string> eventIds, CancellationToken cancellation) =>
        store.WriteAsync(
            host.TeamId,
            tx => eventIds.Sum(eventId => tx.Execute(
                "update run_decisions set acked_at = @NowMs where host_id = @hostId and event_id = @eventId and acked_at is null",
                new { hostId = host.HostId, eventId, tx.NowMs })),
            cancellation);

    private sealed record Row(string EventId, string Decision)
    {
        public RunDecision ToDecision() => new() { EventId = EventId, Decision = Decision };
    }
}
