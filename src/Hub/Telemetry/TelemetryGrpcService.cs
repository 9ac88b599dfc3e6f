using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;
using Hub.Text;

namespace Hub.Telemetry;

/// <summary>hub.v1.TelemetryService: takes and shows hearsay.</summary>
internal sealed class TelemetryGrpcService(Access access, TelemetryBoard board) : TelemetryService.TelemetryServiceBase
{
    private const int HostIdLengthMax = 100;

    /// <summary>A REST body has this bound by its rule; by gRPC it is checked here.</summary>
    private const int ReportBytesMax = 32 * 1024;

    public override Task<IngestTelemetryResponse> IngestTelemetry(IngestTelemetryRequest request, ServerCallContext context)
    {
        if (request.HostId.Length > HostIdLengthMax)
        {
            throw HubException.InvalidField("host_id", $"A host id has at most {HostIdLengthMax} characters.");
        }

        var size = request.CalculateSize();
        if (size > ReportBytesMax)
        {
            throw new HubException(
                ErrorReason.RecordTooLarge, $"A report has at most {ReportBytesMax} bytes.", ("limit", $"{ReportBytesMax}"), ("size", $"{size}"));
        }

        board.Take(AddressOf(context.Peer), CleanText.Of(request));
        return Task.FromResult(new IngestTelemetryResponse { Ok = true });
    }

    public override async Task<GetHostTelemetryResponse> GetHostTelemetry(GetHostTelemetryRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return board.Find(host.HostId) is var (report, at)
            ? new() { Report = report, ReceivedAt = EpochMs.ToTimestamp(at) }
            : throw new HubException(ErrorReason.ItemNotFound, "No report names this host.");
    }

    /// <summary>The peer without its port: a new connection is no new sender.</summary>
    private static string AddressOf(string peer) => peer.LastIndexOf(':') is > 0 and var port ? peer[..port] : peer;
}
