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
        private readonly HashSet<string> _headPaths =
        [
            .. service.Methods.SelectMany(method => HttpRules.Of(method), (method, rule) => HttpRules.Pattern(rule, method))
                .Where(pattern => pattern.Verb == "HEAD").Select(pattern => pattern.Path),
        ];

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.UnaryServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(TRequest), typeof(ServerCallContext));
            var invoker = new UnaryServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<UnaryServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(method, clr, binding => new UnaryRestCall<TResponse>(
                binding, provider._errors, provider._time,
                async (http, context) => await invoker.Invoke(http, context, (TRequest)await binding.BindAsync(http))));
        }

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.ServerStreamingServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(TRequest), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
            var invoker = new ServerStreamingServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<ServerStreamingServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(method, clr, binding => new StreamingRestCall<TResponse>(
                binding, provider._errors, provider._time,
                async (http, answers, context) => await invoker.Invoke(http, context, (TRequest)await binding.BindAsync(http), answers)));
        }

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.ClientStreamingServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(IAsyncStreamReader<TRequest>), typeof(ServerCallContext));
            var invoker = new ClientStreamingServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<ClientStreamingServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(method, clr, binding => new UnaryRestCall<TResponse>(
                RequireRaw(binding), provider._errors, provider._time,
                async (http, context) =>
                {
                    await using var pieces = new RawRequestReader<TRequest>(binding, http);
                    return await invoker.Invoke(http, context, pieces);
                }));
        }

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.DuplexStreamingServerMethod<TRequest, TResponse>? handler)
        {
            var clr = Find(method, typeof(IAsyncStreamReader<TRequest>), typeof(IServerStreamWriter<TResponse>), typeof(ServerCallContext));
            var invoker = new DuplexStreamingServerMethodInvoker<TService, TRequest, TResponse>(
                clr.CreateDelegate<DuplexStreamingServerMethod<TService, TRequest, TResponse>>(), provider._methodOptions, provider._activator);
            AddRules(method, clr, binding => new StreamingRestCall<TResponse>(
                RequireRaw(binding), provider._errors, provider._time,
                async (http, answers, context) =>
                {
                    await using var pieces = new RawRequestReader<TRequest>(binding, http);
                    await invoker.Invoke(http, context, pieces, answers);
                }));
        }

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
                    new HttpMethodMetadata(HttpMethodsOf(verb, path, descriptor)),
                    new RestEndpointMetadata(descriptor, rule),
                ];
                context.AddMethod(method, binding.Request.Pattern, metadata, createCall(binding).HandleAsync);
            }
        }

        // A stream of requests has one form in HTTP: the pieces of a raw body.
        private static RestBinding RequireRaw(RestBinding binding) => binding.Request.TakesRaw
            ? binding
            : throw new InvalidOperationException(
                $"{binding.Method.FullName}: a method that streams requests can only have an HTTP rule whose body is a google.api.HttpBody.");

        // HEAD is GET without the body. Not for streams: who asks for the head alone would still start the whole stream. A rule of
        // its own for the same path wins.
        private string[] HttpMethodsOf(string verb, string path, MethodDescriptor method) => verb switch
        {
            "*" => [],
            "GET" when !method.IsServerStreaming && !_headPaths.Contains(path) => ["GET", "HEAD"],
            _ => [verb],
        };

        private static MethodInfo Find(IMethod method, params Type[] parameters) =>
            typeof(TService).GetMethod(method.Name, BindingFlags.Public | BindingFlags.Instance, parameters)
            ?? throw new InvalidOperationException($"{typeof(TService)} has no method '{method.Name}' that fits {method.FullName}.");
    }
}
