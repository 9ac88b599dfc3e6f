using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Host = Hub.Contracts.V1.Host;

namespace Hub.Hosts;

/// <summary>Shows hosts, and ends them: revoke, release, delete.</summary>
internal sealed class HostDirectory(Store store, Presence presence, LinkRegistry links, TimeProvider time)
{
    private const string PageSql = HostRow.SelectSql + """

        and h.team_id = @teamId and (h.name, h.host_id) > (@name, @id) order by h.name, h.host_id limit @limit
        """;

    private const string OneSql = HostRow.SelectSql + "\nand h.team_id = @teamId and h.host_id = @hostId";

    private const string EndLinkSql = "update links set state = @state, ended_at = @now where host_id = @hostId";

    public async Task<(IReadOnlyList<Host> Hosts, string NextPageToken)> ListAsync(
        string teamId, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (name, id) = PageToken.Read(pageToken, "");
        var rows = await store.ReadAsync(
            TeamScope.Of(teamId), reader => reader.QueryAsync<HostRow>(PageSql, new { teamId, name, id, limit = size + 1 }), cancellation);
        var next = rows.Count > size ? PageToken.Of(rows[size - 1].Name, rows[size - 1].HostId) : "";
        return ([.. rows.Take(size).Select(row => presence.Overlay(row).ToHost())], next);
    }

    public async Task<Host> GetAsync(string teamId, string hostId, CancellationToken cancellation) =>
        await store.ReadAsync(
            TeamScope.Of(teamId), reader => reader.QuerySingleOrDefaultAsync<HostRow>(OneSql, new { teamId, hostId }), cancellation) is { } row
            ? presence.Overlay(row).ToHost()
            : throw Access.HostNotFound(hostId);

    /// <summary>Ends every credential and join token of the host, fences its link, and makes the one join token that leads back.</summary>
    public async Task<IssuedJoinToken> RevokeAsync(HostAccess access, CancellationToken cancellation)
    {
        var token = await store.WriteAsync(
            access.TeamId,
            tx =>
            {
                var revoked = new { hostId = access.HostId, now = tx.NowMs };
                tx.Execute("update credentials set revoked_at = @now where host_id = @hostId and revoked_at is null", revoked);
                tx.Execute("update join_tokens set revoked_at = @now where host_id = @hostId and revoked_at is null", revoked);
                tx.Execute(
                    """
                    update hosts set revoked_at = @now, state = 'REVOKED', state_reason = 'REVOKED', state_since = @now where host_id = @hostId
                    """,
                    revoked);
                EndLink(tx, access.HostId);
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => presence.Forget(access.HostId));
                return JoinTokens.Issue(tx, time, access.TeamId, access.HostId, access.Caller.Name);
            },
            cancellation);
        links.End(access.HostId, GoodbyeReason.Revoked, "The host's credential was revoked by a person.");
        return token;
    }

    /// <summary>Ends the quarantine of a host whose identity two nodes used.</summary>
    public Task ReleaseAsync(HostAccess access, CancellationToken cancellation) =>
        store.WriteAsync(
            access.TeamId,
            tx =>
            {
                tx.Execute("update hosts set cloned_since = null where host_id = @hostId", new { hostId = access.HostId });
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => links.Release(access.HostId));
            },
            cancellation);

    /// <summary>Removes a host and its records. Its row stays, so that its node can be told.</summary>
    public async Task DeleteAsync(HostAccess access, CancellationToken cancellation)
    {
        await store.WriteAsync(
            access.TeamId,
            tx =>
            {
                var deleted = new { hostId = access.HostId, now = tx.NowMs };
                foreach (var table in (ReadOnlySpan<string>)
                    ["join_tokens", "tasks", "snapshots", "sync_conflicts", "rejected_deltas", "chat_messages", "commands"])
                {
                    tx.Execute($"delete from {table} where host_id = @hostId", deleted);
                }

                tx.Execute("update credentials set revoked_at = coalesce(revoked_at, @now) where host_id = @hostId", deleted);
                tx.Execute("update hosts set deleted_at = @now, heartbeat = '', node_status = '' where host_id = @hostId", deleted);
                EndLink(tx, access.HostId);
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.HostDeleted), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => presence.Forget(access.HostId));
            },
            cancellation);
        links.End(access.HostId, GoodbyeReason.Deleted, "The host was deleted.");
    }

    /// <summary>Whatever the host's link still sends is refused, on any replica.</summary>
    private static void EndLink(StoreTransaction tx, string hostId)
    {
        tx.RaiseEpoch(hostId);
        tx.Execute(EndLinkSql, new { hostId, now = tx.NowMs, state = LinkState.Ended });
    }
}
