using System.Reflection;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Storage;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Hub.Hosting;

/// <summary>hub.v1.HealthService: the preflight of reflectt-node.</summary>
internal sealed class HealthGrpcService : HealthService.HealthServiceBase
{
    private static readonly string Version =
        typeof(HealthGrpcService).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? "";

    public override Task<GetHealthResponse> GetHealth(GetHealthRequest request, ServerCallContext context) =>
        Task.FromResult(new GetHealthResponse { Ok = true, Version = Version });
}

/// <summary>Ready means that the store answers.</summary>
internal sealed class StoreHealth(Store store) : IHealthCheck
{
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            await store.ReadAsync(TeamScope.System, reader => reader.QuerySingleAsync<long>("select count(*) from teams"), cancellationToken);
            return HealthCheckResult.Healthy();
        }
        catch (StoreUnavailableException e)
        {
            return HealthCheckResult.Unhealthy("The store cannot be reached.", e);
        }
    }
}
