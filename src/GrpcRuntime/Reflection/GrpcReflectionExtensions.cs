using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Grpc.Reflection;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection
{
    /// <summary>Adds server reflection to an application.</summary>
    public static class GrpcReflectionServiceExtensions
    {
        /// <summary>Adds server reflection for all gRPC services that are mapped.</summary>
        public static IServiceCollection AddGrpcReflection(this IServiceCollection services)
        {
            ArgumentNullException.ThrowIfNull(services);

            // Made with the first call, when all endpoints are mapped.
            services.TryAddSingleton(provider => new ReflectionServiceImpl(
                provider.GetRequiredService<EndpointDataSource>().Endpoints
                    .Select(endpoint => endpoint.Metadata.GetMetadata<GrpcMethodMetadata>()?.ServiceType)
                    .OfType<Type>()
                    .Distinct()
                    .Select(GeneratedService.FindDescriptor)
                    .OfType<Google.Protobuf.Reflection.ServiceDescriptor>()));
            return services;
        }
    }
}

namespace Microsoft.AspNetCore.Builder
{
    /// <summary>Maps server reflection.</summary>
    public static class GrpcReflectionEndpointRouteBuilderExtensions
    {
        /// <summary>Maps grpc.reflection.v1 and v1alpha; what is done to the result is done to both.</summary>
        public static IEndpointConventionBuilder MapGrpcReflectionService(this IEndpointRouteBuilder builder) =>
            new GrpcServiceEndpointConventionBuilder(
                [builder.MapGrpcService<ReflectionServiceImpl>(), builder.MapGrpcService<ReflectionServiceV1Alpha>()]);
    }
}
