using System.Collections.Concurrent;
using Grpc.Core;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;

namespace Grpc.Net.Client;

/// <summary>A way to one server address; calls share its HTTP/2 connections. Disposing cancels the calls that run.</summary>
public sealed class GrpcChannel : ChannelBase, IDisposable
{
    // One entry per method called, so the generated code bounds it.
    private readonly ConcurrentDictionary<IMethod, Uri> _methodUris = new(ReferenceEqualityComparer.Instance);
    private readonly CancellationTokenSource _disposed = new();
    private readonly HttpMessageInvoker _http;
    private readonly HttpClient? _httpClient;
    private readonly bool _ownsHttp;

    private GrpcChannel(Uri address, GrpcChannelOptions options)
        : base(address.Authority)
    {
        Address = address;
        Options = options;
        var isSecure = address.Scheme == Uri.UriSchemeHttps;
        if (!isSecure && address.Scheme != Uri.UriSchemeHttp)
        {
            throw new ArgumentException($"The address has to start with http:// or https://, not '{address.Scheme}'.", nameof(address));
        }

        if (options.Credentials is { } credentials && credentials.IsSecure != isSecure)
        {
            throw new InvalidOperationException($"The credentials of the channel do not fit its address '{address}'.");
        }

        if (options.HttpClient is not null && options.HttpHandler is not null)
        {
            throw new ArgumentException("HttpClient and HttpHandler exclude each other.", nameof(options));
        }

        CallCredentials = isSecure || options.UnsafeUseInsecureChannelCallCredentials ? options.Credentials?.CallCredentials : null;
        SendsCallCredentials = isSecure || options.UnsafeUseInsecureChannelCallCredentials;
        _httpClient = options.HttpClient;
        _ownsHttp = options.DisposeHttpClient || (options.HttpClient is null && options.HttpHandler is null);
        _http = options.HttpClient ?? new HttpMessageInvoker(options.HttpHandler ?? CreateHandler(), disposeHandler: _ownsHttp);
        Backoff = new ConnectionBackoff(options.InitialReconnectBackoff, options.MaxReconnectBackoff, options.TimeProvider, new Random());
        Logger = (options.LoggerFactory ?? NullLoggerFactory.Instance).CreateLogger("Grpc.Net.Client.GrpcCall");
    }

    internal Uri Address { get; }

    internal GrpcChannelOptions Options { get; }

    internal ConnectionBackoff Backoff { get; }

    internal ILogger Logger { get; }

    internal CallCredentials? CallCredentials { get; }

    internal bool SendsCallCredentials { get; }

    internal CancellationToken Disposed => _disposed.Token;

    /// <summary>Makes a channel; connections are made by the first call that needs one.</summary>
    public static GrpcChannel ForAddress(string address) => ForAddress(address, new GrpcChannelOptions());

    /// <summary>Makes a channel with options.</summary>
    public static GrpcChannel ForAddress(string address, GrpcChannelOptions channelOptions) => ForAddress(new Uri(address), channelOptions);

    /// <summary>Makes a channel; connections are made by the first call that needs one.</summary>
    public static GrpcChannel ForAddress(Uri address) => ForAddress(address, new GrpcChannelOptions());

    /// <summary>Makes a channel with options.</summary>
    public static GrpcChannel ForAddress(Uri address, GrpcChannelOptions channelOptions)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentNullException.ThrowIfNull(channelOptions);
        return new GrpcChannel(address, channelOptions);
    }

    /// <inheritdoc/>
    public override CallInvoker CreateCallInvoker()
    {
        ObjectDisposedException.ThrowIf(_disposed.IsCancellationRequested, this);
        return new ChannelCallInvoker(this);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_disposed.IsCancellationRequested)
        {
            return;
        }

        // The source itself is kept: a call that starts now still has to find its token cancelled.
        _disposed.Cancel();
        if (_ownsHttp)
        {
            _http.Dispose();
        }
    }

    internal Uri UriOf(IMethod method) => _methodUris.GetOrAdd(method, static (key, address) => new Uri(address, key.FullName), Address);

    internal Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
        _httpClient is null
            ? _http.SendAsync(request, cancellationToken)
            : _httpClient.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);

    /// <inheritdoc/>
    protected override Task ShutdownAsyncCore()
    {
        Dispose();
        return Task.CompletedTask;
    }

    private static SocketsHttpHandler CreateHandler() => new()
    {
        UseProxy = false,
        UseCookies = false,
        AllowAutoRedirect = false,
        EnableMultipleHttp2Connections = true,
        PooledConnectionIdleTimeout = Timeout.InfiniteTimeSpan,

        // Bytes one stream may have under way: what a fast link carries in a round trip.
        InitialHttp2StreamWindowSize = 1024 * 1024,
    };
}
