using System.Reflection;
using Google.Protobuf.Reflection;
using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Options;
using MethodOptions = Grpc.AspNetCore.Server.Model.MethodOptions;

namespace Hub.Transcoding.Calls;

/// <summary>Adds a REST endpoint beside the gRPC one for every google.api.http rule of a service.</summary>
internal sealed class RestServiceMethodProvider<TService> : IServiceMethodProvider<TService>
    where TService : class
{
    private readonly SurfaceTable _surfaces;
    private readonly RestErrors _errors;
    private readonly TimeProvider _time;
    private readonly IGrpcServiceActivator<TService> _activator;
    private readonly MethodOptions _methodOptions;
    private readonly long _requestBytesMax;

    public RestServiceMethodProvider(
        SurfaceTable surfaces,
        RestErrors errors,
        TimeProvider time,
        IGrpcServiceActivator<TService> activator,
        IOptions<GrpcServiceOptions> globalOptions,
        IOptions<GrpcServiceOptions<TService>> serviceOptions,
        IOptions<JsonTranscodingOptions> options)
    {
        _surfaces = surfaces;
        _errors = errors;
        _time = time;
        _activator = activator;
        _methodOptions = MethodOptions.Create(globalOptions.Value, serviceOptions.Value);
        _requestBytesMax = options.Value.RequestBytesMax;
    }

    public void OnServiceMethodDiscovery(ServiceMethodProviderContext<TService> context)
    {
        if (GeneratedService.FindBindMethod(typeof(TService)) is { } bind && GeneratedService.FindDescriptor(typeof(TService)) is { } service)
        {
            bind.Invoke(null, [new Binder(this, context, service), null]);
        }
    }

    private sealed class Binder(
        RestServiceMethodProvider<TService> provider, ServiceMethodProviderContext<TService> context, ServiceDescriptor service)
        : ServiceBinderBase
    {
        private readonly RestSurface _surface = provider._surfaces.Register(service.File);

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.UnaryServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(TRequest), typeof(ServerCallContext));
            var invoker = new UnaryServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<UnaryServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(method, clr, binding => new UnaryRestCall<TService, TRequest, TResponse>(binding, provider._errors, invoker));
        }

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.ServerStreamingServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(TRequest), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
            var invoker = new ServerStreamingServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<ServerStreamingServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(
                method, clr, binding => new ServerStreamingRestCall<TService, TRequest, TResponse>(binding, provider._errors, invoker, provider._time));
        }

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.ClientStreamingServerMethod<TRequest, TResponse>? handler) => RefuseRules(method);

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.DuplexStreamingServerMethod<TRequest, TResponse>? handler) => RefuseRules(method);

        private void AddRules<TRequest, TResponse>(Method<TRequest, TResponse> method, MethodInfo clr, Func<RestBinding, RestCall> createCall)
            where TRequest : class
            where TResponse : class
        {
            var descriptor = service.FindMethodByName(method.Name);
            foreach (var rule in HttpRules.Of(descriptor))
            {
                var (verb, path) = HttpRules.Pattern(rule, descriptor);
                var binding = new RestBinding(descriptor, rule, path, _surface, provider._requestBytesMax);
                // Attributes such as [Authorize] count for both faces; those of the method come last and so win.
                List<object> metadata =
                [
                    .. typeof(TService).GetCustomAttributes(inherit: true),
                    .. clr.GetCustomAttributes(inherit: true),
                    new HttpMethodMetadata([verb]),
                    new RestEndpointMetadata(descriptor, rule),
                ];
                context.AddMethod(method, binding.Request.Pattern, metadata, createCall(binding).HandleAsync);
            }
        }

        private void RefuseRules(IMethod method)
        {
            if (HttpRules.Of(service.FindMethodByName(method.Name)).Any())
            {
                throw new InvalidOperationException($"{method.FullName}: a method that streams requests cannot have an HTTP rule.");
            }
        }

        private static MethodInfo Find(IMethod method, params Type[] parameters) =>
            typeof(TService).GetMethod(method.Name, BindingFlags.Public | BindingFlags.Instance, parameters)
            ?? throw new InvalidOperationException($"{typeof(TService)} has no method '{method.Name}' that fits {method.FullName}.");
    }
}
