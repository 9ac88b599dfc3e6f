using Google.Protobuf.WellKnownTypes;
using Hub.Audit;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Host = Hub.Contracts.V1.Host;

namespace Hub.Hosts;

/// <summary>Shows hosts, renames and labels them, and ends them: revoke, release, delete.</summary>
internal sealed class HostDirectory(Store store, Presence presence, LinkRegistry links, CloneQuarantine quarantine, TimeProvider time)
{
    /// <summary>Commands ended in one job when their host is deleted.</summary>
    private const int RemovedBatchMax = 500;

    private const string PageSql = HostRow.SelectSql + """

        and h.team_id = @teamId and (h.name, h.host_id) > (@name, @id) order by h.name, h.host_id limit @limit
        """;

    private const string HasDrift =
        $"exists (select 1 from host_properties p where p.host_id = h.host_id and {HostProperties.DriftCondition})";

    private const string DriftSql =
        $"select {PropertyRow.Columns} from host_properties p where p.team_id = @teamId and {HostProperties.DriftCondition}";

    internal const string ActivitySql = """
        select e.seq, e.kind, e.entity_id, e.version, e.at from hosts h cross join events e
        where h.team_id = @teamId and h.host_id = @hostId and e.host_id = h.host_id and e.seq < @before order by e.seq desc limit @limit
        """;

    private const string OneSql = HostRow.SelectSql + "\nand h.team_id = @teamId and h.host_id = @hostId";

    private const string EndLinkSql = "update links set state = @state, ended_at = @now where host_id = @hostId";

    public async Task<(IReadOnlyList<Host> Hosts, string NextPageToken)> ListAsync(
        string teamId, bool? converged, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (name, id) = PageToken.Read(pageToken, "");
        var sql = converged switch
        {
            null => PageSql,
            true => PageSql.Replace("order by", $"and not {HasDrift} order by", StringComparison.Ordinal),
            false => PageSql.Replace("order by", $"and {HasDrift} order by", StringComparison.Ordinal),
        };
        return await store.ReadAsync(
            TeamScope.Of(teamId),
            async reader =>
            {
                var rows = await reader.QueryAsync<HostRow>(sql, new { teamId, name, id, limit = size + 1 });
                var next = rows.Count > size ? PageToken.Of(rows[size - 1].Name, rows[size - 1].HostId) : "";
                return (await ShowAsync(reader, teamId, [.. rows.Take(size)]), next);
            },
            cancellation);
    }

    public async Task<Host> GetAsync(string teamId, string hostId, CancellationToken cancellation) =>
        await store.ReadAsync(
            TeamScope.Of(teamId),
            async reader => await reader.QuerySingleOrDefaultAsync<HostRow>(OneSql, new { teamId, hostId }) is { } row
                ? (await ShowAsync(reader, teamId, [row]))[0]
                : throw Access.HostNotFound(hostId),
            cancellation);

    /// <summary>Renames a host and sets its labels; what is null stays.</summary>
    public Task UpdateAsync(HostAccess access, string? name, Struct? labels, CancellationToken cancellation) =>
        store.WriteAsync(
            access.TeamId,
            tx =>
            {
                if (name is not null)
                {
                    tx.Execute(
                        "update hosts set name = @name, name_set_at = @NowMs where host_id = @HostId", new { name, tx.NowMs, access.HostId });
                    AuditLog.Append(
                        tx, access.TeamId, Actor.Of(access.Caller), AuditAction.HostRenamed, access.HostId, access.HostId, name);
                    tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), access.HostId, access.HostId, 0);
                }

                if (labels is not null)
                {
                    HostProperties.Desire(
                        tx, access, HostProperties.Labels, labels.Fields.Count == 0 ? null : StoredJson.Write(Value.ForStruct(labels)));
                }
            },
            cancellation);

    /// <summary>What changed on a host, the latest first.</summary>
    public async Task<(IReadOnlyList<HostActivity> Activities, string NextPageToken)> ActivityAsync(
        HostAccess access, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (before, _) = PageToken.Read(pageToken, long.MaxValue);
        var rows = await store.QueryAsync<ActivityRow>(
            TeamScope.Of(access.TeamId),
            ActivitySql,
            new { teamId = access.TeamId, hostId = access.HostId, before, limit = size + 1 },
            cancellation);
        return (
            [.. rows.Take(size).Select(row => row.ToActivity())],
            rows.Count > size ? PageToken.Of(rows[size - 1].Seq, "") : "");
    }

    /// <summary>Ends every credential and join token of the host, fences its link, and makes the one join token that leads back.</summary>
    public async Task<IssuedJoinToken> RevokeAsync(HostAccess access, CancellationToken cancellation)
    {
        var token = await store.WriteAsync(
            access.TeamId,
            tx =>
            {
                EndLink(tx, access.HostId); // First: a claim on another replica waits for this row, or is waited for.
                var revoked = new { hostId = access.HostId, now = tx.NowMs };
                tx.Execute("update credentials set revoked_at = @now where host_id = @hostId and revoked_at is null", revoked);
                tx.Execute("update join_tokens set revoked_at = @now where host_id = @hostId and revoked_at is null", revoked);
                tx.Execute(
                    """
                    update hosts set revoked_at = @now, state = 'REVOKED', state_reason = 'REVOKED', state_since = @now where host_id = @hostId
                    """,
                    revoked);
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => presence.Forget(access.HostId));
                AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.CredentialRevoked, access.HostId, access.HostId);
                return JoinTokens.Issue(tx, time, access.TeamId, access.HostId, Actor.Of(access.Caller));
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
                AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.HostReleased, access.HostId, access.HostId);
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => quarantine.Release(access.HostId));
            },
            cancellation);

    /// <summary>
    /// Removes a host: from here on nobody finds it or its node's records, which <see cref="HostErasure"/> erases. Its row stays, so that its
    /// node can be told.
    /// </summary>
    public async Task DeleteAsync(HostAccess access, CancellationToken cancellation)
    {
        await store.WriteAsync(
            access.TeamId,
            tx =>
            {
                EndLink(tx, access.HostId); // First, as for a revocation.
                var deleted = new { hostId = access.HostId, now = tx.NowMs };
                foreach (var table in (ReadOnlySpan<string>)["join_tokens", "host_properties", "host_secrets", "host_webhooks"])
                {
                    tx.Execute($"delete from {table} where host_id = @hostId", deleted);
                }

                tx.Execute("update credentials set revoked_at = coalesce(revoked_at, @now) where host_id = @hostId", deleted);
                tx.Execute("update hosts set deleted_at = @now, erase_at = @now, heartbeat = '', node_status = '' where host_id = @hostId", deleted);
                AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.HostDeleted, access.HostId, access.HostId);
                tx.AppendEvent(access.TeamId, EnumText<WatchKind>.Of(WatchKind.HostDeleted), access.HostId, access.HostId, 0);
                tx.OnCommitted(() => presence.Forget(access.HostId));
            },
            cancellation);
        links.End(access.HostId, GoodbyeReason.Deleted, "The host was deleted.");

        // After the fence: from here on neither the node nor anybody else moves them. They stay for as long as watchers may read of them.
        while (await store.WriteAsync(
            access.TeamId,
            tx => CommandRows.Change(tx, rows => CommandMachine.HostRemoved(rows, access.HostId, RemovedBatchMax)), cancellation) == RemovedBatchMax)
        {
            cancellation.ThrowIfCancellationRequested();
        }
    }

    /// <summary>Hosts with what is not as people want it.</summary>
    private async Task<IReadOnlyList<Host>> ShowAsync(StoreReader reader, string teamId, IReadOnlyList<HostRow> rows)
    {
        var hosts = rows.Select(row => presence.Overlay(row).ToHost()).ToArray();
        var drifting = hosts.Where(host => !host.Converged).ToDictionary(host => host.Id, StringComparer.Ordinal);
        if (drifting.Count > 0)
        {
            var properties = await reader.QueryAsync<PropertyRow>(
                $"{DriftSql} and {reader.Dialect.In("p.host_id", "ids")} order by p.host_id, p.name",
                new { teamId, ids = reader.Dialect.InValue(drifting.Keys) });
            foreach (var property in properties)
            {
                drifting[property.HostId].Drift.Add(property.ToProperty());
            }
        }

        return hosts;
    }

    /// <summary>Whatever the host's link still sends is refused, on any replica.</summary>
    private static void EndLink(StoreTransaction tx, string hostId)
    {
        tx.RaiseEpoch(hostId);
        tx.Execute(EndLinkSql, new { hostId, now = tx.NowMs, state = LinkState.Ended });
    }

    private sealed record ActivityRow(long Seq, string Kind, string EntityId, long Version, long At)
    {
        public HostActivity ToActivity() => new() { Kind = Kind, EntityId = EntityId, Version = Version, At = EpochMs.ToTimestamp(At) };
    }
}
