using Microsoft.AspNetCore.Server.Kestrel.Core;

namespace Hub.Hosting;

/// <summary>Which port each listener got: tests and the demo listen on port 0.</summary>
internal sealed class ListenerPorts
{
    public ListenOptions? HttpOptions { get; set; }
    public ListenOptions? GrpcOptions { get; set; }
    public ListenOptions? AdminOptions { get; set; }
    public ListenOptions? TlsOptions { get; set; }

    public Uri Http() => Of(HttpOptions);

    public Uri Grpc() => Of(GrpcOptions);

    public Uri Admin() => Of(AdminOptions);

    /// <summary>Null without a certificate.</summary>
    public Uri? Tls() => TlsOptions is { } listener ? new Uri($"https://{listener.IPEndPoint}") : null;

    private static Uri Of(ListenOptions? listener) =>
        new($"http://{(listener ?? throw new InvalidOperationException("Nothing listens yet.")).IPEndPoint}");
}
