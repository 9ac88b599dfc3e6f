using System.IO.Compression;
using Grpc.Framing;
using Microsoft.AspNetCore.Http;

namespace Grpc.AspNetCore.Server.Model;

/// <summary>The options a method runs under: those of its service over those of all services.</summary>
internal sealed record MethodOptions(
    int? MaxReceiveMessageSize,
    int? MaxSendMessageSize,
    TimeSpan? CompletionTimeout,
    bool EnableDetailedErrors,
    CompressionLevel? ResponseGzip,
    IReadOnlyList<InterceptorRegistration> Interceptors,
    SingletonServices? Singletons)
{
    /// <summary>Where a call takes an instance of a type from.</summary>
    public IServiceProvider ProviderOf(Type type, HttpContext httpContext) =>
        Singletons?.ProviderOf(type, httpContext) ?? httpContext.RequestServices;

    public static MethodOptions Create(GrpcServiceOptions global, GrpcServiceOptions service)
    {
        var algorithm = service.ResponseCompressionAlgorithm ?? global.ResponseCompressionAlgorithm;
        if (algorithm is not (null or GrpcProtocol.GzipEncoding or GrpcProtocol.IdentityEncoding))
        {
            throw new InvalidOperationException($"Response compression '{algorithm}' is not supported; use '{GrpcProtocol.GzipEncoding}' or null.");
        }

        return new MethodOptions(
            service.IsReceiveSizeSet ? service.MaxReceiveMessageSize : global.MaxReceiveMessageSize,
            service.IsSendSizeSet ? service.MaxSendMessageSize : global.MaxSendMessageSize,
            service.CompletionTimeout ?? global.CompletionTimeout,
            service.EnableDetailedErrors ?? global.EnableDetailedErrors ?? false,
            algorithm == GrpcProtocol.GzipEncoding
                ? service.ResponseCompressionLevel ?? global.ResponseCompressionLevel ?? CompressionLevel.Fastest
                : null,
            [.. global.Interceptors, .. service.Interceptors],
            global.Singletons);
    }
}
