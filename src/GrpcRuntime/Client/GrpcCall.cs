using System.Diagnostics.CodeAnalysis;
using System.IO.Pipelines;
using System.Net;
using Grpc.Core;
using Grpc.Framing;

namespace Grpc.Net.Client;

/// <summary>
/// One call on the client, with its requests and responses. It ends once: by its trailers, its deadline, a cancellation, a failure or
/// <see cref="Dispose"/>, whichever <see cref="TryEnd"/> sees first. Ending early resets the HTTP/2 stream.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The token source has no timer and no handle; it is left to the collector, because late callbacks may still cancel it.")]
internal sealed class GrpcCall<TRequest, TResponse> : IAsyncStreamReader<TResponse>, IClientStreamWriter<TRequest>, IDisposable
    where TRequest : class
    where TResponse : class
{
    private const string UserAgent = "grpc-csharp-runtime/1.0";

    // A stream may be quiet for days, so it holds no buffer while it waits; a single response is as good as there.
    private static readonly StreamPipeReaderOptions StreamOptions = new(bufferSize: 16 * 1024, minimumReadSize: 1024, useZeroByteReads: true);
    private static readonly StreamPipeReaderOptions SingleOptions = new(bufferSize: 4 * 1024, minimumReadSize: 1024);

    private readonly Lock _gate = new();
    private readonly GrpcChannel _channel;
    private readonly Method<TRequest, TResponse> _method;
    private readonly string? _host;
    private readonly CallOptions _options;
    private readonly MessageWriter _writer;
    private readonly CancellationTokenSource _cancellation = new();
    private readonly TaskCompletionSource<Metadata> _headers = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource? _requestsEnded; // Of calls whose client streams.
    private byte[] _request = []; // Of calls whose client does not: the one message, framed.
    private DateTime _deadline = DateTime.MaxValue;
    private ITimer? _deadlineTimer;
    private CancellationTokenRegistration _onCallToken;
    private CancellationTokenRegistration _onParentToken;
    private CancellationTokenRegistration _onChannelDisposed;
    private Task _started = Task.CompletedTask;
    private volatile MessageReader? _reader;
    private TResponse? _current;

    // Guarded by the gate.
    private HttpResponseMessage? _response;
    private CallOutcome? _outcome;

    public GrpcCall(GrpcChannel channel, Method<TRequest, TResponse> method, string? host, CallOptions options)
    {
        _channel = channel;
        _method = method;
        _host = host;
        _options = options;
        _writer = new MessageWriter(channel.Options.MaxSendMessageSize, replays: IsRequestStreaming);
        if (IsRequestStreaming)
        {
            _requestsEnded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        }
    }

    public Task<Metadata> ResponseHeadersAsync => _headers.Task;

    public WriteOptions? WriteOptions { get; set; }

    public TResponse Current => _current ?? throw new InvalidOperationException("There is no current response; MoveNext has to return true first.");

    private bool IsRequestStreaming => _method.Type is MethodType.ClientStreaming or MethodType.DuplexStreaming;

    private bool IsResponseStreaming => _method.Type is MethodType.ServerStreaming or MethodType.DuplexStreaming;

    /// <summary>Starts a call whose client does not stream.</summary>
    public void Start(TRequest request)
    {
        ArgumentNullException.ThrowIfNull(request);
        ApplyRequestEncoding();

        // Framed only: it leaves as a whole, together with the headers and the end of the stream.
        var write = _writer.WriteAsync(_method.RequestMarshaller, request, _options.WriteOptions?.Flags ?? default);
        if (write.Exception?.InnerException is { } failure)
        {
            TryEnd(ClientStatus.FromException(failure), []);
        }

        _request = _writer.TakeWhole();
        Begin();
    }

    /// <summary>Starts a call whose client streams.</summary>
    public void Start()
    {
        ApplyRequestEncoding();
        Begin();
    }

    /// <summary>Reads the only response of a method whose server does not stream.</summary>
    public async Task<TResponse> ReadSingleAsync()
    {
        TResponse? response = null;
        if (await ReadNextAsync().ConfigureAwait(false))
        {
            response = _current;
            if (await ReadNextAsync().ConfigureAwait(false))
            {
                TryEnd(new Status(StatusCode.Unimplemented, "More than one message came where one was expected."), []);
                throw Failure();
            }
        }

        return response ?? throw new RpcException(new Status(StatusCode.Unimplemented, "The call ended without a message."), GetTrailers());
    }

    public Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        if (!cancellationToken.CanBeCanceled)
        {
            return TryReadNow() ? Task.FromResult(true) : ReadNextAsync();
        }

        if (cancellationToken.IsCancellationRequested)
        {
            Cancel();
        }

        return TryReadNow() ? Task.FromResult(true) : ReadNextOrCancelAsync(cancellationToken);
    }

    public Task WriteAsync(TRequest message)
    {
        ArgumentNullException.ThrowIfNull(message);
        if (_requestsEnded!.Task.IsCompletedSuccessfully)
        {
            return Task.FromException(
                new InvalidOperationException("Can't write the message because the client stream writer is complete."));
        }

        var write = _writer.WriteAsync(_method.RequestMarshaller, message, (WriteOptions ?? _options.WriteOptions)?.Flags ?? default);
        return write.IsCompletedSuccessfully ? write : WithStatusAsync(write);
    }

    public async Task WriteAsync(TRequest message, CancellationToken cancellationToken)
    {
        using var registration = cancellationToken.UnsafeRegister(static call => ((GrpcCall<TRequest, TResponse>)call!).Cancel(), this);
        await WriteAsync(message).ConfigureAwait(false);
    }

    public Task CompleteAsync()
    {
        _requestsEnded!.TrySetResult();
        return Task.CompletedTask;
    }

    public Status GetStatus() => Outcome("status").Status;

    public Metadata GetTrailers() => Outcome("trailers").Trailers;

    public void Dispose() => TryEnd(new Status(StatusCode.Cancelled, "gRPC call disposed."), []);

    // Transports fail in their own words; callers are told as by the other operations of a call.
    private static async Task WithStatusAsync(Task write)
    {
        try
        {
            await write.ConfigureAwait(false);
        }
        catch (Exception exception) when (exception is IOException or HttpRequestException or OperationCanceledException or ObjectDisposedException)
        {
            throw new RpcException(ClientStatus.FromException(exception));
        }
    }

    private void Cancel() => TryEnd(new Status(StatusCode.Cancelled, "Call canceled by the client."), []);

    private void ApplyRequestEncoding()
    {
        if (_options.Headers?.GetValue(GrpcProtocol.RequestEncodingHeader) == GrpcProtocol.GzipEncoding)
        {
            _writer.Gzip = System.IO.Compression.CompressionLevel.Fastest;
        }
    }

    private void Begin()
    {
        var time = _channel.Options.TimeProvider;
        _deadline = EffectiveDeadline();
        if (_deadline != DateTime.MaxValue)
        {
            var left = _deadline - time.GetUtcNow().UtcDateTime;
            if (left <= TimeSpan.Zero)
            {
                OnDeadline();
            }
            else
            {
                var watched = left < GrpcProtocol.TimeoutMax ? left : GrpcProtocol.TimeoutMax;
                _deadlineTimer = time.CreateTimer(
                    static call => ((GrpcCall<TRequest, TResponse>)call!).OnDeadline(), this, watched, Timeout.InfiniteTimeSpan);
            }
        }

        _onCallToken = OnCancelled(_options.CancellationToken);
        _onParentToken = OnCancelled(_options.PropagationToken?.CancellationToken ?? default);
        _onChannelDisposed = OnCancelled(_channel.Disposed);

        // A cancellation between the registrations found nothing to unregister yet.
        if (IsEnded())
        {
            ReleaseTriggers();
        }

        _started = SendAsync();
    }

    private CancellationTokenRegistration OnCancelled(CancellationToken token) =>
        token.UnsafeRegister(static call => ((GrpcCall<TRequest, TResponse>)call!).Cancel(), this);

    private void OnDeadline() => TryEnd(new Status(StatusCode.DeadlineExceeded, "Deadline Exceeded"), []);

    private DateTime EffectiveDeadline()
    {
        var deadline = _options.Deadline ?? DateTime.MaxValue;
        if (deadline.Kind != DateTimeKind.Utc && deadline != DateTime.MaxValue && deadline != DateTime.MinValue)
        {
            throw new InvalidOperationException("Deadline must have a kind DateTimeKind.Utc or be equal to DateTime.MaxValue or DateTime.MinValue.");
        }

        var parent = _options.PropagationToken?.Deadline ?? DateTime.MaxValue;
        return parent < deadline ? parent : deadline;
    }

    /// <summary>Sends the request and waits for the response headers. Never throws: the outcome tells.</summary>
    private async Task SendAsync()
    {
        try
        {
            _cancellation.Token.ThrowIfCancellationRequested();
            var metadata = await CollectMetadataAsync().ConfigureAwait(false);
            var response = await SendWithPatienceAsync(metadata).ConfigureAwait(false);
            lock (_gate)
            {
                _response = response;
            }

            if (IsEnded())
            {
                // The end came while the headers were under way and could not dispose what was not there yet.
                response.Dispose();
                return;
            }

            await AcceptAsync(response).ConfigureAwait(false);
        }
        catch (Exception exception)
        {
            EndByFailure(exception);
        }
    }

    private async Task AcceptAsync(HttpResponseMessage response)
    {
        var status = ClientStatus.FromHeaders(response.Headers);
        if (status is not null)
        {
            var trailers = ClientStatus.ToMetadata(response.Headers);
            _headers.TrySetResult(trailers);
            EndByPeer(status.Value, trailers);
            return;
        }

        if (response.StatusCode != HttpStatusCode.OK)
        {
            throw new RpcException(ClientStatus.FromHttpStatus(response.StatusCode));
        }

        if (!GrpcProtocol.IsGrpcContentType(response.Content.Headers.ContentType?.MediaType))
        {
            throw new RpcException(new Status(
                StatusCode.Unknown, $"Bad gRPC response. Invalid content-type value: {response.Content.Headers.ContentType}"));
        }

        var stream = await response.Content.ReadAsStreamAsync(_cancellation.Token).ConfigureAwait(false);
        var input = PipeReader.Create(stream, IsResponseStreaming ? StreamOptions : SingleOptions);
        var reader = new MessageReader(input, _channel.Options.MaxReceiveMessageSize)
        {
            UnknownEncodingStatus = StatusCode.Internal,
        };
        if (response.Headers.NonValidated.TryGetValues(GrpcProtocol.EncodingHeader, out var encoding))
        {
            reader.Encoding = encoding.ToString();
        }

        _reader = reader;
        _writer.StopReplay();
        _headers.TrySetResult(ClientStatus.ToMetadata(response.Headers));
    }

    private async ValueTask<Metadata?> CollectMetadataAsync()
    {
        var channelCredentials = _channel.CallCredentials;
        var callCredentials = _options.Credentials;
        if (callCredentials is not null && !_channel.SendsCallCredentials)
        {
            ClientLog.CallCredentialsNotSent(_channel.Logger);
            callCredentials = null;
        }

        if (channelCredentials is null && callCredentials is null)
        {
            return _options.Headers;
        }

        // Credentials may add entries; the caller's own metadata stays as it is.
        var metadata = new Metadata();
        foreach (var entry in _options.Headers ?? Metadata.Empty)
        {
            metadata.Add(entry);
        }

        var context = new AuthInterceptorContext(new Uri(_channel.Address, _method.ServiceName).ToString(), _method.Name, _cancellation.Token);
        if (channelCredentials is not null)
        {
            await channelCredentials.ApplyAsync(context, metadata).ConfigureAwait(false);
        }

        if (callCredentials is not null)
        {
            await callCredentials.ApplyAsync(context, metadata).ConfigureAwait(false);
        }

        return metadata;
    }

    /// <summary>Sends; while no connection can be made, a call that waits for ready sends again and any other fails.</summary>
    private async Task<HttpResponseMessage> SendWithPatienceAsync(Metadata? metadata)
    {
        var backoff = _channel.Backoff;
        while (true)
        {
            var left = backoff.Left(out var attempt, out var cause);
            if (left > TimeSpan.Zero)
            {
                if (!_options.IsWaitForReady)
                {
                    throw new RpcException(new Status(
                        StatusCode.Unavailable, $"The server is not reachable; the next attempt is in {left.TotalSeconds:F1} s. {cause?.Message}", cause));
                }

                ClientLog.WaitingForServer(_channel.Logger, _method.FullName, left, cause);
                await Task.Delay(left, _channel.Options.TimeProvider, _cancellation.Token).ConfigureAwait(false);
            }

            try
            {
                var response = await _channel.SendAsync(CreateRequest(metadata), _cancellation.Token).ConfigureAwait(false);
                backoff.Succeeded();
                return response;
            }
            catch (HttpRequestException exception) when (
                exception.HttpRequestError is HttpRequestError.ConnectionError
                    or HttpRequestError.NameResolutionError
                    or HttpRequestError.SecureConnectionError)
            {
                backoff.Failed(attempt, exception);
                if (!_options.IsWaitForReady)
                {
                    throw;
                }
            }
        }
    }

    private HttpRequestMessage CreateRequest(Metadata? metadata)
    {
        var request = new HttpRequestMessage(HttpMethod.Post, _channel.UriOf(_method))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = IsRequestStreaming ? new RequestContent(SendRequestsAsync) : WholeContent(),
        };
        var headers = request.Headers;
        headers.Host = _host;
        headers.TryAddWithoutValidation("te", "trailers");
        headers.TryAddWithoutValidation(GrpcProtocol.AcceptEncodingHeader, GrpcProtocol.AcceptedEncodings);
        if (_writer.Gzip is not null)
        {
            headers.TryAddWithoutValidation(GrpcProtocol.EncodingHeader, GrpcProtocol.GzipEncoding);
        }

        if (_deadline != DateTime.MaxValue)
        {
            var left = _deadline - _channel.Options.TimeProvider.GetUtcNow().UtcDateTime;
            headers.TryAddWithoutValidation(GrpcProtocol.TimeoutHeader, GrpcProtocol.FormatTimeout(left));
        }

        var hasUserAgent = false;
        foreach (var entry in metadata ?? Metadata.Empty)
        {
            if (!GrpcProtocol.IsProtocolHeader(entry.Key) && entry.Key != GrpcProtocol.RequestEncodingHeader)
            {
                hasUserAgent |= entry.Key == "user-agent";
                headers.TryAddWithoutValidation(entry.Key, entry.ToWire());
            }
        }

        if (!hasUserAgent)
        {
            headers.TryAddWithoutValidation("user-agent", UserAgent);
        }

        return request;
    }

    private ByteArrayContent WholeContent() => new(_request) { Headers = { ContentType = RequestContent.GrpcMediaType } };

    /// <summary>Runs as the body of the HTTP request, from its headers to its end; again if the server refuses the stream.</summary>
    private async Task SendRequestsAsync(Stream stream, CancellationToken cancellationToken)
    {
        var output = PipeWriter.Create(stream, new StreamPipeWriterOptions(leaveOpen: true));
        await _writer.DetachAsync().ConfigureAwait(false);
        if (!_writer.Start(output))
        {
            throw new RpcException(new Status(StatusCode.Unavailable, "The server refused the stream, and too much was sent to start over."));
        }

        try
        {
            // The server sees the call now, not with the first message.
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
            await stream.FlushAsync(cancellationToken).ConfigureAwait(false);
            _writer.Flush();
            await _requestsEnded!.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
            await _writer.CompleteAsync(output).AsTask().WaitAsync(cancellationToken).ConfigureAwait(false);
            await output.FlushAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested && !IsEnded())
        {
            // The transport has lost the stream, and its own failure says why; thrown from here, a cancellation would hide it.
        }
    }

    private bool TryReadNow()
    {
        if (_reader is null || IsEnded())
        {
            return false;
        }

        try
        {
            return _reader.TryRead(_method.ResponseMarshaller, out _current);
        }
        catch (RpcException exception)
        {
            TryEnd(exception.Status, []);
            return false;
        }
    }

    private async Task<bool> ReadNextOrCancelAsync(CancellationToken cancellationToken)
    {
        using var registration = OnCancelled(cancellationToken);
        return await ReadNextAsync().ConfigureAwait(false);
    }

    private async Task<bool> ReadNextAsync()
    {
        await _started.ConfigureAwait(false);
        _current = null;
        if (_reader is { } reader && !IsEnded())
        {
            try
            {
                _current = await reader.ReadAsync(_method.ResponseMarshaller, _cancellation.Token).ConfigureAwait(false);
                if (_current is not null)
                {
                    return true;
                }

                reader.Complete();
                var trailers = _response!.TrailingHeaders;
                EndByPeer(
                    ClientStatus.FromHeaders(trailers) ?? new Status(StatusCode.Unknown, "The response ended without grpc-status."),
                    ClientStatus.ToMetadata(trailers));
            }
            catch (Exception exception)
            {
                EndByFailure(exception);
            }
        }

        return GetStatus().StatusCode == StatusCode.OK ? false : throw Failure();
    }

    private bool IsEnded()
    {
        lock (_gate)
        {
            return _outcome is not null;
        }
    }

    private CallOutcome Outcome(string what)
    {
        lock (_gate)
        {
            return _outcome ?? throw new InvalidOperationException($"Unable to get the {what} because the call is not complete.");
        }
    }

    private Exception Failure()
    {
        var outcome = Outcome("status");
        if (_channel.Options.ThrowOperationCanceledOnCancellation
            && outcome.Status.StatusCode is StatusCode.Cancelled or StatusCode.DeadlineExceeded)
        {
            return new OperationCanceledException(outcome.Status.Detail, outcome.ToException(), _options.CancellationToken);
        }

        // Thrown more than once, so each time a new one: an exception keeps the stack of one throw.
        return outcome.ToException();
    }

    private void EndByPeer(Status status, Metadata trailers)
    {
        if (status.StatusCode == StatusCode.Cancelled && IsDeadlineOver())
        {
            OnDeadline();
        }

        TryEnd(status, trailers, isNatural: true);
    }

    private void EndByFailure(Exception exception)
    {
        var status = ClientStatus.FromException(exception);
        if (status.StatusCode == StatusCode.Cancelled && IsDeadlineOver())
        {
            OnDeadline();
        }

        TryEnd(status, []);
    }

    // The server watches the same deadline and may cancel the call a moment before our own timer fires; to the caller that is the deadline.
    private bool IsDeadlineOver() => _deadline <= _channel.Options.TimeProvider.GetUtcNow().UtcDateTime;

    private void TryEnd(Status status, Metadata trailers, bool isNatural = false)
    {
        HttpResponseMessage? response;
        lock (_gate)
        {
            if (_outcome is not null)
            {
                return;
            }

            _outcome = new CallOutcome(status, trailers);
            response = _response;
        }

        ClientLog.CallEnded(_channel.Logger, _method.FullName, status.StatusCode, status.DebugException);
        ReleaseTriggers();
        if (_requestsEnded is not null)
        {
            _writer.Abort(new RpcException(status, trailers));

            // Cancelled and not completed: a half-close would tell the server that the requests are whole.
            _requestsEnded.TrySetCanceled();
        }

        if (!_headers.Task.IsCompleted && _headers.TrySetException(new RpcException(status, trailers)))
        {
            // Most callers never look at the headers; their failure is the failure of the call.
            _ = _headers.Task.Exception;
        }

        if (!isNatural)
        {
            _cancellation.Cancel();
        }

        response?.Dispose();
    }

    private void ReleaseTriggers()
    {
        _deadlineTimer?.Dispose();

        // Unregister, not Dispose: this may run inside one of the callbacks while another waits for the gate.
        _onCallToken.Unregister();
        _onParentToken.Unregister();
        _onChannelDisposed.Unregister();
    }

    /// <summary>How the call ended; an exception only where one is thrown.</summary>
    private sealed record CallOutcome(Status Status, Metadata Trailers)
    {
        public RpcException ToException() => new(Status, Trailers);
    }
}
