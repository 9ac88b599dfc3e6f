using Grpc.Core;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.Routing.Patterns;

namespace Grpc.AspNetCore.Server.Model;

/// <summary>Takes the methods that providers find.</summary>
/// <typeparam name="TService">The service.</typeparam>
public class ServiceMethodProviderContext<TService>
    where TService : class
{
    private readonly ServerCallHandlerFactory<TService> _handlers;

    internal ServiceMethodProviderContext(ServerCallHandlerFactory<TService> handlers) => _handlers = handlers;

    internal List<MethodModel> Methods { get; } = [];

    /// <summary>Adds a unary method under its gRPC path.</summary>
    public void AddUnaryMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, IList<object> metadata, UnaryServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class => AddGrpcMethod(method, metadata, _handlers.CreateUnary(method, invoker));

    /// <summary>Adds a server streaming method under its gRPC path.</summary>
    public void AddServerStreamingMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, IList<object> metadata, ServerStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class => AddGrpcMethod(method, metadata, _handlers.CreateServerStreaming(method, invoker));

    /// <summary>Adds a client streaming method under its gRPC path.</summary>
    public void AddClientStreamingMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, IList<object> metadata, ClientStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class => AddGrpcMethod(method, metadata, _handlers.CreateClientStreaming(method, invoker));

    /// <summary>Adds a duplex streaming method under its gRPC path.</summary>
    public void AddDuplexStreamingMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, IList<object> metadata, DuplexStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class => AddGrpcMethod(method, metadata, _handlers.CreateDuplexStreaming(method, invoker));

    /// <summary>Adds an endpoint of the provider's own making; the metadata says which HTTP methods it takes.</summary>
    public void AddMethod<TRequest, TResponse>(
        Method<TRequest, TResponse> method, RoutePattern pattern, IList<object> metadata, RequestDelegate invoker)
        where TRequest : class
        where TResponse : class => Methods.Add(new MethodModel(method, pattern, metadata, invoker));

    private void AddGrpcMethod<TRequest, TResponse>(Method<TRequest, TResponse> method, IList<object> metadata, RequestDelegate handler)
        where TRequest : class
        where TResponse : class =>
        AddMethod(
            method,
            RoutePatternFactory.Parse(method.FullName),
            [.. metadata, new HttpMethodMetadata(["POST"], acceptCorsPreflight: true)],
            handler);
}

/// <summary>One endpoint of a service.</summary>
internal sealed record MethodModel(IMethod Method, RoutePattern Pattern, IList<object> Metadata, RequestDelegate RequestDelegate);
