using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Limits;

namespace Hub.Identity;

/// <summary>A caller that may act on one team.</summary>
internal sealed record TeamAccess(string TeamId, Principal Caller);

/// <summary>A caller that may act on one host.</summary>
internal sealed record HostAccess(string TeamId, string HostId, Principal Caller)
{
    /// <summary>The caller is the host's own node.</summary>
    public bool IsNode => Caller is Principal.Node;
}

/// <summary>
/// Decides who may do what. A node that asks for anything but its own host is told NOT_FOUND, never PERMISSION_DENIED: real nodes take
/// a 403 for a dead credential and claim again for ever.
/// </summary>
internal sealed class Access(Authenticator authenticator, RateLimits rates)
{
    public async Task<Principal> CallerAsync(ServerCallContext context) => (await CallerAsync(context, hostId: null)).Caller;

    /// <summary>A person, whatever the team.</summary>
    public async Task<Principal.User> UserAsync(ServerCallContext context) => await CallerAsync(context) switch
    {
        Principal.User user => user,
        Principal.Node => throw new HubException(ErrorReason.UserNotFound, "A host is no user; its own record is GET /api/hosts/{host_id}."),
        _ => throw new HubException(ErrorReason.PrincipalNotAllowed, "This is for people: sign in and send the access token."),
    };

    /// <summary>A member of the host's team with at least <paramref name="role"/>, or the host's own node where it may.</summary>
    public async Task<HostAccess> HostAsync(ServerCallContext context, string hostId, TeamRole role, bool node = false)
    {
        var (caller, teamId) = await CallerAsync(context, hostId);
        if (caller is Principal.Node own)
        {
            return node && own.HostId == hostId ? new HostAccess(own.TeamId, hostId, caller) : throw HostNotFound(hostId);
        }

        if (teamId is null || RoleIn(caller, teamId) is not { } held)
        {
            throw HostNotFound(hostId);
        }

        Require(held, role);
        rates.CalledIn(teamId);
        RequireNotSuspended(caller, teamId);
        return new HostAccess(teamId, hostId, caller);
    }

    /// <summary>The host's own node and nobody else.</summary>
    public async Task<HostAccess> NodeAsync(ServerCallContext context, string hostId)
    {
        var access = await HostAsync(context, hostId, TeamRole.Viewer, node: true);
        return access.IsNode
            ? access
            : throw new HubException(ErrorReason.PrincipalNotAllowed, "Only the host itself reports this, with its host credential.");
    }

    /// <summary>A member with at least <paramref name="role"/> of the named team, or of the caller's only one.</summary>
    public async Task<TeamAccess> TeamAsync(ServerCallContext context, string teamId, TeamRole role)
    {
        var team = Team(await CallerAsync(context), teamId, role);
        rates.CalledIn(team.TeamId);
        return team;
    }

    /// <summary>As <see cref="TeamAsync"/>, for what people decide among themselves: API keys are refused.</summary>
    public async Task<TeamAccess> PersonAsync(ServerCallContext context, string teamId, TeamRole role)
    {
        var access = await TeamAsync(context, teamId, role);
        return access.Caller is Principal.User
            ? access
            : throw new HubException(ErrorReason.PrincipalNotAllowed, "This is for people: sign in and send the access token.");
    }

    /// <summary>As for the host where one is named, else as for the team.</summary>
    public async Task<TeamAccess> TeamOrHostAsync(ServerCallContext context, string teamId, string hostId, TeamRole role) =>
        hostId.Length > 0 && await HostAsync(context, hostId, role) is var host
            ? new TeamAccess(host.TeamId, host.Caller)
            : await TeamAsync(context, teamId, role);

    public static TeamAccess Team(Principal caller, string teamId, TeamRole role)
    {
        if (teamId.Length == 0)
        {
            teamId = caller switch
            {
                Principal.ApiKey key => key.TeamId,
                Principal.User { Teams.Count: 1 } user => user.Teams.Keys.First(),
                Principal.User { Teams.Count: > 1 } => throw new HubException(
                    ErrorReason.TeamRequired, "You belong to several teams: name one in team_id."),
                _ => throw TeamNotFound(teamId),
            };
        }

        Require(RoleIn(caller, teamId) ?? throw TeamNotFound(teamId), role);
        RequireNotSuspended(caller, teamId);
        return new TeamAccess(teamId, caller);
    }

    /// <param name="hostId">A host whose team is looked up with the caller; null for none.</param>
    private async Task<(Principal Caller, string? HostTeamId)> CallerAsync(ServerCallContext context, string? hostId)
    {
        var found = await authenticator.AuthenticateAsync(context.RequestHeaders.GetValue("authorization"), hostId, context.CancellationToken);
        rates.Called(found.Caller);
        return found;
    }

    private static TeamRole? RoleIn(Principal caller, string teamId) => caller switch
    {
        Principal.User user when user.Teams.TryGetValue(teamId, out var role) => role,
        Principal.ApiKey key when key.TeamId == teamId => key.Role,
        _ => null,
    };

    private static void Require(TeamRole held, TeamRole needed)
    {
        if (held < needed)
        {
            throw new HubException(
                ErrorReason.RoleRequired, $"This needs the role {needed} in the team; yours is {held}.",
                ("required_role", needed.ToString()), ("role", held.ToString()));
        }
    }

    /// <summary>Nodes and API keys of a suspended team do not get past the look-up of their credential.</summary>
    private static void RequireNotSuspended(Principal caller, string teamId)
    {
        if (caller is Principal.User user && user.Suspended.Contains(teamId))
        {
            throw TeamSuspended(teamId);
        }
    }

    public static HubException TeamSuspended(string teamId) =>
        new(ErrorReason.TeamSuspended, "The team is suspended; its operator can resume it.", ("team_id", teamId));

    public static HubException HostNotFound(string hostId) =>
        new(ErrorReason.HostNotFound, "There is no such host.", ("host_id", hostId));

    private static HubException TeamNotFound(string teamId) =>
        new(ErrorReason.TeamNotFound, "There is no such team.", ("team_id", teamId));
}
