using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>hub.v1.OrgService: authorises, calls, maps. Who is in a team is for people to decide: API keys are refused there.</summary>
internal sealed class OrgGrpcService(
    Access access, Teams teams, Members members, Invites invites, ApiKeys keys, Onboarding onboarding, HubSettings settings, TimeProvider time)
    : OrgService.OrgServiceBase
{
    public override async Task<CreateOrgResponse> CreateOrg(CreateOrgRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        return new() { Org = await teams.CreateOrgAsync(user, request.Name, context.CancellationToken) };
    }

    public override async Task<ListOrgsResponse> ListOrgs(ListOrgsRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        return new() { Orgs = { await teams.ListOrgsAsync(user.UserId, context.CancellationToken) } };
    }

    public override async Task<CreateTeamResponse> CreateTeam(CreateTeamRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        return new() { Team = await teams.CreateAsync(user, request.OrgId, request.Name, settings.Plan, context.CancellationToken) };
    }

    public override async Task<ListTeamsResponse> ListTeams(ListTeamsRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        return new() { Teams = { await teams.ListAsync(user.UserId, request.OrgId, context.CancellationToken) } };
    }

    public override async Task<GetTeamResponse> GetTeam(GetTeamRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        return new() { Team = await teams.GetAsync(team, context.CancellationToken) };
    }

    public override async Task<UpdateTeamResponse> UpdateTeam(UpdateTeamRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        return new() { Team = await teams.RenameAsync(team, request.Name, context.CancellationToken) };
    }

    public override async Task<ListMembersResponse> ListMembers(ListMembersRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        var (listed, next) = await members.ListAsync(team.TeamId, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Members = { listed }, NextPageToken = next };
    }

    public override async Task<UpdateMemberResponse> UpdateMember(UpdateMemberRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        var role = request.Role.ToTeamRole() ?? throw HubException.InvalidField("role", "Name a role: VIEWER, MEMBER, ADMIN or OWNER.");
        return new() { Member = await members.ChangeRoleAsync(team, request.UserId, role, context.CancellationToken) };
    }

    public override async Task<RemoveMemberResponse> RemoveMember(RemoveMemberRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Viewer);
        if (team.Caller is not Principal.User user || user.UserId != request.UserId)
        {
            Access.Team(team.Caller, team.TeamId, TeamRole.Admin);
        }

        await members.RemoveAsync(team, request.UserId, context.CancellationToken);
        return new();
    }

    public override async Task<CreateInviteResponse> CreateInvite(CreateInviteRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        var role = request.Role.ToTeamRole() ?? TeamRole.Member;
        if (role == TeamRole.Owner)
        {
            Access.Team(team.Caller, team.TeamId, TeamRole.Owner);
        }

        var email = request.Email.Length == 0 ? "" : EmailAddress.Normalised(request.Email);
        var (invite, token, url) = await invites.CreateAsync(team, email, role, context.CancellationToken);
        return new() { Invite = invite, Token = token, Url = url };
    }

    public override async Task<ListInvitesResponse> ListInvites(ListInvitesRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        return new() { Invites = { await invites.ListAsync(team.TeamId, time.NowMs(), context.CancellationToken) } };
    }

    public override async Task<RevokeInviteResponse> RevokeInvite(RevokeInviteRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        await invites.RevokeAsync(team, request.InviteId, context.CancellationToken);
        return new();
    }

    public override async Task<AcceptInviteResponse> AcceptInvite(AcceptInviteRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        var teamId = await invites.AcceptAsync(user, request.Token, context.CancellationToken);
        var team = (await teams.ListAsync(user.UserId, "", context.CancellationToken)).Single(mine => mine.Id == teamId);
        return new() { Team = team };
    }

    public override async Task<CreateApiKeyResponse> CreateApiKey(CreateApiKeyRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        var role = request.Role.ToTeamRole() ?? TeamRole.Member;
        if (role == TeamRole.Owner)
        {
            throw HubException.InvalidField("role", "A key is at most an admin: owners are people.");
        }

        var (key, secret) = await keys.CreateAsync(team.TeamId, request.Name, role, Audit.Actor.Of(team.Caller), context.CancellationToken);
        return new() { ApiKey = key, Secret = secret };
    }

    public override async Task<ListApiKeysResponse> ListApiKeys(ListApiKeysRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        return new() { ApiKeys = { await keys.ListAsync(team.TeamId, context.CancellationToken) } };
    }

    public override async Task<RevokeApiKeyResponse> RevokeApiKey(RevokeApiKeyRequest request, ServerCallContext context)
    {
        var team = await access.PersonAsync(context, request.TeamId, TeamRole.Admin);
        await keys.RevokeAsync(team, request.ApiKeyId, context.CancellationToken);
        return new();
    }

    public override async Task<GetOnboardingResponse> GetOnboarding(GetOnboardingRequest request, ServerCallContext context)
    {
        var user = await access.UserAsync(context);
        var named = request.TeamId.Length > 0 || user.Teams.Count > 0 ? Access.Team(user, request.TeamId, TeamRole.Viewer) : null;
        var team = named is null ? null : await teams.GetAsync(named, context.CancellationToken);
        var orgs = await teams.ListOrgsAsync(user.UserId, context.CancellationToken);
        return await onboarding.ShowAsync(
            orgs.FirstOrDefault(org => team is null || org.Id == team.OrgId), team, context.CancellationToken);
    }
}
