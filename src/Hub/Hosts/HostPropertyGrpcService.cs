using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Text;

namespace Hub.Hosts;

/// <summary>hub.v1.HostPropertyService: authorises, calls, maps.</summary>
internal sealed class HostPropertyGrpcService(Access access, HostProperties properties, NodeCalls calls)
    : HostPropertyService.HostPropertyServiceBase
{
    public override async Task<ListHostPropertiesResponse> ListHostProperties(ListHostPropertiesRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var all = await properties.ListAsync(host.TeamId, host.HostId, context.CancellationToken);
        return new() { Properties = { all }, Converged = all.All(property => property.Converged) };
    }

    public override async Task<SetHostPropertyResponse> SetHostProperty(SetHostPropertyRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var clean = CleanText.Of(request);
        return new()
        {
            Property = await properties.SetAsync(
                host, clean.Key, clean.Value, clean.HasExpectedGeneration ? clean.ExpectedGeneration : null, context.CancellationToken),
        };
    }

    public override async Task<ClearHostPropertyResponse> ClearHostProperty(ClearHostPropertyRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        await properties.ClearAsync(host, request.Key, context.CancellationToken);
        return new();
    }

    public override async Task<ReportHostPropertiesResponse> ReportHostProperties(ReportHostPropertiesRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        return new() { Properties = { await properties.ReportAsync(host, CleanText.Of(request).Properties, context.CancellationToken) } };
    }
}
