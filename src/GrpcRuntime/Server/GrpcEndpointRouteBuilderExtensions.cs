using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps gRPC services to endpoints.</summary>
public static class GrpcEndpointRouteBuilderExtensions
{
    /// <summary>Maps every method of a service that a method provider finds.</summary>
    /// <typeparam name="TService">The service class; it needs no registration.</typeparam>
    public static GrpcServiceEndpointConventionBuilder MapGrpcService<TService>(this IEndpointRouteBuilder builder)
        where TService : class
    {
        ArgumentNullException.ThrowIfNull(builder);
        var services = builder.ServiceProvider;
        var handlers = services.GetService<ServerCallHandlerFactory<TService>>()
            ?? throw new InvalidOperationException("The gRPC server is missing: call AddGrpc on the services first.");
        var context = new ServiceMethodProviderContext<TService>(handlers);
        foreach (var provider in services.GetServices<IServiceMethodProvider<TService>>())
        {
            provider.OnServiceMethodDiscovery(context);
        }

        if (context.Methods.Count == 0)
        {
            throw new InvalidOperationException($"{typeof(TService)} has no gRPC methods: it has to derive from a generated service base class.");
        }

        if (services.GetRequiredService<IOptions<GrpcServiceOptions>>().Value.IgnoreUnknownServices != true)
        {
            services.GetRequiredService<UnimplementedEndpoint>().MapOnce(builder);
        }

        return new GrpcServiceEndpointConventionBuilder([.. context.Methods.Select(method => Map<TService>(builder, method))]);
    }

    private static IEndpointConventionBuilder Map<TService>(IEndpointRouteBuilder builder, MethodModel method)
    {
        var endpoint = builder.Map(method.Pattern, method.RequestDelegate);
        endpoint.Add(target =>
        {
            target.DisplayName = $"gRPC - {method.Method.FullName}";
            target.Metadata.Add(new GrpcMethodMetadata(typeof(TService), method.Method));
            foreach (var item in method.Metadata)
            {
                target.Metadata.Add(item);
            }
        });
        return endpoint;
    }
}

/// <summary>Goes on configuring all endpoints of a service.</summary>
public sealed class GrpcServiceEndpointConventionBuilder : IEndpointConventionBuilder
{
    private readonly IReadOnlyList<IEndpointConventionBuilder> _endpoints;

    internal GrpcServiceEndpointConventionBuilder(IReadOnlyList<IEndpointConventionBuilder> endpoints) => _endpoints = endpoints;

    /// <inheritdoc/>
    public void Add(Action<EndpointBuilder> convention)
    {
        foreach (var endpoint in _endpoints)
        {
            endpoint.Add(convention);
        }
    }

    /// <inheritdoc/>
    public void Finally(Action<EndpointBuilder> finallyConvention)
    {
        foreach (var endpoint in _endpoints)
        {
            endpoint.Finally(finallyConvention);
        }
    }
}
