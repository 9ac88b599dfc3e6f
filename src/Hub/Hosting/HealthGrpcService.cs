using System.Reflection;
using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.Hosting;

/// <summary>hub.v1.HealthService: the preflight of reflectt-node.</summary>
internal sealed class HealthGrpcService : HealthService.HealthServiceBase
{
    private static readonly string Version =
        typeof(HealthGrpcService).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    public override Task<GetHealthResponse> GetHealth(GetHealthRequest request, ServerCallContext context) =>
        Task.FromResult(new GetHealthResponse { Ok = true, Version = Version });
}
