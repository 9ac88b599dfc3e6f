using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Identity;

namespace Hub.Relays;

/// <summary>hub.v1.RelayService: what the operator's relay does for nodes.</summary>
internal sealed class RelayGrpcService(Access access, RelayClient relay) : RelayService.RelayServiceBase
{
    private const string Sessions = "browser/sessions";

    public override async Task<SendEmailResponse> SendEmail(SendEmailRequest request, ServerCallContext context)
    {
        var host = await CallingAsync(context, request.HostId);
        return new() { Answer = await relay.PostAsync(host, "email", request.Message, context.CancellationToken) };
    }

    public override async Task<SendSmsResponse> SendSms(SendSmsRequest request, ServerCallContext context)
    {
        var host = await CallingAsync(context, request.HostId);
        return new() { Answer = await relay.PostAsync(host, "sms", request.Message, context.CancellationToken) };
    }

    public override async Task<ListBrowserSessionsResponse> ListBrowserSessions(ListBrowserSessionsRequest request, ServerCallContext context)
    {
        var host = await access.NodeAsync(context, request.HostId);
        string?[] query =
        [
            request.Status.Length > 0 ? $"status={Uri.EscapeDataString(request.Status)}" : null,
            request.Limit > 0 ? $"limit={request.Limit}" : null,
            request.Offset > 0 ? $"offset={request.Offset}" : null,
        ];
        var path = $"{Sessions}?{string.Join('&', query.Where(part => part is not null))}".TrimEnd('?');
        return new() { Answer = await relay.GetAsync(host, path, context.CancellationToken) };
    }

    public override async Task<CreateBrowserSessionResponse> CreateBrowserSession(CreateBrowserSessionRequest request, ServerCallContext context)
    {
        var host = await access.NodeAsync(context, request.HostId);
        return new() { Answer = await relay.PostAsync(host, Sessions, request.Session, context.CancellationToken) };
    }

    public override async Task<StartBrowserRunResponse> StartBrowserRun(StartBrowserRunRequest request, ServerCallContext context)
    {
        var host = await access.NodeAsync(context, request.HostId);
        var path = $"{Sessions}/{Uri.EscapeDataString(request.SessionId)}/runs";
        return new() { Answer = await relay.PostAsync(host, path, request.Run, context.CancellationToken) };
    }

    /// <summary>The host itself; a node that does not know its id leaves it out.</summary>
    private async Task<HostAccess> CallingAsync(ServerCallContext context, string hostId) =>
        hostId.Length == 0 && await access.CallerAsync(context) is Principal.Node node
            ? new HostAccess(node.TeamId, node.HostId, node)
            : await access.NodeAsync(context, hostId);
}
