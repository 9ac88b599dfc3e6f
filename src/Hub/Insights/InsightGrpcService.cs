using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;

namespace Hub.Insights;

/// <summary>hub.v1.InsightService: reflections and insights. A node sends its latest 200 again and again; none is deleted by absence.</summary>
internal sealed class InsightGrpcService(Access access, RecordIntake intake, RecordPages pages, NodeCalls calls) : InsightService.InsightServiceBase
{
    public override async Task<SyncReflectionsResponse> SyncReflections(SyncReflectionsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var (taken, rejected, _) = await intake.TakeAsync(
            host, RecordCollections.Reflections, request.Reflections, "reflections", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListReflectionsResponse> ListReflections(ListReflectionsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Agent: request.Author, Level: request.Severity);
        var (reflections, next) = await pages.ListAsync<Reflection>(
            host, RecordCollections.Reflections, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Reflections = { reflections }, NextPageToken = next };
    }

    public override async Task<GetReflectionResponse> GetReflection(GetReflectionRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new()
        {
            Reflection = await pages.GetAsync<Reflection>(
                host, RecordCollections.Reflections, request.ReflectionId, context.CancellationToken),
        };
    }

    public override async Task<SyncInsightsResponse> SyncInsights(SyncInsightsRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var (taken, rejected, _) = await intake.TakeAsync(host, RecordCollections.Insights, request.Insights, "insights", context.CancellationToken);
        return new() { Ok = true, Synced = taken, Rejected = { rejected } };
    }

    public override async Task<ListInsightsResponse> ListInsights(ListInsightsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Status: request.Status, Level: request.Priority);
        var (insights, next) = await pages.ListAsync<Insight>(
            host, RecordCollections.Insights, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Insights = { insights }, NextPageToken = next };
    }

    public override async Task<GetInsightResponse> GetInsight(GetInsightRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Insight = await pages.GetAsync<Insight>(host, RecordCollections.Insights, request.InsightId, context.CancellationToken) };
    }
}
