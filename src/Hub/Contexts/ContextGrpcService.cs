using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;

namespace Hub.Contexts;

/// <summary>hub.v1.ContextService: what agents are told, one record per agent.</summary>
internal sealed class ContextGrpcService(Access access, RecordIntake intake, RecordPages pages, NodeCalls calls) : ContextService.ContextServiceBase
{
    public override async Task<SyncContextResponse> SyncContext(SyncContextRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var told = new AgentContext
        {
            Agent = request.Agent,
            ComputedAt = request.ComputedAt,
            Budgets = request.Budgets,
            AutosummaryEnabled = request.AutosummaryEnabled,
            Layers = { request.Layers },
        };

        // Also where it is set aside: an error would only make the node send it again.
        await intake.TakeAsync(host, RecordCollections.Contexts, [told], "layers", context.CancellationToken);
        return new() { Ok = true };
    }

    public override async Task<ListContextsResponse> ListContexts(ListContextsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var (contexts, next) = await pages.ListAsync<AgentContext>(
            host, RecordCollections.Contexts, RecordFilter.None, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Contexts = { contexts }, NextPageToken = next };
    }

    public override async Task<GetContextResponse> GetContext(GetContextRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Context = await pages.GetAsync<AgentContext>(host, RecordCollections.Contexts, request.Agent, context.CancellationToken) };
    }
}
