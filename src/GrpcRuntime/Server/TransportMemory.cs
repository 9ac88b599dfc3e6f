using System.Buffers;
using Microsoft.AspNetCore.Connections;

namespace Grpc.AspNetCore.Server;

/// <summary>
/// Memory that the server's transports read into and write from, in blocks four times as large as theirs: a busy stream takes a quarter of
/// the reads from its socket, and fewer of its messages lie across two blocks. A connection at rest holds none, and what nobody has used for
/// long the array pool gives back.
/// </summary>
internal sealed class TransportMemory : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    /// <summary>Size of a block, in bytes.</summary>
    public const int BlockBytes = 16 * 1024;

    public override int MaxBufferSize => Array.MaxLength;

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => this;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1) => new Block(Math.Max(minBufferSize, BlockBytes));

    protected override void Dispose(bool disposing)
    {
        // The arrays are the shared pool's.
    }

    private sealed class Block(int bytes) : IMemoryOwner<byte>
    {
        private byte[]? _array = ArrayPool<byte>.Shared.Rent(bytes);

        public Memory<byte> Memory => _array ?? throw new ObjectDisposedException(nameof(Block));

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _array, null) is { } array)
            {
                ArrayPool<byte>.Shared.Return(array);
            }
        }
    }
}
