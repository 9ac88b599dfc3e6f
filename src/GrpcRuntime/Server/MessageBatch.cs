using System.Collections.Concurrent;
using Grpc.Core;

namespace Grpc.AspNetCore.Server;

/// <summary>Messages that many streams are given, unchanged from here on: each form in which they travel is made once.</summary>
/// <param name="messages">The messages, in their order.</param>
/// <typeparam name="T">Type of the messages.</typeparam>
public sealed class MessageBatch<T>(IReadOnlyList<T> messages)
    where T : class
{
    private readonly ConcurrentDictionary<object, Lazy<byte[]>> _forms = new();

    /// <summary>The messages, in their order.</summary>
    public IReadOnlyList<T> Messages { get; } = messages;

    /// <summary>The messages as they travel in one form.</summary>
    /// <param name="form">Tells forms apart by equality: who encodes alike gives the same.</param>
    /// <param name="encode">Makes the form; called once for all who give an equal <paramref name="form"/>.</param>
    public ReadOnlyMemory<byte> In(object form, Func<IReadOnlyList<T>, byte[]> encode) =>
        _forms.GetOrAdd(form, static (_, make) => new Lazy<byte[]>(() => make.encode(make.Messages)), (encode, Messages)).Value;
}

/// <summary>A stream of answers that takes a batch in the form in which it travels.</summary>
/// <typeparam name="T">Type of the messages.</typeparam>
public interface IMessageBatchWriter<T> : IServerStreamWriter<T>
    where T : class
{
    /// <summary>As one write of each message, the last of which is not held back.</summary>
    /// <param name="batch">The messages.</param>
    /// <param name="cancellationToken">Ends the wait for the transport; the messages may be sent all the same.</param>
    public Task WriteBatchAsync(MessageBatch<T> batch, CancellationToken cancellationToken);
}

/// <summary>Batches on any stream.</summary>
public static class MessageBatchExtensions
{
    /// <summary>Writes a batch: as it travels where the stream can take that, else message by message.</summary>
    /// <param name="stream">The stream of answers.</param>
    /// <param name="batch">The messages.</param>
    /// <param name="cancellationToken">Ends the wait for the transport; the messages may be sent all the same.</param>
    /// <typeparam name="T">Type of the messages.</typeparam>
    public static Task WriteBatchAsync<T>(
        this IServerStreamWriter<T> stream, MessageBatch<T> batch, CancellationToken cancellationToken)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(batch);
        return stream is IMessageBatchWriter<T> whole
            ? whole.WriteBatchAsync(batch, cancellationToken)
            : stream.WriteEachAsync(batch.Messages, cancellationToken);
    }

    /// <summary>Writes messages one by one; all but the last may be held back for those behind them.</summary>
    /// <param name="stream">The stream of answers.</param>
    /// <param name="messages">The messages.</param>
    /// <param name="cancellationToken">Ends the wait for the transport.</param>
    /// <typeparam name="T">Type of the messages.</typeparam>
    public static async Task WriteEachAsync<T>(
        this IServerStreamWriter<T> stream, IReadOnlyList<T> messages, CancellationToken cancellationToken)
        where T : class
    {
        ArgumentNullException.ThrowIfNull(stream);
        ArgumentNullException.ThrowIfNull(messages);
        var given = stream.WriteOptions;
        var heldBack = new WriteOptions((given?.Flags ?? default) | WriteFlags.BufferHint);
        try
        {
            for (var i = 0; i < messages.Count; i++)
            {
                stream.WriteOptions = i + 1 < messages.Count ? heldBack : given;
                await stream.WriteAsync(messages[i], cancellationToken).ConfigureAwait(false);
            }
        }
        finally
        {
            stream.WriteOptions = given;
        }
    }
}
