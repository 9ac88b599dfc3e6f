using System.Collections.Concurrent;

namespace Hub.GrpcRuntime.Tests;

/// <summary>
/// Notes the compressed flag of every message that a stream brings. Handlers and callers never see the flag, as it is nothing they should
/// depend on; the compression cases have to.
/// </summary>
internal sealed class FrameTap(Stream inner, ConcurrentQueue<bool> flags) : Stream
{
    private readonly byte[] _header = new byte[5];
    private int _headerBytes;
    private uint _payloadBytesLeft;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        var read = await inner.ReadAsync(buffer, cancellationToken);
        Follow(buffer.Span[..read]);
        return read;
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }

    private void Follow(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            if (_payloadBytesLeft > 0)
            {
                var skipped = (int)Math.Min(_payloadBytesLeft, (uint)bytes.Length);
                _payloadBytesLeft -= (uint)skipped;
                bytes = bytes[skipped..];
                continue;
            }

            _header[_headerBytes++] = bytes[0];
            bytes = bytes[1..];
            if (_headerBytes == _header.Length)
            {
                _headerBytes = 0;
                _payloadBytesLeft = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(_header.AsSpan(1));
                flags.Enqueue(_header[0] == 1);
            }
        }
    }
}

/// <summary>Taps the responses of every call of a channel.</summary>
internal sealed class TappingHandler(HttpMessageHandler inner, ConcurrentQueue<bool> flags) : DelegatingHandler(inner)
{
    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        var response = await base.SendAsync(request, cancellationToken);
        var tapped = new StreamContent(new FrameTap(await response.Content.ReadAsStreamAsync(cancellationToken), flags));
        foreach (var (name, values) in response.Content.Headers.NonValidated)
        {
            tapped.Headers.TryAddWithoutValidation(name, (IEnumerable<string>)values);
        }

        response.Content = tapped;
        return response;
    }
}
