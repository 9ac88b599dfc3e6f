using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Storage;

namespace Hub.Links;

/// <summary>What is left to do when a link ends.</summary>
internal sealed partial class LinkEnding(
    Store store, LinkRegistry registry, Presence presence, ILogger<LinkEnding> log)
{
    private const string WhySql = """
        select h.revoked_at, h.deleted_at, t.suspended_at from hosts h join teams t on t.team_id = h.team_id where h.host_id = @hostId
        """;

    /// <summary>The store says that the link's epoch is old: tells the node why.</summary>
    public async Task FencedAsync(Link link)
    {
        try
        {
            var why = await store.QuerySingleOrDefaultAsync<WhyRow>(
                TeamScope.Of(link.Identity.TeamId), WhySql, new { hostId = link.Identity.HostId });
            link.End(
                why switch
                {
                    { DeletedAt: not null } => GoodbyeReason.Deleted,
                    { RevokedAt: not null } => GoodbyeReason.Revoked,
                    { SuspendedAt: not null } => GoodbyeReason.TeamSuspended,
                    _ => GoodbyeReason.TakenOver,
                },
                "The host was revoked or deleted, its team was suspended, or a newer link was opened.");
        }
        catch (StoreUnavailableException)
        {
            link.End(GoodbyeReason.TakenOver, "A newer link of this host was opened.");
        }
    }

    /// <summary>Takes the link out of the registry and, unless another took its place, gives its offers back.</summary>
    public async Task EndedAsync(Link link)
    {
        if (!registry.Remove(link) || link.Identity.Rewound)
        {
            return; // A newer link speaks for the host.
        }

        var draining = link.EndReason is GoodbyeReason.Drain or GoodbyeReason.MaxAge;
        try
        {
            await store.WriteFencedAsync(
                link.Identity.TeamId,
                link.Identity.Fence,
                tx =>
                {
                    tx.Execute(
                        "update links set state = @state, ended_at = @NowMs where host_id = @HostId",
                        new { state = LinkState.Ended, tx.NowMs, link.Identity.HostId });
                    CommandRows.Change(tx, rows => CommandMachine.WithdrawOffers(rows, link.Identity.HostId));
                    presence.LinkEnded(tx, link.Identity.HostId, draining);
                    return true;
                });
            await presence.WriteStateAsync(link.Identity.HostId);
        }
        catch (LinkFencedException)
        {
            // Taken over on another replica, revoked or deleted: the row belongs to somebody else.
        }
        catch (StoreUnavailableException e)
        {
            LogNotEnded(link.Identity.HostId, e.Message); // Offers run out by the clock, the state by silence.
        }
    }

    [LoggerMessage(LogLevel.Debug, "The end of the link of {HostId} was not written: {Cause}", EventName = "LinkEndNotWritten")]
    private partial void LogNotEnded(string hostId, string cause);

    private sealed record WhyRow
    {
        public long? RevokedAt { get; init; }
        public long? DeletedAt { get; init; }
        public long? SuspendedAt { get; init; }
    }
}
