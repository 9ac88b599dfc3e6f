using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Text;

namespace Hub.Hosts;

/// <summary>hub.v1.HostConfigService: authorises, calls, maps.</summary>
internal sealed class HostConfigGrpcService(Access access, HostConfiguration configuration, NodeCalls calls)
    : HostConfigService.HostConfigServiceBase
{
    public override async Task<GetHostConfigResponse> GetHostConfig(GetHostConfigRequest request, ServerCallContext context)
    {
        var host = await ReadableAsync(context, request.HostId, TeamRole.Viewer);
        return await configuration.ReadAsync(host, context.CancellationToken);
    }

    public override async Task<ListHostSecretsResponse> ListHostSecrets(ListHostSecretsRequest request, ServerCallContext context)
    {
        var host = await ReadableAsync(context, request.HostId, TeamRole.Admin);
        return new() { Secrets = { await configuration.SecretsAsync(host, context.CancellationToken) } };
    }

    public override async Task<PutHostSecretResponse> PutHostSecret(PutHostSecretRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        return new() { Secret = await configuration.PutSecretAsync(host, CleanText.Of(request), context.CancellationToken) };
    }

    public override async Task<DeleteHostSecretResponse> DeleteHostSecret(DeleteHostSecretRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        await configuration.DeleteSecretAsync(host, request.Name, request.Scope, context.CancellationToken);
        return new();
    }

    public override async Task<ListHostWebhooksResponse> ListHostWebhooks(ListHostWebhooksRequest request, ServerCallContext context)
    {
        var host = await ReadableAsync(context, request.HostId, TeamRole.Viewer);
        return new() { Webhooks = { await configuration.WebhooksAsync(host, context.CancellationToken) } };
    }

    public override async Task<PutHostWebhookResponse> PutHostWebhook(PutHostWebhookRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        var clean = CleanText.Of(request);
        var webhook = new HostWebhook
        {
            Id = clean.WebhookId,
            Provider = clean.Provider,
            Events = { clean.Events },
            SigningSecretName = clean.SigningSecretName,
            Active = !clean.HasActive || clean.Active,
        };
        await configuration.PutWebhookAsync(host, webhook, context.CancellationToken);
        return new() { Webhook = webhook };
    }

    public override async Task<DeleteHostWebhookResponse> DeleteHostWebhook(DeleteHostWebhookRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Admin);
        await configuration.DeleteWebhookAsync(host, request.WebhookId, context.CancellationToken);
        return new();
    }

    /// <summary>The host's own node, whose call is a contact, or a person who may read it.</summary>
    private async Task<HostAccess> ReadableAsync(ServerCallContext context, string hostId, TeamRole role)
    {
        var host = await access.HostAsync(context, hostId, role, node: true);
        await calls.HeardAsync(host);
        return host;
    }
}
