using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Turns a bearer token into a principal, with one look-up by hash.</summary>
internal sealed class Authenticator(
    Store store, UserTokens userTokens, Admission admission, TimeProvider time, SupabaseTokens? supabaseTokens = null)
{
    private const string CredentialSql = """
        select c.credential_id, c.team_id, c.host_id, c.secret_hash, c.expires_at, c.revoked_at, h.deleted_at, t.suspended_at
        from credentials c join hosts h on h.host_id = c.host_id join teams t on t.team_id = c.team_id
        where c.secret_hash = @hash
        """;

    private const string HostTeamSql = "select h.team_id from hosts h where h.host_id = @hostId and h.deleted_at is null";

    private const string ApiKeySql = $"""
        select k.api_key_id, k.team_id, k.secret_hash, k.role, t.suspended_at, ({HostTeamSql}) as host_team_id
        from api_keys k join teams t on t.team_id = k.team_id where k.secret_hash = @hash and k.revoked_at is null
        """;

    private const string UserSql = """
        select user_id, email, name from users where user_id = @UserId and (@SessionId is null or exists (
            select 1 from sessions s where s.session_id = @SessionId and s.user_id = @UserId and s.revoked_at is null))
        """;

    private const string TeamsSql = """
        select m.team_id, m.role, t.suspended_at from team_members m join teams t on t.team_id = m.team_id where m.user_id = @UserId
        """;

    /// <summary>The principal behind an <c>authorization</c> header.</summary>
    /// <exception cref="HubException">CREDENTIAL_MISSING, CREDENTIAL_INVALID, CREDENTIAL_REVOKED.</exception>
    /// <exception cref="StoreUnavailableException">The credential could not be looked up: never taken for an invalid one.</exception>
    public async Task<Principal> AuthenticateAsync(string? authorization, CancellationToken cancellation) =>
        (await AuthenticateAsync(authorization, hostId: null, cancellation)).Caller;

    /// <inheritdoc cref="AuthenticateAsync(string?, CancellationToken)"/>
    /// <param name="hostId">A host whose team is looked up with the credential, unless that is a host's own.</param>
    /// <returns>The team is null where there is no such host. Whether the caller may know of it has to be checked.</returns>
    public async Task<(Principal Caller, string? HostTeamId)> AuthenticateAsync(string? authorization, string? hostId, CancellationToken cancellation)
    {
        if (string.IsNullOrEmpty(authorization))
        {
            throw new HubException(ErrorReason.CredentialMissing, "Send a credential: authorization: Bearer <token>.");
        }

        var token = TokenOf(authorization);
        if (token.Length is 0 or > Secret.LengthMax)
        {
            throw Invalid();
        }

        if (token.StartsWith(Secret.HostCredentialPrefix, StringComparison.Ordinal))
        {
            return (await NodeAsync(token, cancellation), null);
        }

        return token.StartsWith(Secret.ApiKeyPrefix, StringComparison.Ordinal)
            ? await ApiKeyAsync(token, hostId, cancellation)
            : await UserAsync(token, hostId, cancellation);
    }

    /// <summary>The token of an authorization header; empty if there is none.</summary>
    public static string TokenOf(string? authorization)
    {
        const string scheme = "Bearer ";
        return authorization is not null && authorization.StartsWith(scheme, StringComparison.OrdinalIgnoreCase)
            ? authorization[scheme.Length..].Trim()
            : "";
    }

    /// <summary>What the store knows of a host credential, dead ones included; null if it never was one.</summary>
    public Task<CredentialRow?> FindCredentialAsync(string token, CancellationToken cancellation) =>
        store.QuerySingleOrDefaultAsync<CredentialRow>(TeamScope.System, CredentialSql, new { hash = Secret.Hash(token) }, cancellation);

    private async Task<Principal> NodeAsync(string token, CancellationToken cancellation)
    {
        var row = await FindCredentialAsync(token, cancellation);
        if (row is null || !Secret.Matches(token, row.SecretHash))
        {
            throw Invalid();
        }

        return row.StateAt(time.GetUtcNow().ToUnixTimeMilliseconds()) switch
        {
            CredentialState.Valid when row.SuspendedAt is not null => throw Access.TeamSuspended(row.TeamId),
            CredentialState.Valid => new Principal.Node(row.TeamId, row.HostId, row.CredentialId),
            CredentialState.Expired => throw Invalid(),
            _ => throw new HubException(ErrorReason.CredentialRevoked, "This credential was revoked. Claim the host again with a new join token."),
        };
    }

    private async Task<(Principal Caller, string? HostTeamId)> ApiKeyAsync(string token, string? hostId, CancellationToken cancellation)
    {
        var row = await store.QuerySingleOrDefaultAsync<ApiKeyRow>(
            TeamScope.System, ApiKeySql, new { hash = Secret.Hash(token), hostId }, cancellation);
        if (row is null || !Secret.Matches(token, row.SecretHash))
        {
            throw Invalid();
        }

        return row.SuspendedAt is null
            ? (new Principal.ApiKey(row.TeamId, row.ApiKeyId, Roles.Parse(row.Role)), row.HostTeamId)
            : throw Access.TeamSuspended(row.TeamId);
    }

    private async Task<(Principal Caller, string? HostTeamId)> UserAsync(string token, string? hostId, CancellationToken cancellation)
    {
        var known = userTokens.Check(token);
        if (known is null && supabaseTokens is not null && await supabaseTokens.CheckAsync(token, cancellation) is { } external)
        {
            known = await TokenOfAsync(external, cancellation);
        }

        return known is not null && await FindUserAsync(known, hostId, cancellation) is ({ } user, var hostTeamId)
            ? (user, hostTeamId)
            : throw Invalid();
    }

    /// <summary>The user behind somebody whom the identity provider knows; who is new here is let in as far as sign-up allows.</summary>
    /// <exception cref="HubException">SIGNUP_CLOSED, EMAIL_TAKEN.</exception>
    public async Task<Principal.User> ExternalAsync(ExternalUser external, CancellationToken cancellation) =>
        await FindUserAsync(await TokenOfAsync(external, cancellation), cancellation) ?? throw Invalid();

    private async Task<UserToken> TokenOfAsync(ExternalUser external, CancellationToken cancellation)
    {
        const string byExternalId = "select user_id from users where external_id = @ExternalId";
        var userId = await store.QuerySingleOrDefaultAsync<string>(TeamScope.System, byExternalId, external, cancellation);
        userId ??= await store.WriteAsync(
            Store.SystemTeam,
            tx => tx.QuerySingleOrDefault<string>(byExternalId, external)
                ?? admission.Admit(tx, new Newcomer(external.Email, external.Email, ExternalId: external.ExternalId)).UserId,
            cancellation);
        return new UserToken(userId, GoodUntil: external.GoodUntil);
    }

    /// <summary>A user with the present roles, or null if there is none (any more), or the token or its session has ended.</summary>
    public async Task<Principal.User?> FindUserAsync(UserToken token, CancellationToken cancellation) =>
        (await FindUserAsync(token, hostId: null, cancellation)).User;

    private async Task<(Principal.User? User, string? HostTeamId)> FindUserAsync(UserToken token, string? hostId, CancellationToken cancellation) =>
        token.GoodUntil <= time.GetUtcNow() ? default : await store.ReadAsync<(Principal.User?, string?)>(
            TeamScope.System,
            async reader =>
            {
                var user = await reader.QuerySingleOrDefaultAsync<UserRow>(UserSql, token);
                if (user is null)
                {
                    return default;
                }

                var teams = await reader.QueryAsync<TeamRow>(TeamsSql, new { token.UserId });
                var caller = new Principal.User(
                    user.UserId, user.Email, teams.ToDictionary(row => row.TeamId, row => Roles.Parse(row.Role)))
                {
                    FullName = user.Name,
                    Token = token,
                    Suspended = teams.Where(row => row.SuspendedAt is not null).Select(row => row.TeamId).ToHashSet(),
                };
                return (caller, hostId is null ? null : await reader.QuerySingleOrDefaultAsync<string>(HostTeamSql, new { hostId }));
            },
            cancellation);

    public async Task<bool> IsLiveAsync(Principal.ApiKey key, CancellationToken cancellation) =>
        await store.QuerySingleOrDefaultAsync<string>(
            TeamScope.Of(key.TeamId),
            "select api_key_id from api_keys where api_key_id = @ApiKeyId and team_id = @TeamId and revoked_at is null",
            new { key.ApiKeyId, key.TeamId },
            cancellation) is not null;

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
        public long? SuspendedAt { get; init; }

        public CredentialState StateAt(long nowMs) =>
            DeletedAt is not null ? CredentialState.HostDeleted
            : RevokedAt is not null ? CredentialState.Revoked
            : ExpiresAt <= nowMs ? CredentialState.Expired
            : CredentialState.Valid;
    }

    private sealed record ApiKeyRow(string ApiKeyId, string TeamId, string SecretHash, string Role, long? SuspendedAt, string? HostTeamId);

    private sealed record TeamRow(string TeamId, string Role, long? SuspendedAt);
}

/// <summary>What is left of a host credential.</summary>
internal enum CredentialState
{
    Valid,
    Expired,
    Revoked,
    HostDeleted,
}
