using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Grpc.AspNetCore.Server.Model;
using Grpc.Core;
using Grpc.Framing;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server;

/// <summary>What calls need besides their request.</summary>
internal sealed record ServerCallServices(TimeProvider Time, ILogger Logger);

/// <summary>
/// One call on the server: its context, from request headers to trailers. <see cref="ServerCall{TRequest, TResponse}"/> adds the messages.
/// A handler runs inside <see cref="RunAsync"/>, which is the only place that turns its outcome into a status.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "RunAsync disposes the deadline at the end of the call.")]
internal abstract class ServerCall : ServerCallContext
{
    private const int Http2NoError = 0;
    private const int Http2Cancel = 8;

    private readonly IMethod _method;
    private readonly MethodOptions _options;
    private readonly ServerCallServices _services;
    private CallDeadline? _deadline;
    private Metadata? _requestHeaders;
    private Metadata? _responseTrailers;
    private AuthContext? _authContext;
    private Status _status;

    protected ServerCall(HttpContext httpContext, IMethod method, MethodOptions options, ServerCallServices services)
    {
        HttpContext = httpContext;
        _method = method;
        _options = options;
        _services = services;
        Reader = new MessageReader(httpContext.Request.BodyReader, options.MaxReceiveMessageSize);
        Writer = new MessageWriter(options.MaxSendMessageSize);
    }

    public HttpContext HttpContext { get; }

    protected MessageReader Reader { get; }

    protected MessageWriter Writer { get; }

    protected int? SendBytesMax => _options.MaxSendMessageSize;

    /// <summary>Whether the request stream broke: the client reset it or its connection is gone.</summary>
    protected bool InputFailed { get; set; }

    protected override string MethodCore => _method.FullName;

    protected override string HostCore => HttpContext.Request.Host.Value ?? "";

    protected override string PeerCore =>
        HttpContext.Connection.RemoteIpAddress is { } address
            ? $"{(address.AddressFamily == AddressFamily.InterNetworkV6 ? "ipv6" : "ipv4")}:{new IPEndPoint(address, HttpContext.Connection.RemotePort)}"
            : "unknown";

    protected override DateTime DeadlineCore => _deadline?.At ?? DateTime.MaxValue;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadRequestHeaders();

    protected override CancellationToken CancellationTokenCore => _deadline?.Token ?? HttpContext.RequestAborted;

    protected override Metadata ResponseTrailersCore => _responseTrailers ??= [];

    protected override Status StatusCore
    {
        get => _status;
        set => _status = value;
    }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore => _authContext ??= ReadAuthContext(HttpContext.Connection.ClientCertificate);

    /// <summary>
    /// Whether reading failed because of the client or its connection. The read may fail a moment before RequestAborted fires, so that
    /// token alone does not tell.
    /// </summary>
    protected static bool IsInputFailure(Exception exception) => exception is IOException or ConnectionAbortedException;

    /// <summary>Runs the call to its end. Never throws.</summary>
    public async Task RunAsync()
    {
        var answered = false;
        try
        {
            Prepare();
            var handling = HandleAsync();
            if (_deadline is { } deadline && !handling.IsCompleted)
            {
                await Task.WhenAny(handling, deadline.Reached).ConfigureAwait(false);
                if (!handling.IsCompleted)
                {
                    answered = true;
                    await EndAtDeadlineAsync(deadline, handling).ConfigureAwait(false);
                }
            }

            if (!answered)
            {
                await handling.ConfigureAwait(false);
            }
        }
        catch (Exception exception)
        {
            SetOutcome(exception);
        }

        if (!answered)
        {
            await FinishAsync().ConfigureAwait(false);
        }

        Reader.Release();
        _deadline?.Dispose();
    }

    /// <summary>Reads what the method's kind reads up front, and runs its handler.</summary>
    protected abstract Task HandleAsync();

    protected override async Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        ArgumentNullException.ThrowIfNull(responseHeaders);
        if (HttpContext.Response.HasStarted || Writer.HasWritten)
        {
            throw new InvalidOperationException("Response headers can only be sent once, before the first message.");
        }

        Append(HttpContext.Response.Headers, responseHeaders);
        await HttpContext.Response.BodyWriter.FlushAsync().ConfigureAwait(false);
    }

    private static void Append(IHeaderDictionary target, Metadata metadata)
    {
        foreach (var entry in metadata)
        {
            if (!GrpcProtocol.IsProtocolHeader(entry.Key))
            {
                target.Append(entry.Key, entry.ToWire());
            }
        }
    }

    private static AuthContext ReadAuthContext(X509Certificate2? certificate)
    {
        const string CommonName = "x509_common_name";
        const string AlternativeName = "x509_subject_alternative_name";
        var properties = new Dictionary<string, List<AuthProperty>>();
        if (certificate is null)
        {
            return new AuthContext(null, properties);
        }

        void Add(string name, string value)
        {
            if (!string.IsNullOrEmpty(value))
            {
                if (!properties.TryGetValue(name, out var values))
                {
                    properties[name] = values = [];
                }

                values.Add(AuthProperty.Create(name, Encoding.UTF8.GetBytes(value)));
            }
        }

        foreach (var extension in certificate.Extensions.OfType<X509SubjectAlternativeNameExtension>())
        {
            foreach (var name in extension.EnumerateDnsNames())
            {
                Add(AlternativeName, name);
            }
        }

        Add(CommonName, certificate.GetNameInfo(X509NameType.SimpleName, forIssuer: false));
        var identity = properties.ContainsKey(AlternativeName) ? AlternativeName
            : properties.ContainsKey(CommonName) ? CommonName
            : null;
        return new AuthContext(identity, properties);
    }

    private void Prepare()
    {
        var request = HttpContext.Request;
        var response = HttpContext.Response;
        response.ContentType = GrpcProtocol.ContentType;
        response.Headers[GrpcProtocol.AcceptEncodingHeader] = GrpcProtocol.AcceptedEncodings;
        Writer.Start(response.BodyWriter);

        // Messages are bounded one by one; a stream as a whole may be as long, and as quiet, as it likes.
        var features = HttpContext.Features;
        if (features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } bodySize)
        {
            bodySize.MaxRequestBodySize = null;
        }

        if (_method.Type is MethodType.ClientStreaming or MethodType.DuplexStreaming
            && features.Get<IHttpMinRequestBodyDataRateFeature>() is { } dataRate)
        {
            dataRate.MinDataRate = null;
        }

        if (!request.Headers.TE.ToString().Contains("trailers", StringComparison.OrdinalIgnoreCase))
        {
            // A proxy on the way has dropped it and would drop our trailers too; this answer has none.
            throw new RpcException(new Status(StatusCode.Unknown, "The header 'te: trailers' is missing."));
        }

        if (request.Headers.TryGetValue(GrpcProtocol.EncodingHeader, out var encoding))
        {
            Reader.Encoding = encoding.ToString();
        }

        if (_options.ResponseGzip is { } level && AcceptsGzip(request))
        {
            response.Headers[GrpcProtocol.EncodingHeader] = GrpcProtocol.GzipEncoding;
            Writer.Gzip = level;
        }

        if (request.Headers.TryGetValue(GrpcProtocol.TimeoutHeader, out var timeoutText))
        {
            if (!GrpcProtocol.TryParseTimeout(timeoutText, out var timeout))
            {
                throw new RpcException(new Status(StatusCode.Internal, "grpc-timeout is malformed."));
            }

            if (timeout == TimeSpan.Zero)
            {
                throw new RpcException(new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded"));
            }

            var watched = timeout < GrpcProtocol.TimeoutMax ? timeout : GrpcProtocol.TimeoutMax;
            _deadline = new CallDeadline(_services.Time, timeout, watched, HttpContext.RequestAborted);
        }
    }

    private static bool AcceptsGzip(HttpRequest request)
    {
        foreach (var value in request.Headers[GrpcProtocol.AcceptEncodingHeader])
        {
            foreach (var range in value.AsSpan().Split(','))
            {
                if (value.AsSpan()[range].Trim().Equals(GrpcProtocol.GzipEncoding, StringComparison.OrdinalIgnoreCase))
                {
                    return true;
                }
            }
        }

        return false;
    }

    private void SetOutcome(Exception exception)
    {
        switch (exception)
        {
            case RpcException refusal:
                ServerLog.CallRefused(_services.Logger, MethodCore, refusal.StatusCode, refusal.Status.DebugException);
                _status = refusal.Status;
                AddTrailers(refusal.Trailers);
                break;
            case var _ when InputFailed || HttpContext.RequestAborted.IsCancellationRequested:
                _status = Status.DefaultCancelled;
                break;
            default:
                ServerLog.UnhandledException(_services.Logger, MethodCore, exception);
                var text = _options.EnableDetailedErrors
                    ? $"Exception was thrown by handler. {exception.GetType().Name}: {exception.Message}"
                    : "Exception was thrown by handler.";
                _status = new Status(StatusCode.Unknown, text, exception);
                break;
        }
    }

    private void AddTrailers(Metadata trailers)
    {
        // Handlers may have put the call's own trailers into the exception.
        if (ReferenceEquals(trailers, _responseTrailers))
        {
            return;
        }

        foreach (var entry in trailers)
        {
            ResponseTrailersCore.Add(entry);
        }
    }

    private async Task FinishAsync()
    {
        if (!HttpContext.RequestAborted.IsCancellationRequested)
        {
            try
            {
                if (_options.CompletionTimeout is { } patience && _method.Type is MethodType.ServerStreaming or MethodType.DuplexStreaming)
                {
                    await CompleteWithinAsync(patience).ConfigureAwait(false);
                }
                else
                {
                    await CompleteAsync().ConfigureAwait(false);
                }

                return;
            }
            catch (Exception exception) when (exception is IOException or OperationCanceledException or InvalidOperationException)
            {
                // The client went away under the last writes; there is nobody left to tell the status.
                Writer.Abort(exception);
            }
        }

        ServerLog.CallCancelled(_services.Logger, MethodCore);
        Writer.Abort(new OperationCanceledException("The client cancelled the call."));
    }

    /// <summary>What is left and the status; they leave when the request is over.</summary>
    private async ValueTask CompleteAsync()
    {
        await Writer.CompleteAsync(HttpContext.Response.BodyWriter).ConfigureAwait(false);
        AppendStatus();
    }

    private async Task CompleteWithinAsync(TimeSpan patience)
    {
        async Task SendAsync()
        {
            await CompleteAsync().ConfigureAwait(false);
            await HttpContext.Response.CompleteAsync().ConfigureAwait(false);
        }

        var completing = SendAsync();
        try
        {
            await completing.WaitAsync(patience, _services.Time).ConfigureAwait(false);
        }
        catch (TimeoutException)
        {
            ServerLog.NotTaken(_services.Logger, MethodCore, patience);
            HttpContext.Features.Get<IHttpResetFeature>()?.Reset(Http2Cancel);
            await completing.ConfigureAwait(false);
        }
    }

    private async Task EndAtDeadlineAsync(CallDeadline deadline, Task handling)
    {
        ServerLog.DeadlineExceeded(_services.Logger, MethodCore, deadline.Timeout);
        _status = new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded");
        var free = Writer.Abort(new OperationCanceledException("The deadline of the call has passed."));
        var reset = HttpContext.Features.Get<IHttpResetFeature>();
        try
        {
            if (free)
            {
                // The client gets its answer now, whatever the handler does; it is also told to stop sending.
                AppendStatus();
                await HttpContext.Response.CompleteAsync().ConfigureAwait(false);
                reset?.Reset(Http2NoError);
            }
            else
            {
                // Bytes are stuck before a client that does not read; the status would queue up behind them.
                reset?.Reset(Http2Cancel);
            }
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException or InvalidOperationException)
        {
            ServerLog.CallCancelled(_services.Logger, MethodCore);
        }

        // The reset has also ended a read the handler may be waiting in.
        deadline.Cancel();
        try
        {
            // The request objects are reused after this call, so the handler has to be out of them first.
            await handling.ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            ServerLog.CallRefused(_services.Logger, MethodCore, StatusCode.DeadlineExceeded, exception);
        }
    }

    private void AppendStatus()
    {
        // Before anything is sent, status and trailers travel in the one header block ("trailers-only").
        var response = HttpContext.Response;
        var target = response.HasStarted || Writer.HasWritten
            ? HttpContext.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers
            : response.Headers;
        target[GrpcProtocol.StatusHeader] = ((int)_status.StatusCode).ToString(CultureInfo.InvariantCulture);
        if (_status.Detail.Length > 0)
        {
            target[GrpcProtocol.MessageHeader] = GrpcProtocol.EncodeMessage(_status.Detail);
        }

        if (_responseTrailers is not null)
        {
            Append(target, _responseTrailers);
        }
    }

    private Metadata ReadRequestHeaders()
    {
        var metadata = new Metadata();
        foreach (var (name, values) in HttpContext.Request.Headers)
        {
            if (GrpcProtocol.IsProtocolHeader(name))
            {
                continue;
            }

            foreach (var value in values)
            {
                GrpcProtocol.AddWireEntry(metadata, name, value ?? "");
            }
        }

        return metadata;
    }
}

/// <summary>One call on the server with its messages: the context, the requests and the responses in one object.</summary>
internal sealed class ServerCall<TRequest, TResponse>(
    HttpContext httpContext,
    Method<TRequest, TResponse> method,
    MethodOptions options,
    ServerCallServices services,
    Func<ServerCall<TRequest, TResponse>, Task> handler)
    : ServerCall(httpContext, method, options, services), IAsyncStreamReader<TRequest>, IMessageBatchWriter<TResponse>
    where TRequest : class
    where TResponse : class
{
    private TRequest? _current;
    private WriteOptions? _streamWriteOptions;

    public TRequest Current => _current ?? throw new InvalidOperationException("There is no current request; MoveNext has to return true first.");

    WriteOptions? IAsyncStreamWriter<TResponse>.WriteOptions
    {
        get => _streamWriteOptions;
        set => _streamWriteOptions = value;
    }

    public Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return Task.FromCanceled<bool>(cancellationToken);
        }

        try
        {
            if (Reader.TryRead(method.RequestMarshaller, out _current))
            {
                return Task.FromResult(true);
            }
        }
        catch (RpcException exception)
        {
            return Task.FromException<bool>(exception);
        }

        return ReadNextAsync(cancellationToken);
    }

    public Task WriteAsync(TResponse message)
    {
        ArgumentNullException.ThrowIfNull(message);
        return CancellationTokenCore.IsCancellationRequested
            ? Task.FromCanceled(CancellationTokenCore)
            : Writer.WriteAsync(method.ResponseMarshaller, message, (_streamWriteOptions ?? WriteOptionsCore)?.Flags ?? default);
    }

    public Task WriteAsync(TResponse message, CancellationToken cancellationToken)
    {
        if (cancellationToken.IsCancellationRequested)
        {
            return Task.FromCanceled(cancellationToken);
        }

        var write = WriteAsync(message);
        return write.IsCompleted ? write : write.WaitAsync(cancellationToken);
    }

    public Task WriteBatchAsync(MessageBatch<TResponse> batch, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(batch);
        if (Writer.Gzip is not null)
        {
            return this.WriteEachAsync(batch.Messages, cancellationToken);
        }

        if (cancellationToken.IsCancellationRequested || CancellationTokenCore.IsCancellationRequested)
        {
            return Task.FromCanceled(cancellationToken.IsCancellationRequested ? cancellationToken : CancellationTokenCore);
        }

        var frames = batch.In(
            (method.ResponseMarshaller, SendBytesMax),
            messages => MessageWriter.FramesOf(method.ResponseMarshaller, messages, SendBytesMax));
        var write = Writer.WriteFramesAsync(frames.Span);
        return write.IsCompleted ? write : write.WaitAsync(cancellationToken);
    }

    /// <summary>Reads the only request of a method whose client does not stream.</summary>
    public async ValueTask<TRequest> ReadRequestAsync()
    {
        try
        {
            return await Reader.ReadSingleAsync(method.RequestMarshaller, CancellationToken.None).ConfigureAwait(false);
        }
        catch (Exception exception) when (IsInputFailure(exception))
        {
            InputFailed = true;
            throw;
        }
    }

    /// <summary>Writes the only response of a method whose server does not stream; it leaves together with the trailers.</summary>
    public Task WriteResponseAsync(TResponse? response) =>
        response is null
            ? throw new RpcException(new Status(StatusCode.Cancelled, "No message returned from method."))
            : Writer.WriteAsync(method.ResponseMarshaller, response, (WriteOptionsCore?.Flags ?? default) | WriteFlags.BufferHint);

    protected override Task HandleAsync() => handler(this);

    private async Task<bool> ReadNextAsync(CancellationToken cancellationToken)
    {
        try
        {
            _current = await Reader.ReadAsync(method.RequestMarshaller, cancellationToken).ConfigureAwait(false);
            return _current is not null;
        }
        catch (Exception exception) when (IsInputFailure(exception))
        {
            InputFailed = true;
            throw;
        }
    }
}
