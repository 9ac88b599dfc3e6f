using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;

namespace Hub.AgentClient.Internal;

/// <summary>
/// Ways to the Hub. Every link opens a channel, and with it a TCP connection, of its own: a dead path is left behind with the link that
/// found it dead.
/// </summary>
internal sealed class HubChannel(HubLinkOptions options)
{
    private static readonly TimeSpan ConnectTimeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan PingTimeout = TimeSpan.FromSeconds(10);

    // Linux: IPPROTO_TCP and TCP_USER_TIMEOUT. Without it retransmission hides a dead path for about 15 minutes.
    private const int TcpLevel = 6;
    private const int TcpUserTimeout = 18;
    private const int TcpUserTimeoutMilliseconds = 30_000;

    public GrpcChannel Open() => GrpcChannel.ForAddress(options.HubUrl, new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            ConnectCallback = ConnectAsync,
            ConnectTimeout = ConnectTimeout,
            KeepAlivePingDelay = PingDelay,
            KeepAlivePingTimeout = PingTimeout,
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.WithActiveRequests,
            UseProxy = !options.HubUrl.IsLoopback,
            UseCookies = false,
            AllowAutoRedirect = false,
        },
        DisposeHttpClient = true,
        LoggerFactory = options.LoggerFactory,
    });

    public static Metadata Authorization(string credential) => new() { { "authorization", $"Bearer {credential}" } };

    private static async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            if (OperatingSystem.IsLinux())
            {
                socket.SetRawSocketOption(TcpLevel, TcpUserTimeout, BitConverter.GetBytes(TcpUserTimeoutMilliseconds));
            }

            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
