using System.Buffers;
using System.Collections.Concurrent;
using Microsoft.AspNetCore.Connections;

namespace Grpc.AspNetCore.Server;

/// <summary>
/// Memory that the server's transports read into and write from, in blocks four times as large as theirs: a busy stream takes a quarter of
/// the reads from its socket, and fewer of its messages lie across two blocks. A connection at rest holds none. Thread-safe.
/// </summary>
internal sealed class TransportMemory : MemoryPool<byte>, IMemoryPoolFactory<byte>
{
    /// <summary>Size of a block, in bytes.</summary>
    public const int BlockBytes = 16 * 1024;

    /// <summary>Blocks kept for who comes next (16 MB); more are left to the collector.</summary>
    public const int BlocksKeptMax = 1_024;

    private readonly ConcurrentQueue<Block> _kept = new();

    public override int MaxBufferSize => Array.MaxLength;

    public MemoryPool<byte> Create(MemoryPoolOptions? options = null) => this;

    public override IMemoryOwner<byte> Rent(int minBufferSize = -1)
    {
        if (minBufferSize > BlockBytes)
        {
            return Shared.Rent(minBufferSize);
        }

        if (!_kept.TryDequeue(out var block))
        {
            return new Block(this);
        }

        block.IsRented = true;
        return block;
    }

    protected override void Dispose(bool disposing)
    {
        // All servers of an application share it, and whoever has made one disposes it.
    }

    private sealed class Block(TransportMemory owner) : IMemoryOwner<byte>
    {
        // Pinned for good, since the kernel writes into it.
        private readonly byte[] _array = GC.AllocateUninitializedArray<byte>(BlockBytes, pinned: true);

        private bool _isRented = true;

        public bool IsRented
        {
            set => Volatile.Write(ref _isRented, value);
        }

        public Memory<byte> Memory => Volatile.Read(ref _isRented) ? _array : throw new ObjectDisposedException(nameof(Block));

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isRented, false) && owner._kept.Count < BlocksKeptMax)
            {
                owner._kept.Enqueue(this);
            }
        }
    }
}
