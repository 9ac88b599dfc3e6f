using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;

namespace Hub.Runs;

/// <summary>hub.v1.RunService: runs of agents, their events, trust events, and what waits for a person.</summary>
internal sealed class RunGrpcService(
    Access access, RecordIntake intake, RecordPages pages, RunApprovals approvals, RunDecisions decisions, NodeCalls calls, TimeProvider time)
    : RunService.RunServiceBase
{
    private const string Approve = "approve";
    private const string Reject = "reject";

    public override async Task<SyncRunsResponse> SyncRuns(SyncRunsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var (taken, rejected, _) = await intake.TakeAsync(host, RecordCollections.Runs, request.Runs, "runs", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListRunsResponse> ListRuns(ListRunsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Status: request.Status, Agent: request.AgentId);
        var (runs, next) = await pages.ListAsync<AgentRun>(
            host, RecordCollections.Runs, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Runs = { runs }, NextPageToken = next };
    }

    public override async Task<GetRunResponse> GetRun(GetRunRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Run = await pages.GetAsync<AgentRun>(host, RecordCollections.Runs, request.RunId, context.CancellationToken) };
    }

    public override async Task<PushRunEventsResponse> PushRunEvents(PushRunEventsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        foreach (var step in request.Events.Where(step => step.RunId.Length == 0))
        {
            step.RunId = request.RunId;
        }

        var (taken, rejected, _) = await intake.TakeAsync(host, RecordCollections.RunEvents, request.Events, "events", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListRunEventsResponse> ListRunEvents(ListRunEventsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Status: request.Type, ParentId: request.RunId);
        var (events, next) = await pages.ListAsync<RunEvent>(
            host, RecordCollections.RunEvents, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Events = { events }, NextPageToken = next };
    }

    public override async Task<SyncTrustEventsResponse> SyncTrustEvents(SyncTrustEventsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var (taken, rejected, _) = await intake.TakeAsync(host, RecordCollections.TrustEvents, request.Events, "events", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListTrustEventsResponse> ListTrustEvents(ListTrustEventsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Agent: request.AgentId, Level: request.Severity);
        var (events, next) = await pages.ListAsync<TrustEvent>(
            host, RecordCollections.TrustEvents, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Events = { events }, NextPageToken = next };
    }

    public override async Task<SyncRunApprovalsResponse> SyncRunApprovals(SyncRunApprovalsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        if (request.Items.Count <= RecordIntake.ItemsMax)
        {
            approvals.Named(host, request.Items.Select(item => item.EventId).Where(id => id.Length <= RecordCollection.ShortTextMax));
        }

        var (taken, rejected, _) = await intake.TakeAsync(host, RecordCollections.RunApprovals, request.Items, "items", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListRunApprovalsResponse> ListRunApprovals(ListRunApprovalsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Agent: request.AgentId, Level: request.Urgency);
        var (items, next) = await pages.ListAsync<RunApproval>(
            host, RecordCollections.RunApprovals, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Items = { items }, NextPageToken = next };
    }

    public override async Task<ListDecisionsResponse> ListDecisions(ListDecisionsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Decisions = { await decisions.WaitingAsync(host, time.NowMs(), context.CancellationToken) } };
    }

    public override async Task<CreateDecisionResponse> CreateDecision(CreateDecisionRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        if (request.Decision is not (Approve or Reject))
        {
            throw HubException.InvalidField("decision", $"A decision is \"{Approve}\" or \"{Reject}\".");
        }

        await pages.GetAsync<RunApproval>(host, RecordCollections.RunApprovals, request.EventId, context.CancellationToken);
        return new() { Decision = await decisions.DecideAsync(host, request.EventId, request.Decision, context.CancellationToken) };
    }

    public override async Task<AckDecisionsResponse> AckDecisions(AckDecisionsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        if (request.EventIds.Count > RecordIntake.ItemsMax)
        {
            throw HubException.InvalidField("event_ids", $"Name at most {RecordIntake.ItemsMax} events at once.");
        }

        var acked = request.EventIds.Count == 0 ? 0 : await decisions.AckAsync(host, request.EventIds, context.CancellationToken);
        return new() { Ok = true, Acked = acked };
    }
}
