using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;

namespace Hub.Capabilities;

/// <summary>hub.v1.CapabilityService: authorises, calls, maps.</summary>
internal sealed class CapabilityGrpcService(Access access, TeamCapabilities capabilities, NodeCalls calls, TimeProvider time)
    : CapabilityService.CapabilityServiceBase
{
    /// <summary>Nodes ask every 50 minutes, so that a token that was replaced is in use within an hour.</summary>
    private static readonly TimeSpan AskAgainWithin = TimeSpan.FromHours(1);

    public override async Task<ListCapabilitiesResponse> ListCapabilities(ListCapabilitiesRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        return new() { Capabilities = { await capabilities.ListAsync(team.TeamId, context.CancellationToken) } };
    }

    public override async Task<EnableCapabilityResponse> EnableCapability(EnableCapabilityRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        return new() { Capability = await capabilities.EnableAsync(team, request.Name, request.Credentials, context.CancellationToken) };
    }

    public override async Task<DisableCapabilityResponse> DisableCapability(DisableCapabilityRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        await capabilities.DisableAsync(team, request.Name, context.CancellationToken);
        return new();
    }

    public override async Task<GetCapabilityContextResponse> GetCapabilityContext(GetCapabilityContextRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        return await capabilities.ContextAsync(host.TeamId, context.CancellationToken);
    }

    public override async Task<GetGithubTokenResponse> GetGithubToken(GetGithubTokenRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var token = await capabilities.CredentialAsync(
            host.TeamId, CapabilityCatalogue.Github, CapabilityCatalogue.GithubToken, context.CancellationToken);
        return new()
        {
            Token = token ?? throw new HubException(ErrorReason.GithubNotConnected, "github not connected"),
            ExpiresAt = (time.GetUtcNow() + AskAgainWithin).ToTimestamp(),
        };
    }
}
