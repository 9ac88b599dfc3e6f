using Grpc.Core;
using Grpc.Framing;
using Microsoft.Extensions.Logging;

namespace Grpc.Net.Client;

/// <summary>Options of a <see cref="GrpcChannel"/>.</summary>
public sealed class GrpcChannelOptions
{
    /// <summary>Transport security and call credentials; null takes what the address says.</summary>
    public ChannelCredentials? Credentials { get; set; }

    /// <summary>Largest message sent, in bytes; null, the default, for no limit.</summary>
    public int? MaxSendMessageSize { get; set; }

    /// <summary>Largest message taken, in bytes; null for no limit. Default 4 MiB.</summary>
    public int? MaxReceiveMessageSize { get; set; } = GrpcProtocol.DefaultReceiveBytesMax;

    /// <summary>Where the channel logs; null logs nothing.</summary>
    public ILoggerFactory? LoggerFactory { get; set; }

    /// <summary>The HTTP handler to send with, such as a SocketsHttpHandler with TLS and keep-alive options; null makes one.</summary>
    public HttpMessageHandler? HttpHandler { get; set; }

    /// <summary>The HTTP client to send with, instead of <see cref="HttpHandler"/>.</summary>
    public HttpClient? HttpClient { get; set; }

    /// <summary>Whether the channel disposes the handler or client given to it. Default false.</summary>
    public bool DisposeHttpClient { get; set; }

    /// <summary>Whether cancellation and deadline throw OperationCanceledException instead of <see cref="RpcException"/>.</summary>
    public bool ThrowOperationCanceledOnCancellation { get; set; }

    /// <summary>Whether call credentials are sent without transport security. Default false: they stay at home.</summary>
    public bool UnsafeUseInsecureChannelCallCredentials { get; set; }

    /// <summary>
    /// Wait after the first failed attempt to connect; it grows by 1.6 with each further one, 20 % more or less. Until it is over calls fail
    /// at once, or wait if they were made to. Default 1 s.
    /// </summary>
    public TimeSpan InitialReconnectBackoff { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait between attempts to connect; null for no limit. Default 120 s.</summary>
    public TimeSpan? MaxReconnectBackoff { get; set; } = TimeSpan.FromSeconds(120);

    /// <summary>The clock of deadlines and waits.</summary>
    internal TimeProvider TimeProvider { get; set; } = TimeProvider.System;
}
