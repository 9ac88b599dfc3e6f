namespace Hub.GrpcRuntime.Tests;

/// <summary>Gives its bytes in pieces of random size, as a network does.</summary>
internal sealed class ChunkedStream(byte[] bytes, int seed) : MemoryStream(bytes, writable: false)
{
    private const int PieceBytesMax = 96;

    private readonly Random _random = new(seed);

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        base.ReadAsync(buffer[..Math.Min(buffer.Length, 1 + _random.Next(PieceBytesMax))], cancellationToken);
}
