using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>Answers REST requests of one HTTP rule of one method.</summary>
internal abstract class RestCall(RestBinding binding, RestErrors errors)
{
    protected const string JsonContentType = "application/json";

    protected RestBinding Binding { get; } = binding;

    protected string MethodName { get; } = $"/{binding.Method.Service.FullName}/{binding.Method.Name}";

    public async Task HandleAsync(HttpContext http)
    {
        try
        {
            await AnswerAsync(http);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client hung up: whatever went wrong after that is no fault of ours, and nobody is left to be told.
        }
        catch (Exception error) when (!http.Response.HasStarted)
        {
            await RestErrors.WriteAsync(http, Describe(error), Binding.Surface.ErrorShape);
        }
    }

    protected abstract Task AnswerAsync(HttpContext http);

    protected RestError Describe(Exception error) => errors.Describe(error, MethodName);

    protected void SetHead(HttpContext http, int status, string contentType)
    {
        http.Response.StatusCode = status;
        http.Response.ContentType = contentType;
        if (Binding.IsNeverStored)
        {
            http.Response.Headers.CacheControl = "no-store";
        }
    }
}
