using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>Keys for scripts.</summary>
internal sealed class ApiKeys(Store store)
{
    /// <summary>Keys of one team that are good.</summary>
    public const int KeysMax = 200;

    /// <returns>The key and its secret, which is not kept.</returns>
    public Task<(ApiKey Key, string Secret)> CreateAsync(
        string teamId, string name, TeamRole role, Actor actor, CancellationToken cancellation)
    {
        Teams.RequireName(name);
        var secret = Secret.New(Secret.ApiKeyPrefix);
        return store.WriteAsync(
            teamId,
            tx =>
            {
                var use = tx.QuerySingle<long>("select count(*) from api_keys where team_id = @teamId and revoked_at is null", new { teamId });
                if (use >= KeysMax)
                {
                    throw Teams.ItemsMax("API keys", KeysMax, use);
                }

                var row = new KeyRow(EntityId.New("key", tx.NowMs), name, role.ToText(), actor.Name, tx.NowMs);
                tx.Execute(
                    """
                    insert into api_keys (api_key_id, team_id, name, secret_hash, role, created_by, created_at)
                    values (@ApiKeyId, @teamId, @Name, @hash, @Role, @CreatedBy, @CreatedAt)
                    """,
                    new { row.ApiKeyId, teamId, row.Name, hash = Secret.Hash(secret), row.Role, row.CreatedBy, row.CreatedAt });
                AuditLog.Append(tx, teamId, actor, AuditAction.ApiKeyCreated, row.ApiKeyId, detail: $"{name} as {row.Role}");
                return (row.ToApiKey(), secret);
            },
            cancellation);
    }

    public async Task<IReadOnlyList<ApiKey>> ListAsync(string teamId, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<KeyRow>(
            TeamScope.Of(teamId),
            $"""
            select api_key_id, name, role, created_by, created_at from api_keys where team_id = @teamId and revoked_at is null
            order by created_at desc, api_key_id desc limit {KeysMax}
            """,
            new { teamId },
            cancellation);
        return [.. rows.Select(row => row.ToApiKey())];
    }

    public Task RevokeAsync(TeamAccess access, string apiKeyId, CancellationToken cancellation) => store.WriteAsync(
        access.TeamId,
        tx =>
        {
            if (tx.Execute(
                "update api_keys set revoked_at = @NowMs where team_id = @TeamId and api_key_id = @apiKeyId and revoked_at is null",
                new { tx.NowMs, access.TeamId, apiKeyId }) == 0)
            {
                throw new HubException(ErrorReason.ApiKeyNotFound, "The team has no such API key.", ("api_key_id", apiKeyId));
            }

            AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.ApiKeyRevoked, apiKeyId);
        },
        cancellation);

    private sealed record KeyRow(string ApiKeyId, string Name, string Role, string CreatedBy, long CreatedAt)
    {
        public ApiKey ToApiKey() => new()
        {
            Id = ApiKeyId,
            Name = Name,
            Role = Roles.Parse(Role).ToMemberRole(),
            CreatedBy = CreatedBy,
            CreatedAt = EpochMs.ToTimestamp(CreatedAt),
        };
    }
}
