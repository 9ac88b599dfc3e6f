using System.IO.Compression;
using Grpc.Framing;

namespace Grpc.AspNetCore.Server;

/// <summary>Options of all services, or with <see cref="GrpcServiceOptions{TService}"/> of one.</summary>
public class GrpcServiceOptions
{
    private int? _maxReceiveMessageSize = GrpcProtocol.DefaultReceiveBytesMax;
    private int? _maxSendMessageSize;

    /// <summary>Largest message taken, in bytes; null for no limit. Default 4 MiB.</summary>
    public int? MaxReceiveMessageSize
    {
        get => _maxReceiveMessageSize;
        set => (_maxReceiveMessageSize, IsReceiveSizeSet) = (value, true);
    }

    /// <summary>Largest message sent, in bytes; null, the default, for no limit.</summary>
    public int? MaxSendMessageSize
    {
        get => _maxSendMessageSize;
        set => (_maxSendMessageSize, IsSendSizeSet) = (value, true);
    }

    /// <summary>
    /// How long a client may take over what is left of a response stream when the handler is done; then the call is reset with CANCEL.
    /// Null, the default, for as long as its connection lives.
    /// </summary>
    public TimeSpan? CompletionTimeout { get; set; }

    /// <summary>Whether clients see the text of unhandled exceptions. Default false.</summary>
    public bool? EnableDetailedErrors { get; set; }

    /// <summary>Whether calls to unknown methods are left to other endpoints instead of being answered with UNIMPLEMENTED.</summary>
    public bool? IgnoreUnknownServices { get; set; }

    /// <summary>Compression of responses for clients that accept it: <c>gzip</c>, or null, the default, for none.</summary>
    public string? ResponseCompressionAlgorithm { get; set; }

    /// <summary>How hard to compress. Default <see cref="CompressionLevel.Fastest"/>.</summary>
    public CompressionLevel? ResponseCompressionLevel { get; set; }

    /// <summary>The interceptors, outermost first; those of all services stand before those of one.</summary>
    public InterceptorCollection Interceptors { get; } = [];

    /// <summary>Set when the application is built; null for options made by hand.</summary>
    internal SingletonServices? Singletons { get; set; }

    internal bool IsReceiveSizeSet { get; private set; }

    internal bool IsSendSizeSet { get; private set; }
}

/// <summary>Options of one service; what is set here wins over the options of all services.</summary>
/// <typeparam name="TService">The service.</typeparam>
public class GrpcServiceOptions<TService> : GrpcServiceOptions
    where TService : class;
