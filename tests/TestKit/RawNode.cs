using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.TestKit;

/// <summary>A node that sends and reads single frames, as a test says: no journal, no windows, no manners.</summary>
public sealed class RawNode : IAsyncDisposable
{
    private readonly AsyncDuplexStreamingCall<ConnectRequest, ConnectResponse> _call;

    private RawNode(AsyncDuplexStreamingCall<ConnectRequest, ConnectResponse> call) => _call = call;

    /// <summary>Opens the stream and sends nothing.</summary>
    public static RawNode Dial(HubHost hub, string credential) => Dial(hub.Channel, credential);

    /// <summary>Opens the stream on a way of its own to the Hub and sends nothing.</summary>
    public static RawNode Dial(ChannelBase channel, string credential) =>
        new(new LinkService.LinkServiceClient(channel).Connect(HubHost.With(credential)));

    /// <summary>Opens the stream and says Hello with an empty journal, or with what <paramref name="change"/> makes of it.</summary>
    public static async Task<RawNode> ConnectAsync(
        HubHost hub, string credential, string instanceId = "instance", string journalId = "journal", Action<Hello>? change = null)
    {
        var node = Dial(hub, credential);
        await node.HelloAsync(instanceId, journalId, change);
        return node;
    }

    public Task HelloAsync(string instanceId = "instance", string journalId = "journal", Action<Hello>? change = null)
    {
        var hello = new Hello { ProtocolMin = 1, ProtocolMax = 1, InstanceId = instanceId, JournalId = journalId };
        change?.Invoke(hello);
        return SendAsync(new ConnectRequest { Hello = hello });
    }

    public static ConnectRequest TaskBatch(long firstSeq, params (string Id, string Status)[] tasks) => Batch(
        Lane.Data,
        firstSeq,
        [
            .. tasks.Select((task, i) => new Entry
            {
                Delta = new Delta
                {
                    RecordId = task.Id,
                    Op = DeltaOp.Upsert,
                    Collection = Collection.Tasks,
                    Version = firstSeq + i,
                    Task = new HostTask { Id = task.Id, Title = task.Id, Status = task.Status },
                },
            }),
        ]);

    public static ConnectRequest Commands(long firstSeq, params Entry[] entries) => Batch(Lane.Commands, firstSeq, entries);

    public static ConnectRequest Batch(Lane lane, long firstSeq, params Entry[] entries)
    {
        var seq = firstSeq;
        foreach (var entry in entries)
        {
            entry.Seq = seq++;
        }

        return new ConnectRequest { Batch = new Batch { Lane = lane, FirstSeq = firstSeq, LastSeq = seq - 1, Entries = { entries } } };
    }

    public Task SendAsync(ConnectRequest frame) => _call.RequestStream.WriteAsync(frame).Within();

    /// <summary>Sends, or finds that the stream has ended.</summary>
    public async Task TrySendAsync(ConnectRequest frame)
    {
        try
        {
            await SendAsync(frame);
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException)
        {
            // The Hub was faster.
        }
    }

    /// <exception cref="RpcException">The call ended with an error.</exception>
    /// <exception cref="EndOfStreamException">The call ended.</exception>
    public async Task<ConnectResponse> ReadAsync() =>
        await _call.ResponseStream.MoveNext(CancellationToken.None).Within() ? _call.ResponseStream.Current : throw new EndOfStreamException();

    /// <summary>Reads frames until one fits.</summary>
    public async Task<ConnectResponse> ReadUntilAsync(Predicate<ConnectResponse> fits)
    {
        while (true)
        {
            var frame = await ReadAsync();
            if (fits(frame))
            {
                return frame;
            }
        }
    }

    public async Task<IReadOnlyList<ConnectResponse>> ReadUntilEndAsync()
    {
        var frames = new List<ConnectResponse>();
        try
        {
            while (await _call.ResponseStream.MoveNext(CancellationToken.None).Within())
            {
                frames.Add(_call.ResponseStream.Current);
            }
        }
        catch (RpcException)
        {
            // The status after the last frame.
        }

        return frames;
    }

    /// <summary>Half-closes: this node has nothing more to say.</summary>
    public Task CompleteAsync() => _call.RequestStream.CompleteAsync().Within();

    public ValueTask DisposeAsync()
    {
        _call.Dispose();
        return ValueTask.CompletedTask;
    }
}
