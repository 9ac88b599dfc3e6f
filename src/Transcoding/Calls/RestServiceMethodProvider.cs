using System.Reflection;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Options;

namespace Hub.Transcoding.Calls;

/// <summary>Adds a REST endpoint beside the gRPC one for every google.api.http rule of a service.</summary>
internal sealed class RestServiceMethodProvider<TService>(
    SurfaceTable surfaces,
    RestErrors errors,
    TimeProvider time,
    IOptions<JsonTranscodingOptions> options,
    IOptions<GrpcServiceOptions> globalOptions,
    IOptions<GrpcServiceOptions<TService>> serviceOptions,
    IGrpcServiceActivator<TService> activator) : IServiceMethodProvider<TService>
    where TService : class
{
    public void OnServiceMethodDiscovery(ServiceMethodProviderContext<TService> context)
    {
        if (GeneratedService.FindBindMethod(typeof(TService)) is { } bind && GeneratedService.FindDescriptor(typeof(TService)) is { } service)
        {
            bind.Invoke(null, [new Binder(this, context, service, surfaces.Register(service.File)), null]);
        }
    }

    private sealed class Binder(
        RestServiceMethodProvider<TService> provider, ServiceMethodProviderContext<TService> context, ServiceDescriptor service, RestSurface surface)
        : ServiceBinderBase
    {
        private readonly MethodOptions _options = MethodOptions.Create(provider.globalOptionsValue, provider.serviceOptionsValue);

        public override void AddMethod<TRequest, TResponse>(
            Method<TRequest, TResponse> method, Grpc.Core.UnaryServerMethod<TRequest, TResponse>? handler)
        {
        }
    }
}
