using System.Net;
using System.Net.Http.Headers;
using Grpc.Framing;

namespace Grpc.Net.Client;

/// <summary>The request stream of a call, as HTTP content that lasts as long as the call sends.</summary>
internal sealed class RequestContent : HttpContent
{
    public static readonly MediaTypeHeaderValue GrpcMediaType = new(GrpcProtocol.ContentType);

    private readonly Func<Stream, CancellationToken, Task> _send;

    public RequestContent(Func<Stream, CancellationToken, Task> send)
    {
        _send = send;
        Headers.ContentType = GrpcMediaType;
    }

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => _send(stream, CancellationToken.None);

    protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken) =>
        _send(stream, cancellationToken);

    protected override bool TryComputeLength(out long length)
    {
        length = 0;
        return false;
    }
}
