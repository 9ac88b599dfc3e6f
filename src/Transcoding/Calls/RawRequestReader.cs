using Google.Protobuf;
using Grpc.Core;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>
/// A raw request body as the stream of requests a method reads: pieces of google.api.HttpBody as they arrive. The first one also
/// carries what path, query and headers say, and the body's type.
/// </summary>
internal sealed class RawRequestReader<TRequest>(RestBinding binding, HttpContext http) : IAsyncStreamReader<TRequest>, IAsyncDisposable
    where TRequest : class
{
    private Stream? _body;
    private TRequest? _current;
    private long _taken;

    public TRequest Current => _current ?? throw new InvalidOperationException("There is no current message.");

    public async Task<bool> MoveNext(CancellationToken cancellationToken)
    {
        var isFirst = _body is null;
        _body ??= binding.Request.OpenBody(http);
        var message = isFirst ? binding.BindWithoutBody(http) : (IMessage)(object)Activator.CreateInstance<TRequest>();
        var length = await binding.Request.ReadPieceAsync(http, _body, message, isFirst, _taken, cancellationToken);
        _taken += length;
        if (length == 0 && !isFirst)
        {
            return false;
        }

        _current = (TRequest)(object)message;
        return true;
    }

    public ValueTask DisposeAsync() => _body is null || _body == http.Request.Body ? ValueTask.CompletedTask : _body.DisposeAsync();
}
