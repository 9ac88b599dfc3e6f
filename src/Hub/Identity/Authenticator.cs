using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Turns a bearer token into a principal, with one look-up by hash.</summary>
internal sealed class Authenticator(Store store, UserTokens userTokens, TimeProvider time)
{
    private const string CredentialSql = """
        select c.credential_id, c.team_id, c.host_id, c.secret_hash, c.expires_at, c.revoked_at, h.deleted_at
        from credentials c join hosts h on h.host_id = c.host_id
        where c.secret_hash = @hash
        """;

    private const string ApiKeySql = """
        select api_key_id, team_id, secret_hash, role from api_keys where secret_hash = @hash and revoked_at is null
        """;

    private const string UserSql = "select user_id, email from users where user_id = @userId";
    private const string TeamsSql = "select team_id, role from team_members where user_id = @userId";

    /// <summary>The principal behind an <c>authorization</c> header.</summary>
    /// <exception cref="HubException">CREDENTIAL_MISSING, CREDENTIAL_INVALID, CREDENTIAL_REVOKED.</exception>
    /// <exception cref="StoreUnavailableException">The credential could not be looked up: never taken for an invalid one.</exception>
    public async Task<Principal> AuthenticateAsync(string? authorization, CancellationToken cancellation)
    {
        const string scheme = "Bearer ";
        if (string.IsNullOrEmpty(authorization))
        {
            throw new HubException(ErrorReason.CredentialMissing, "Send a credential: authorization: Bearer <token>.");
        }

        var token = authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase) ? authorization[scheme.Length..].Trim() : "";
        if (token.Length is 0 or > Secret.LengthMax)
        {
            throw Invalid();
        }

        if (token.StartsWith(Secret.HostCredentialPrefix, StringComparison.Ordinal))
        {
            return await NodeAsync(token, cancellation);
        }

        return token.StartsWith(Secret.ApiKeyPrefix, StringComparison.Ordinal)
            ? await ApiKeyAsync(token, cancellation)
            : await UserAsync(token, cancellation);
    }

    /// <summary>What the store knows of a host credential, dead ones included; null if it never was one.</summary>
    public Task<CredentialRow?> FindCredentialAsync(string token, CancellationToken cancellation) =>
        store.ReadAsync(
            TeamScope.System,
            reader => reader.QuerySingleOrDefaultAsync<CredentialRow>(CredentialSql, new { hash = Secret.Hash(token) }),
            cancellation);

    private async Task<Principal> NodeAsync(string token, CancellationToken cancellation)
    {
        var row = await FindCredentialAsync(token, cancellation);
        if (row is null || !Secret.Matches(token, row.SecretHash))
        {
            throw Invalid();
        }

        return row.StateAt(time.GetUtcNow().ToUnixTimeMilliseconds()) switch
        {
            CredentialState.Valid => new Principal.Node(row.TeamId, row.HostId, row.CredentialId),
            CredentialState.Expired => throw Invalid(),
            _ => throw new HubException(ErrorReason.CredentialRevoked, "This credential was revoked. Claim the host again with a new join token."),
        };
    }

    private async Task<Principal> ApiKeyAsync(string token, CancellationToken cancellation)
    {
        var row = await store.ReadAsync(
            TeamScope.System,
            reader => reader.QuerySingleOrDefaultAsync<ApiKeyRow>(ApiKeySql, new { hash = Secret.Hash(token) }),
            cancellation);
        return row is not null && Secret.Matches(token, row.SecretHash)
            ? new Principal.ApiKey(row.TeamId, row.ApiKeyId, Enum.Parse<TeamRole>(row.Role, ignoreCase: true))
            : throw Invalid();
    }

    private async Task<Principal> UserAsync(string token, CancellationToken cancellation)
    {
        var userId = userTokens.Check(token) ?? throw Invalid();
        return await FindUserAsync(userId, cancellation) ?? throw Invalid();
    }

    /// <summary>A user with the present roles, or null if there is none (any more).</summary>
    public Task<Principal.User?> FindUserAsync(string userId, CancellationToken cancellation) =>
        store.ReadAsync(
            TeamScope.System,
            async reader =>
            {
                var user = await reader.QuerySingleOrDefaultAsync<UserRow>(UserSql, new { userId });
                if (user is null)
                {
                    return null;
                }

                var teams = await reader.QueryAsync<TeamRow>(TeamsSql, new { userId });
                return new Principal.User(
                    user.UserId, user.Email, teams.ToDictionary(row => row.TeamId, row => Enum.Parse<TeamRole>(row.Role, ignoreCase: true)));
            },
            cancellation);


    public Task<bool> IsLiveAsync(Principal.ApiKey key, CancellationToken cancellation) =>
        store.ReadAsync(
            TeamScope.Of(key.TeamId),
            async reader => await reader.QuerySingleOrDefaultAsync<string>(
                "select api_key_id from api_keys where api_key_id = @ApiKeyId and team_id = @TeamId and revoked_at is null",
                new { key.ApiKeyId, key.TeamId }) is not null,
            cancellation);
    private static HubException Invalid() => new(ErrorReason.CredentialInvalid, "The credential is not known or no longer good.");

    internal sealed record CredentialRow
    {
        public required string CredentialId { get; init; }
        public required string TeamId { get; init; }
        public required string HostId { get; init; }
        public required string SecretHash { get; init; }
        public long? ExpiresAt { get; init; }
        public long? RevokedAt { get; init; }
        public long? DeletedAt { get; init; }

        public CredentialState StateAt(long nowMs) =>
            DeletedAt is not null ? CredentialState.HostDeleted
            : RevokedAt is not null ? CredentialState.Revoked
            : ExpiresAt <= nowMs ? CredentialState.Expired
            : CredentialState.Valid;
    }

    private sealed record ApiKeyRow(string ApiKeyId, string TeamId, string SecretHash, string Role);

    private sealed record UserRow(string UserId, string Email);

    private sealed record TeamRow(string TeamId, string Role);
}

/// <summary>What is left of a host credential.</summary>
internal enum CredentialState
{
    Valid,
    Expired,
    Revoked,
    HostDeleted,
}
