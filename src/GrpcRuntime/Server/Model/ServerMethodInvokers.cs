using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Grpc.AspNetCore.Server.Model;

/// <summary>Makes the service instance of each call and disposes it after the call.</summary>
internal abstract class ServerMethodInvoker<TService>(MethodOptions options, IGrpcServiceActivator<TService> activator)
    where TService : class
{
    // Activators of the application's own are promised the services of the request.
    private readonly bool _isOwnActivator = activator is DefaultGrpcServiceActivator<TService>;

    protected Task<TResult> CallAsync<TResult>(HttpContext httpContext, Func<TService, Task<TResult>> method)
    {
        var service = Create(httpContext);
        return NeedsRelease(service) ? ReleaseAfterAsync(service, method) : method(service.Instance);
    }

    protected Task CallAsync(HttpContext httpContext, Func<TService, Task> method)
    {
        var service = Create(httpContext);
        return NeedsRelease(service) ? ReleaseAfterAsync(service, method) : method(service.Instance);
    }

    private GrpcActivatorHandle<TService> Create(HttpContext httpContext) =>
        activator.Create(_isOwnActivator ? options.ProviderOf(typeof(TService), httpContext) : httpContext.RequestServices);

    private static bool NeedsRelease(GrpcActivatorHandle<TService> service) =>
        service.State is not null || (service.Created && service.Instance is IDisposable or IAsyncDisposable);

    private async Task<TResult> ReleaseAfterAsync<TResult>(GrpcActivatorHandle<TService> service, Func<TService, Task<TResult>> method)
    {
        try
        {
            return await method(service.Instance).ConfigureAwait(false);
        }
        finally
        {
            await activator.ReleaseAsync(service).ConfigureAwait(false);
        }
    }

    private async Task ReleaseAfterAsync(GrpcActivatorHandle<TService> service, Func<TService, Task> method)
    {
        try
        {
            await method(service.Instance).ConfigureAwait(false);
        }
        finally
        {
            await activator.ReleaseAsync(service).ConfigureAwait(false);
        }
    }
}

/// <summary>Runs a unary method: interceptors, then the service.</summary>
internal sealed class UnaryServerMethodInvoker<TService, TRequest, TResponse> : ServerMethodInvoker<TService>
    where TService : class
    where TRequest : class
    where TResponse : class
{
    private readonly UnaryServerMethod<TService, TRequest, TResponse> _method;
    private readonly UnaryServerMethod<TRequest, TResponse>? _pipeline;

    public UnaryServerMethodInvoker(
        UnaryServerMethod<TService, TRequest, TResponse> method, MethodOptions options, IGrpcServiceActivator<TService> activator)
        : base(options, activator)
    {
        _method = method;
        foreach (var registration in options.Interceptors.Reverse())
        {
            var next = _pipeline ?? ((request, call) => CallServiceAsync(call.GetHttpContext(), call, request));
            _pipeline = async (request, call) =>
            {
                await using var lease = registration.Rent(options.ProviderOf(registration.Type, call.GetHttpContext()));
                return await lease.Interceptor.UnaryServerHandler(request, call, next).ConfigureAwait(false);
            };
        }
    }

    public Task<TResponse> Invoke(HttpContext httpContext, ServerCallContext serverCallContext, TRequest request) =>
        _pipeline is null ? CallServiceAsync(httpContext, serverCallContext, request) : _pipeline(request, serverCallContext);

    private Task<TResponse> CallServiceAsync(HttpContext httpContext, ServerCallContext call, TRequest request) =>
        CallAsync(httpContext, service => _method(service, request, call));
}

/// <summary>Runs a client streaming method: interceptors, then the service.</summary>
internal sealed class ClientStreamingServerMethodInvoker<TService, TRequest, TResponse> : ServerMethodInvoker<TService>
    where TService : class
    where TRequest : class
    where TResponse : class
{
    private readonly ClientStreamingServerMethod<TService, TRequest, TResponse> _method;
    private readonly ClientStreamingServerMethod<TRequest, TResponse>? _pipeline;

    public ClientStreamingServerMethodInvoker(
        ClientStreamingServerMethod<TService, TRequest, TResponse> method, MethodOptions options, IGrpcServiceActivator<TService> activator)
        : base(options, activator)
    {
        _method = method;
        foreach (var registration in options.Interceptors.Reverse())
        {
            var next = _pipeline ?? ((requests, call) => CallServiceAsync(call.GetHttpContext(), call, requests));
            _pipeline = async (requests, call) =>
            {
                await using var lease = registration.Rent(options.ProviderOf(registration.Type, call.GetHttpContext()));
                return await lease.Interceptor.ClientStreamingServerHandler(requests, call, next).ConfigureAwait(false);
            };
        }
    }

    public Task<TResponse> Invoke(HttpContext httpContext, ServerCallContext serverCallContext, IAsyncStreamReader<TRequest> requestStream) =>
        _pipeline is null ? CallServiceAsync(httpContext, serverCallContext, requestStream) : _pipeline(requestStream, serverCallContext);

    private Task<TResponse> CallServiceAsync(HttpContext httpContext, ServerCallContext call, IAsyncStreamReader<TRequest> requests) =>
        CallAsync(httpContext, service => _method(service, requests, call));
}

/// <summary>Runs a server streaming method: interceptors, then the service.</summary>
internal sealed class ServerStreamingServerMethodInvoker<TService, TRequest, TResponse> : ServerMethodInvoker<TService>
    where TService : class
    where TRequest : class
    where TResponse : class
{
    private readonly ServerStreamingServerMethod<TService, TRequest, TResponse> _method;
    private readonly ServerStreamingServerMethod<TRequest, TResponse>? _pipeline;

    public ServerStreamingServerMethodInvoker(
        ServerStreamingServerMethod<TService, TRequest, TResponse> method, MethodOptions options, IGrpcServiceActivator<TService> activator)
        : base(options, activator)
    {
        _method = method;
        foreach (var registration in options.Interceptors.Reverse())
        {
            var next = _pipeline ?? ((request, responses, call) => CallServiceAsync(call.GetHttpContext(), call, request, responses));
            _pipeline = async (request, responses, call) =>
            {
                await using var lease = registration.Rent(options.ProviderOf(registration.Type, call.GetHttpContext()));
                await lease.Interceptor.ServerStreamingServerHandler(request, responses, call, next).ConfigureAwait(false);
            };
        }
    }

    public Task Invoke(
        HttpContext httpContext, ServerCallContext serverCallContext, TRequest request, IServerStreamWriter<TResponse> responseStream) =>
        _pipeline is null
            ? CallServiceAsync(httpContext, serverCallContext, request, responseStream)
            : _pipeline(request, responseStream, serverCallContext);

    private Task CallServiceAsync(
        HttpContext httpContext, ServerCallContext call, TRequest request, IServerStreamWriter<TResponse> responses) =>
        CallAsync(httpContext, service => _method(service, request, responses, call));
}

/// <summary>Runs a duplex streaming method: interceptors, then the service.</summary>
internal sealed class DuplexStreamingServerMethodInvoker<TService, TRequest, TResponse> : ServerMethodInvoker<TService>
    where TService : class
    where TRequest : class
    where TResponse : class
{
    private readonly DuplexStreamingServerMethod<TService, TRequest, TResponse> _method;
    private readonly DuplexStreamingServerMethod<TRequest, TResponse>? _pipeline;

    public DuplexStreamingServerMethodInvoker(
        DuplexStreamingServerMethod<TService, TRequest, TResponse> method, MethodOptions options, IGrpcServiceActivator<TService> activator)
        : base(options, activator)
    {
        _method = method;
        foreach (var registration in options.Interceptors.Reverse())
        {
            var next = _pipeline ?? ((requests, responses, call) => CallServiceAsync(call.GetHttpContext(), call, requests, responses));
            _pipeline = async (requests, responses, call) =>
            {
                await using var lease = registration.Rent(options.ProviderOf(registration.Type, call.GetHttpContext()));
                await lease.Interceptor.DuplexStreamingServerHandler(requests, responses, call, next).ConfigureAwait(false);
            };
        }
    }

    public Task Invoke(
        HttpContext httpContext,
        ServerCallContext serverCallContext,
        IAsyncStreamReader<TRequest> requestStream,
        IServerStreamWriter<TResponse> responseStream) =>
        _pipeline is null
            ? CallServiceAsync(httpContext, serverCallContext, requestStream, responseStream)
            : _pipeline(requestStream, responseStream, serverCallContext);

    private Task CallServiceAsync(
        HttpContext httpContext,
        ServerCallContext call,
        IAsyncStreamReader<TRequest> requests,
        IServerStreamWriter<TResponse> responses) =>
        CallAsync(httpContext, service => _method(service, requests, responses, call));
}
