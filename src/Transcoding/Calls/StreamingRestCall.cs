using Google.Api;
using Google.Protobuf;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Hub.Transcoding.Calls;

/// <summary>
/// A method with a stream of answers over REST: raw bytes where the contract says so, else server-sent events for those who ask for
/// them and JSON lines for all others.
/// </summary>
internal sealed class StreamingRestCall<TResponse>(
    RestBinding binding, RestErrors errors, TimeProvider time, Func<HttpContext, IServerStreamWriter<TResponse>, ServerCallContext, Task> invoke)
    : RestCall(binding, errors, time)
    where TResponse : class
{
    private const string EventStreamContentType = "text/event-stream";

    protected override async Task AnswerAsync(HttpContext http, RestCallContext context)
    {
        var format = FormatFor(http);
        await using var pump = new ResponsePump(http, format, Time);
        context.StartResponse = pump.Start;
        http.Response.Headers.CacheControl = "no-cache";
        http.Response.Headers["X-Accel-Buffering"] = "no"; // Proxies that gather answers would hold events back.
        SetHead(http, 200, format.ContentType);
        http.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        try
        {
            await invoke(http, new Writer(pump, format), context);
            context.ThrowIfFailed();
            await pump.CompleteAsync();
        }
        catch (Exception error) when (!http.RequestAborted.IsCancellationRequested)
        {
            if (!await pump.CompleteAsync())
            {
                throw; // Nothing has left yet, so the client gets an ordinary error.
            }

            await pump.WriteErrorAsync(Describe(error, http, context));
        }
    }

    private StreamFormat FormatFor(HttpContext http) =>
        Binding.Method.OutputType == HttpBody.Descriptor ? new RawFormat(Binding, http.Response)
        : AcceptsEvents(http.Request) ? new ServerSentEventsFormat(Binding)
        : new JsonLinesFormat(Binding);

    // Only who names the type gets it: most clients accept anything and expect lines.
    private static bool AcceptsEvents(HttpRequest request) => request.GetTypedHeaders().Accept.Any(
        type => type.MediaType.Equals(EventStreamContentType, StringComparison.OrdinalIgnoreCase) && type.Quality is not 0);

    private sealed class Writer(ResponsePump pump, StreamFormat format) : IMessageBatchWriter<TResponse>
    {
        private readonly object? _form = format.Form;

        public WriteOptions? WriteOptions { get; set; }

        public Task WriteAsync(TResponse message) => pump.WriteAsync((IMessage)(object)message);

        public Task WriteAsync(TResponse message, CancellationToken cancellationToken)
        {
            cancellationToken.ThrowIfCancellationRequested();
            return pump.WriteAsync((IMessage)(object)message).WaitAsync(cancellationToken);
        }

        public Task WriteBatchAsync(MessageBatch<TResponse> batch, CancellationToken cancellationToken)
        {
            if (_form is null)
            {
                return this.WriteEachAsync(batch.Messages, cancellationToken);
            }

            cancellationToken.ThrowIfCancellationRequested();
            return pump.WriteAsync(batch.In(_form, Encode).Span).WaitAsync(cancellationToken);
        }

        private byte[] Encode(IReadOnlyList<TResponse> messages)
        {
            using var output = new PooledBuffer();
            foreach (var message in messages)
            {
                format.WriteMessage((IMessage)(object)message, output);
            }

            return output.Span.ToArray();
        }
    }
}
