using Google.Api;
using Google.Protobuf;
using Grpc.Core;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>hub.v1.ConnectService: leads new nodes in.</summary>
internal sealed class ConnectGrpcService(
    Access access, Authenticator authenticator, Enrolment enrolment, HostDirectory directory, Presence presence, PublicAddress address)
    : ConnectService.ConnectServiceBase
{
    private const string BootstrapPath = "/api/connect/bootstrap";

    public override async Task<InitConnectResponse> InitConnect(InitConnectRequest request, ServerCallContext context)
    {
        var (teamId, caller) = await access.TeamOrHostAsync(context, request.TeamId, request.HostId, TeamRole.Member);
        if (request.HostName.Length > Enrolment.NameLengthMax)
        {
            throw HubException.InvalidField("host_name", $"A name has at most {Enrolment.NameLengthMax} characters.");
        }

        var token = await enrolment.IssueJoinTokenAsync(
            teamId, request.HostId.Length > 0 ? request.HostId : null, Actor.Of(caller), context.CancellationToken);
        return new()
        {
            RegisterToken = token.ToJoinToken(),
            BootstrapUrl = address.Url + BootstrapPath,
            Instructions = BootstrapText.Of(address.Url, token.Token, request.HostName),
        };
    }

    public override async Task<CompleteConnectResponse> CompleteConnect(CompleteConnectRequest request, ServerCallContext context)
    {
        var node = new NodeDescription(request.Name, request.HostType, request.Capabilities);
        var enrolled = await enrolment.ClaimAsync(request.JoinToken, node, context.CancellationToken);
        await presence.HeardByRestAsync(enrolled.TeamId, enrolled.HostId, isHeartbeat: false, heartbeat: null);
        return new()
        {
            Host = await directory.GetAsync(enrolled.TeamId, enrolled.HostId, context.CancellationToken),
            Credential = enrolled.ToCredential(),
            HubUrl = address.Url,
        };
    }

    public override Task<GetBootstrapResponse> GetBootstrap(GetBootstrapRequest request, ServerCallContext context) =>
        Task.FromResult(new GetBootstrapResponse
        {
            Instructions = new HttpBody { ContentType = BootstrapText.ContentType, Data = ByteString.CopyFromUtf8(BootstrapText.Of(address.Url)) },
        });

    public override async Task<ValidateJoinTokenResponse> ValidateJoinToken(ValidateJoinTokenRequest request, ServerCallContext context)
    {
        var (hostId, expiresAt) = await enrolment.InspectAsync(request.Token, context.CancellationToken);
        return new() { Valid = true, HostId = hostId ?? "", ExpiresAt = EpochMs.ToTimestamp(expiresAt) };
    }

    public override async Task<ValidateApiKeyResponse> ValidateApiKey(ValidateApiKeyRequest request, ServerCallContext context)
    {
        if (request.ApiKey.Length == 0)
        {
            throw HubException.InvalidField("api_key", "Send the API key in apiKey.");
        }

        return await authenticator.AuthenticateAsync($"Bearer {request.ApiKey}", context.CancellationToken) is Principal.ApiKey key
            ? new() { Valid = true, TeamId = key.TeamId }
            : throw new HubException(ErrorReason.CredentialInvalid, "This is no API key.");
    }
}
