using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Hub.Transcoding.Errors;

/// <summary>Gives answers that no method made the error shape of the surface their path belongs to.</summary>
internal sealed class TranscodingErrorsMiddleware(RequestDelegate next, SurfaceTable surfaces, RestErrors errors, AllowedMethods allowedMethods)
{
    public async Task InvokeAsync(HttpContext http)
    {
        // gRPC clients read trailers; a JSON body would only confuse them.
        if (http.Request.ContentType?.StartsWith("application/grpc", StringComparison.OrdinalIgnoreCase) == true)
        {
            await next(http);
            return;
        }

        var error = default(RestError);
        try
        {
            await next(http);
            if (http.Response.StatusCode >= 400 && IsEmpty(http.Response))
            {
                JudgeRouting(http);
                error = RestErrors.Describe(http.Response.StatusCode);
            }
        }
        catch (OperationCanceledException) when (http.RequestAborted.IsCancellationRequested)
        {
            return; // The client is gone; there is nobody to tell.
        }
        catch (Exception exception) when (!http.Response.HasStarted)
        {
            http.Response.Clear();
            error = errors.Describe(exception, http.Request.Path);
        }

        if (error is not null)
        {
            await RestErrors.WriteAsync(http, error, surfaces.Find(http.Request.Path).ErrorShape);
        }
    }

    // 405 is only for paths that another method has; see AllowedMethods for why routing's own verdict does not do.
    private void JudgeRouting(HttpContext http)
    {
        if (http.Response.StatusCode is not (404 or 405) || http.GetEndpoint() is RouteEndpoint)
        {
            return; // An endpoint answered, so the verdict is its own.
        }

        var allowed = allowedMethods.Of(http.Request.Path);
        var isKnown = allowed.Count > 0 && !allowed.Contains(http.Request.Method);
        http.Response.StatusCode = isKnown ? 405 : 404;
        http.Response.Headers.Allow = isKnown ? string.Join(", ", allowed) : default;
    }

    private static bool IsEmpty(HttpResponse response) =>
        !response.HasStarted && response.ContentLength is null or 0 && string.IsNullOrEmpty(response.ContentType);
}
