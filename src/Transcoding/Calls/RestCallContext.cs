using System.Globalization;
using System.Net.Sockets;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>The context a method sees when it is called over REST: headers are metadata, the HTTP request is the call.</summary>
internal sealed class RestCallContext : ServerCallContext, IDisposable
{
    // The official server's GetHttpContext looks for this key in contexts it did not make; so does ours.
    private const string HttpContextKey = "__HttpContext";

    private readonly HttpContext _http;
    private readonly string _method;
    private readonly RestDeadline? _deadline;
    private Metadata? _requestHeaders;
    private Metadata? _responseTrailers;
    private AuthContext? _auth;

    /// <param name="http">The request.</param>
    /// <param name="method">Full gRPC name of the method.</param>
    /// <param name="time">Runs the deadline, if the request has one.</param>
    /// <exception cref="BadHttpRequestException">The deadline cannot be read.</exception>
    public RestCallContext(HttpContext http, string method, TimeProvider time)
    {
        _http = http;
        _method = method;
        _deadline = RestDeadline.Of(http, time);
        UserState[HttpContextKey] = http;
    }

    /// <summary>Sends the head of a streamed answer early; one message is sent whole, so it has none.</summary>
    public Action? StartResponse { get; set; }

    /// <summary>Whether the client's deadline has passed.</summary>
    public bool IsOverdue => _deadline?.IsReached == true;


    protected override string MethodCore => _method;

    protected override string HostCore => _http.Request.Host.Value ?? "";

    protected override string PeerCore => _http.Connection.RemoteIpAddress switch
    {
        null => "unknown",
        { AddressFamily: AddressFamily.InterNetworkV6 } ip => string.Create(CultureInfo.InvariantCulture, $"ipv6:[{ip}]:{_http.Connection.RemotePort}"),
        var ip => string.Create(CultureInfo.InvariantCulture, $"ipv4:{ip}:{_http.Connection.RemotePort}"),
    };

    protected override DateTime DeadlineCore => _deadline?.At ?? DateTime.MaxValue;

    protected override Metadata RequestHeadersCore => _requestHeaders ??= ReadHeaders(_http.Request.Headers);

    protected override CancellationToken CancellationTokenCore => _deadline?.Token ?? _http.RequestAborted;

    protected override Metadata ResponseTrailersCore => _responseTrailers ??= [];

    protected override Status StatusCore { get; set; }

    protected override WriteOptions? WriteOptionsCore { get; set; }

    protected override AuthContext AuthContextCore => _auth ??= new AuthContext(null, []);

    /// <summary>Throws if the method ended with a status other than OK instead of an exception.</summary>
    public void ThrowIfFailed()
    {
        if (Status.StatusCode != StatusCode.OK)
        {
            throw new RpcException(Status, ResponseTrailers);
        }
    }

    public void Dispose() => _deadline?.Dispose();

    protected override Task WriteResponseHeadersAsyncCore(Metadata responseHeaders)
    {
        foreach (var entry in responseHeaders)
        {
            // What frames the message is the server's business.
            if (entry.Key is "content-length" or "content-type" or "transfer-encoding" or "connection" or "trailer")
            {
                continue;
            }

            _http.Response.Headers.Append(entry.Key, entry.IsBinary ? Convert.ToBase64String(entry.ValueBytes) : entry.Value);
        }

        StartResponse?.Invoke();
        return Task.CompletedTask;
    }

    private static Metadata ReadHeaders(IHeaderDictionary headers)
    {
        var metadata = new Metadata();
        foreach (var (name, values) in headers)
        {
            var key = name.ToLowerInvariant();
            if (key.StartsWith(':'))
            {
                continue;
            }

            foreach (var value in values)
            {
                metadata.Add(ToEntry(key, value ?? ""));
            }
        }

        return metadata;
    }

    private static Metadata.Entry ToEntry(string key, string value)
    {
        if (!key.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.Ordinal))
        {
            return Metadata.Entry.FromWire(key, value);
        }

        var bytes = new byte[value.Length];
        return Convert.TryFromBase64String(value.PadRight((value.Length + 3) / 4 * 4, '='), bytes, out var length)
            ? Metadata.Entry.FromWire(key, bytes[..length])
            : throw new BadHttpRequestException($"header {key}: expected base64");
    }
}
