using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Grpc.Framing;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Grpc.AspNetCore.Server;

/// <summary>Makes the request delegates of a service, one per method.</summary>
internal sealed class ServerCallHandlerFactory<TService>(
    ILoggerFactory loggers,
    IOptions<GrpcServiceOptions> globalOptions,
    IOptions<GrpcServiceOptions<TService>> serviceOptions,
    IGrpcServiceActivator<TService> activator,
    TimeProvider time)
    where TService : class
{
    private readonly MethodOptions _options = MethodOptions.Create(globalOptions.Value, serviceOptions.Value);
    private readonly ServerCallServices _services = new(time, loggers.CreateLogger("Grpc.AspNetCore.Server.ServerCallHandler"));

    public RequestDelegate CreateUnary<TRequest, TResponse>(
        Method<TRequest, TResponse> method, UnaryServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class
    {
        var pipeline = new UnaryServerMethodInvoker<TService, TRequest, TResponse>(invoker, _options, activator);
        return Create(method, async call =>
        {
            var request = await call.ReadRequestAsync().ConfigureAwait(false);
            var response = await pipeline.Invoke(call.HttpContext, call, request).ConfigureAwait(false);
            await call.WriteResponseAsync(response).ConfigureAwait(false);
        });
    }

    public RequestDelegate CreateClientStreaming<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ClientStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class
    {
        var pipeline = new ClientStreamingServerMethodInvoker<TService, TRequest, TResponse>(invoker, _options, activator);
        return Create(method, async call =>
        {
            var response = await pipeline.Invoke(call.HttpContext, call, call).ConfigureAwait(false);
            await call.WriteResponseAsync(response).ConfigureAwait(false);
        });
    }

    public RequestDelegate CreateServerStreaming<TRequest, TResponse>(
        Method<TRequest, TResponse> method, ServerStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class
    {
        var pipeline = new ServerStreamingServerMethodInvoker<TService, TRequest, TResponse>(invoker, _options, activator);
        return Create(method, async call =>
        {
            var request = await call.ReadRequestAsync().ConfigureAwait(false);
            await pipeline.Invoke(call.HttpContext, call, request, call).ConfigureAwait(false);
        });
    }

    public RequestDelegate CreateDuplexStreaming<TRequest, TResponse>(
        Method<TRequest, TResponse> method, DuplexStreamingServerMethod<TService, TRequest, TResponse> invoker)
        where TRequest : class
        where TResponse : class
    {
        var pipeline = new DuplexStreamingServerMethodInvoker<TService, TRequest, TResponse>(invoker, _options, activator);
        return Create(method, call => pipeline.Invoke(call.HttpContext, call, call, call));
    }

    private RequestDelegate Create<TRequest, TResponse>(
        Method<TRequest, TResponse> method, Func<ServerCall<TRequest, TResponse>, Task> handler)
        where TRequest : class
        where TResponse : class => httpContext =>
    {
        if (!HttpProtocol.IsHttp2(httpContext.Request.Protocol) && !HttpProtocol.IsHttp3(httpContext.Request.Protocol))
        {
            return Refuse(httpContext, StatusCodes.Status426UpgradeRequired, $"Request protocol '{httpContext.Request.Protocol}' is not supported.");
        }

        if (!GrpcProtocol.IsGrpcContentType(httpContext.Request.ContentType))
        {
            return Refuse(httpContext, StatusCodes.Status415UnsupportedMediaType, "The content type is not application/grpc.");
        }

        return new ServerCall<TRequest, TResponse>(httpContext, method, _options, _services, handler).RunAsync();
    };

    private Task Refuse(HttpContext httpContext, int httpStatus, string reason)
    {
        ServerLog.RequestRefused(_services.Logger, reason);
        httpContext.Response.StatusCode = httpStatus;
        httpContext.Response.Headers[GrpcProtocol.StatusHeader] = "13";
        httpContext.Response.Headers[GrpcProtocol.MessageHeader] = GrpcProtocol.EncodeMessage(reason);
        return Task.CompletedTask;
    }
}
