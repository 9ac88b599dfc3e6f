using Google.Protobuf;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Hub.Transcoding.Calls;

/// <summary>A server streaming method over REST: server-sent events for those who accept them, JSON lines for all others.</summary>
internal sealed class ServerStreamingRestCall<TService, TRequest, TResponse>(
    RestBinding binding, RestErrors errors, ServerStreamingServerMethodInvoker<TService, TRequest, TResponse> invoker, TimeProvider time)
    : RestCall(binding, errors)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    private const string EventStreamContentType = "text/event-stream";

    protected override async Task AnswerAsync(HttpContext http)
    {
        var request = await Binding.Request.BindAsync(http);
        if (Binding.LastEventId is { } field)
        {
            RequestBinder.BindHeader(http, field, "Last-Event-ID", request);
        }

        StreamFormat format = AcceptsEvents(http.Request) ? new ServerSentEventsFormat(Binding) : new JsonLinesFormat(Binding);
        http.Response.Headers.CacheControl = "no-cache";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // Proxies that gather answers would hold events back.
        SetHead(http, 200, format.ContentType);
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();

        await using var pump = new ResponsePump(http, format, time);
        var context = new RestCallContext(http, MethodName, () =>
        {
            pump.Start();
            return Task.CompletedTask;
        });
        try
        {
            await invoker.Invoke(http, context, (TRequest)request, new Writer(pump));
            context.ThrowIfFailed();
            await pump.CompleteAsync();
        }
        catch (Exception error) when (!http.RequestAborted.IsCancellationRequested)
        {
            if (!await pump.CompleteAsync())
            {
                throw; // Nothing has left yet, so the client gets an ordinary error.
            }

            await pump.WriteErrorAsync(Describe(error));
        }
    }

    // Only who names the type gets it: most clients accept anything and expect lines.
    private static bool AcceptsEvents(HttpRequest request) => request.GetTypedHeaders().Accept.Any(
        type => type.MediaType.Equals(EventStreamContentType, StringComparison.OrdinalIgnoreCase) && type.Quality is not 0);

    private sealed class Writer(ResponsePump pump) : IServerStreamWriter<TResponse>
    {
        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(TResponse message) => pump.WriteAsync((IMessage)(object)message);

        public Task WriteAsync(TResponse message, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return pump.WriteAsync((IMessage)(object)message).WaitAsync(cancellationToken);
        }
    }
}
