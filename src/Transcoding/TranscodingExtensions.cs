using Grpc.AspNetCore.Server;
using Grpc.AspNetCore.Server.Model;
using Hub.Transcoding;
using Hub.Transcoding.Calls;
using Hub.Transcoding.Errors;
using Hub.Transcoding.OpenApi;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registration of REST transcoding.</summary>
public static class TranscodingExtensions
{
    // What is allowed changes only with a restart, and browsers cap this on their own.
    private static readonly TimeSpan PreflightMaxAge = TimeSpan.FromMinutes(10);

    /// <summary>Serves the methods of all mapped gRPC services over REST as well, as their google.api.http rules say.</summary>
    public static IGrpcServerBuilder AddJsonTranscoding(this IGrpcServerBuilder builder, Action<JsonTranscodingOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(builder);
        if (configure is not null)
        {
            builder.Services.Configure(configure);
        }

        builder.Services.AddCors();
        builder.Services.TryAddSingleton(TimeProvider.System);
        builder.Services.TryAddSingleton<SurfaceTable>();
        builder.Services.TryAddSingleton<RestErrors>();
        builder.Services.TryAddSingleton<AllowedMethods>();
        builder.Services.TryAddSingleton<DocumentationEndpoints>();
        builder.Services.TryAddEnumerable(ServiceDescriptor.Singleton(typeof(IServiceMethodProvider<>), typeof(RestServiceMethodProvider<>)));
        return builder;
    }

    /// <summary>
    /// Lets the pages of <see cref="JsonTranscodingOptions.CorsOrigins"/> read answers, and answers their preflights before routing: it
    /// belongs before UseRouting and before everything that may refuse.
    /// </summary>
    /// <exception cref="InvalidOperationException">An origin is not written as browsers send it, so it would never match.</exception>
    public static IApplicationBuilder UseTranscodingCors(this IApplicationBuilder app)
    {
        ArgumentNullException.ThrowIfNull(app);
        var origins = app.ApplicationServices.GetRequiredService<IOptions<JsonTranscodingOptions>>().Value.CorsOrigins;
        if (origins.Count == 0)
        {
            return app;
        }

        foreach (var origin in origins)
        {
            if (!JsonTranscodingOptions.IsOrigin(origin))
            {
                throw new InvalidOperationException(
                    $"'{origin}' is no origin; write scheme://host or scheme://host:port in lower case, without a path.");
            }
        }

        return app.UseCors(cors => cors
            .WithOrigins([.. origins])
            .AllowAnyMethod()
            .AllowAnyHeader()
            .WithExposedHeaders("ETag", "Retry-After", "X-Request-Id")
            .SetPreflightMaxAge(PreflightMaxAge));
    }

    /// <summary>
    /// Serves the OpenAPI description of all mapped services at <c>/openapi.json</c> and a page that shows it at <c>/docs</c>. Both are
    /// open to everyone, as reflection is.
    /// </summary>
    public static IEndpointRouteBuilder MapTranscodingDocumentation(this IEndpointRouteBuilder endpoints)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        var documentation = endpoints.ServiceProvider.GetRequiredService<DocumentationEndpoints>();
        Map("/openapi.json", documentation.SendDocumentAsync);
        Map("/docs", DocumentationEndpoints.Page("docs.html", "text/html; charset=utf-8"));
        Map("/docs/page.js", DocumentationEndpoints.Page("docs.js", "text/javascript; charset=utf-8"));
        Map("/docs/style.css", DocumentationEndpoints.Page("docs.css", "text/css; charset=utf-8"));
        return endpoints;

        void Map(string path, RequestDelegate answer) => endpoints.MapMethods(path, ["GET", "HEAD"], answer);
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
