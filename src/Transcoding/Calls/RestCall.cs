using Grpc.Core;
using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>Answers REST requests of one HTTP rule of one method.</summary>
internal abstract class RestCall(RestBinding binding, RestErrors errors, TimeProvider time)
{
    protected RestBinding Binding { get; } = binding;

    protected TimeProvider Time { get; } = time;

    private string MethodName { get; } = $"/{binding.Method.Service.FullName}/{binding.Method.Name}";

    public async Task HandleAsync(HttpContext http)
    {
        var context = default(RestCallContext);
        try
        {
            context = new RestCallContext(http, MethodName, Time);
            await AnswerAsync(http, context);
        }
        catch (Exception) when (http.RequestAborted.IsCancellationRequested)
        {
            // The client hung up: whatever went wrong after that is no fault of ours, and nobody is left to be told.
        }
        catch (Exception error) when (!http.Response.HasStarted)
        {
            await RestErrors.WriteAsync(http, Describe(error, http, context), Binding.Surface.ErrorShape);
        }
        finally
        {
            context?.Dispose();
        }
    }

    protected abstract Task AnswerAsync(HttpContext http, RestCallContext context);

    protected RestError Describe(Exception error, HttpContext http, RestCallContext? context)
    {
        // What a method does when its token fires is of no interest to the client: it set the deadline.
        if (context is { IsOverdue: true } && error is OperationCanceledException or RpcException { StatusCode: StatusCode.Cancelled })
        {
            error = new RpcException(new Status(StatusCode.DeadlineExceeded, "the deadline has passed"));
        }

        var described = errors.Describe(error, MethodName);
        return Binding.Version?.IsRefusal(http, described) == true ? described with { HttpStatus = 412 } : described;
    }

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
