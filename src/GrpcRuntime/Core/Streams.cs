using System.Runtime.CompilerServices;

namespace Grpc.Core;

/// <summary>Options of a single write.</summary>
[Flags]
public enum WriteFlags
{
    /// <summary>The message may wait for a later flush: more messages follow at once.</summary>
    BufferHint = 0x1,

    /// <summary>The message is not compressed even where the call compresses.</summary>
    NoCompress = 0x2,
}

/// <summary>Options of a write, or of all writes of a call.</summary>
/// <param name="flags">The flags.</param>
public class WriteOptions(WriteFlags flags = default)
{
    /// <summary>No flags.</summary>
    public static readonly WriteOptions Default = new();

    /// <summary>The flags.</summary>
    public WriteFlags Flags { get; } = flags;
}

/// <summary>A stream of messages to read, one reader at a time.</summary>
/// <typeparam name="T">The message type.</typeparam>
public interface IAsyncStreamReader<out T>
{
    /// <summary>The message of the last successful <see cref="MoveNext"/>.</summary>
    public T Current { get; }

    /// <summary>Reads the next message; false at the end of the stream.</summary>
    public Task<bool> MoveNext(CancellationToken cancellationToken);
}

/// <summary>A stream of messages to write, one writer at a time.</summary>
/// <typeparam name="T">The message type.</typeparam>
public interface IAsyncStreamWriter<in T>
{
    /// <summary>Options of the writes that follow; null means none.</summary>
    public WriteOptions? WriteOptions { get; set; }

    /// <summary>Writes a message. The task ends when the message is buffered; it waits when the peer does not keep up.</summary>
    public Task WriteAsync(T message);

    /// <summary>Writes a message; the token cancels the wait, and with it the call.</summary>
    public Task WriteAsync(T message, CancellationToken cancellationToken)
    {
        if (cancellationToken.CanBeCanceled)
        {
            throw new NotSupportedException("Cancellation of stream writes is not supported by this writer.");
        }

        return WriteAsync(message);
    }
}

/// <summary>The requests of a client.</summary>
/// <typeparam name="T">The message type.</typeparam>
public interface IClientStreamWriter<in T> : IAsyncStreamWriter<T>
{
    /// <summary>Ends the requests (half-close); the responses go on.</summary>
    public Task CompleteAsync();
}

/// <summary>The responses of a server.</summary>
/// <typeparam name="T">The message type.</typeparam>
public interface IServerStreamWriter<in T> : IAsyncStreamWriter<T>;

/// <summary>Comfort for readers.</summary>
public static class AsyncStreamReaderExtensions
{
    /// <summary>Reads the next message; false at the end of the stream.</summary>
    public static Task<bool> MoveNext<T>(this IAsyncStreamReader<T> streamReader)
    {
        ArgumentNullException.ThrowIfNull(streamReader);
        return streamReader.MoveNext(CancellationToken.None);
    }

    /// <summary>All messages that are left, for <c>await foreach</c>.</summary>
    public static async IAsyncEnumerable<T> ReadAllAsync<T>(
        this IAsyncStreamReader<T> streamReader,
        [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(streamReader);
        while (await streamReader.MoveNext(cancellationToken).ConfigureAwait(false))
        {
            yield return streamReader.Current;
        }
    }
}
