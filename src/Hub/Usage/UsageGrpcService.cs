using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;

namespace Hub.Usage;

/// <summary>hub.v1.UsageService: the latest snapshot of a node, and the ledger derived from all of them.</summary>
internal sealed class UsageGrpcService(Access access, RecordIntake intake, RecordPages pages, UsageLedger ledger, NodeCalls calls)
    : UsageService.UsageServiceBase
{
    /// <summary>A host has one snapshot.</summary>
    private const string Current = "current";

    public override async Task<SyncUsageResponse> SyncUsage(SyncUsageRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        if (new[] { request.ByAgent.Count, request.ByModel.Count, request.Caps.Count, request.CapStatuses.Count, request.RoutingSuggestions.Count }
            .Any(count => count > RecordIntake.ItemsMax))
        {
            throw HubException.InvalidField("by_agent", $"Send at most {RecordIntake.ItemsMax} items in each list.");
        }
        var snapshot = new UsageSnapshot
        {
            Id = Current,
            Summary = request.Summary,
            ByAgent = { request.ByAgent },
            ByModel = { request.ByModel },
            Caps = { request.Caps },
            CapStatuses = { request.CapStatuses },
            RoutingSuggestions = { request.RoutingSuggestions },
        };

        // Also where it is set aside: an error would only make the node send it again.
        await intake.TakeAsync(host, RecordCollections.UsageSnapshots, [snapshot], "by_agent", context.CancellationToken);
        return new() { Ok = true };
    }

    public override async Task<GetUsageResponse> GetUsage(GetUsageRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new()
        {
            Usage = await pages.GetAsync<UsageSnapshot>(host, RecordCollections.UsageSnapshots, Current, context.CancellationToken),
        };
    }

    public override async Task<ListUsageLedgerResponse> ListUsageLedger(ListUsageLedgerRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return await ledger.ListAsync(host, request, context.CancellationToken);
    }
}
