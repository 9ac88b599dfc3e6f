using Grpc.Health.V1;
using Grpc.HealthCheck;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Grpc.AspNetCore.HealthChecks
{
    /// <summary>Hands the results of the application's health checks to the gRPC health service.</summary>
    internal sealed class GrpcHealthChecksPublisher(HealthServiceImpl health) : IHealthCheckPublisher
    {
        public Task PublishAsync(HealthReport report, CancellationToken cancellationToken)
        {
            health.SetStatus(
                "",
                report.Status == HealthStatus.Unhealthy
                    ? HealthCheckResponse.Types.ServingStatus.NotServing
                    : HealthCheckResponse.Types.ServingStatus.Serving);
            return Task.CompletedTask;
        }
    }
}

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds the gRPC health service to an application.</summary>
    public static class GrpcHealthChecksServiceExtensions
    {
        /// <summary>
        /// Adds the gRPC health service. The server counts as serving from the start; health checks that are added to the result change that
        /// with their next run. More services are set on the <see cref="HealthServiceImpl"/> singleton.
        /// </summary>
        public static IHealthChecksBuilder AddGrpcHealthChecks(this IServiceCollection services)
        {
            ArgumentNullException.ThrowIfNull(services);
            services.TryAddSingleton(_ =>
            {
                var health = new HealthServiceImpl();
                health.SetStatus("", HealthCheckResponse.Types.ServingStatus.Serving);
                return health;
            });
            services.TryAddEnumerable(ServiceDescriptor.Singleton<IHealthCheckPublisher, Grpc.AspNetCore.HealthChecks.GrpcHealthChecksPublisher>());
            return services.AddHealthChecks();
        }
    }
}

namespace Microsoft.AspNetCore.Builder
{
    /// <summary>Maps the gRPC health service.</summary>
    public static class GrpcHealthChecksEndpointRouteBuilderExtensions
    {
        /// <summary>Maps grpc.health.v1.Health.</summary>
        public static GrpcServiceEndpointConventionBuilder MapGrpcHealthChecksService(this IEndpointRouteBuilder builder) =>
            builder.MapGrpcService<HealthServiceImpl>();
    }
}
