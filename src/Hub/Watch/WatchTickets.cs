using System.Text.Json;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Watch;

/// <summary>Single-use tickets that open one Watch without a header: a browser's EventSource cannot send one.</summary>
internal sealed class WatchTickets(Store store, Authenticator authenticator)
{
    private const long ValidMs = 60_000;

    public Task<(string Ticket, long ExpiresAt)> IssueAsync(TeamAccess access, CancellationToken cancellation)
    {
        var holder = access.Caller switch
        {
            Principal.User user => new Holder(user.Token, null, TeamRole.Viewer),
            Principal.ApiKey key => new Holder(null, key.ApiKeyId, key.Role),
            _ => throw new HubException(ErrorReason.PrincipalNotAllowed, "Tickets are for people and scripts."),
        };
        var ticket = Secret.New(Secret.WatchTicketPrefix);
        return store.WriteAsync(
            access.TeamId,
            tx =>
            {
                tx.Execute("delete from watch_tickets where expires_at <= @NowMs", new { tx.NowMs });
                var expiresAt = tx.NowMs + ValidMs;
                tx.Execute(
                    """
                    insert into watch_tickets (ticket_hash, team_id, principal, expires_at) values (@hash, @TeamId, @principal, @expiresAt)
                    """,
                    new { hash = Secret.Hash(ticket), access.TeamId, principal = JsonSerializer.Serialize(holder), expiresAt });
                return (ticket, expiresAt);
            },
            cancellation);
    }

    /// <summary>Uses a ticket up.</summary>
    /// <exception cref="HubException">TICKET_INVALID.</exception>
    public async Task<TeamAccess> RedeemAsync(string ticket, CancellationToken cancellation)
    {
        var row = ticket.Length > Secret.LengthMax ? null : await store.WriteAsync(
            Store.SystemTeam,
            tx => tx.QuerySingleOrDefault<TicketRow>(
                "delete from watch_tickets where ticket_hash = @hash and expires_at > @NowMs returning team_id, principal",
                new { hash = Secret.Hash(ticket), tx.NowMs }),
            cancellation);
        if (row is null || JsonSerializer.Deserialize<Holder>(row.Principal) is not { } holder)
        {
            throw new HubException(ErrorReason.TicketInvalid, "The ticket is not known, was used, or is older than 60 s; make a new one.");
        }

        Principal? caller = holder.Token is not null
            ? await authenticator.FindUserAsync(holder.Token, cancellation)
            : await LiveKeyAsync(new Principal.ApiKey(row.TeamId, holder.ApiKeyId!, holder.Role), cancellation);
        return caller is null
            ? throw new HubException(ErrorReason.TicketInvalid, "The ticket's user, access token or API key is gone.")
            : Access.Team(caller, row.TeamId, TeamRole.Viewer);
    }

    private async Task<Principal?> LiveKeyAsync(Principal.ApiKey key, CancellationToken cancellation) =>
        await authenticator.IsLiveAsync(key, cancellation) ? key : null;

    /// <param name="Token">The user's, with which the watch ends.</param>
    /// <param name="ApiKeyId">The key's id.</param>
    /// <param name="Role">The key's role.</param>
    private sealed record Holder(UserToken? Token, string? ApiKeyId, TeamRole Role);

    private sealed record TicketRow(string TeamId, string Principal);
}
