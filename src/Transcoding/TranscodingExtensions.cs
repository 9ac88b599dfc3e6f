using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Hub.Transcoding;
using Hub.Transcoding.Calls;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registration of REST transcoding.</summary>
public static class TranscodingExtensions
{
    /// <summary>Serves the methods of all mapped gRPC services over REST as well, as their google.api.http rules say.</summary>
    public static IGrpcServerBuilder AddJsonTranscoding(this IGrpcServerBuilder builder, Action<JsonTranscodingOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (configure is not null)
        {
            builder.Services.Configure(configure);
        }

        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.TryAddSingleton<SurfaceTable>();
        builder.Services.TryAddSingleton<RestErrors>();
        builder.Services.TryAddSingleton<AllowedMethods>();
        builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton(typeof(IServiceMethodProvider<>), typeof(RestServiceMethodProvider<>)));
        return builder;
    }

    /// <summary>
    /// Gives answers that no method makes (no such path, method not allowed, unexpected exceptions) the error shape of the surface
    /// their path belongs to. It belongs before everything whose refusals should have that shape; gRPC requests pass untouched.
    /// </summary>
    public static IApplicationBuilder UseTranscodingErrors(this IApplicationBuilder app)
    {
        ArgumentNullException.ThrowIfNull(app);
        return app.UseMiddleware<TranscodingErrorsMiddleware>();
    }
}
