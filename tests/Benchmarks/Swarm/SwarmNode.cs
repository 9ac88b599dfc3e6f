using System.Globalization;
using System.Threading.Channels;
using Grpc.Core;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.Benchmarks.Swarm;

/// <summary>
/// A node as cheap as it can be: the link protocol by hand over the generated client, its journal in memory. It keeps the rules that a fleet
/// lives by: numbers and replay, credit, accept before start, Drain and back-off. It does not re-sync.
/// </summary>
internal sealed class SwarmNode(SwarmPlan plan, int index, string hostId, string credential, SwarmPaths paths, SwarmTally tally, TimeProvider time)
{
    /// <summary>Prefix of the idempotency key of a command; the timestamp of its creation follows.</summary>
    public const string KeyPrefix = "swarm-";

    /// <summary>Batches of a lane in flight: few, since a swarm has many nodes.</summary>
    private const int InFlightMax = 16;

    /// <summary>Frames waiting to be written: the windows of all lanes and the answers to the Hub's offers.</summary>
    private const int OutboxMax = 512;

    /// <summary>Tasks of a node; its deltas go round them.</summary>
    public const int Tasks = 50;

    public const string TaskStatus = "doing";

    private static readonly TimeSpan TakenOverWait = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan DeafHeartbeat = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<Lane, SwarmLane> _lanes = new()
    {
        [Lane.Commands] = new(Lane.Commands),
        [Lane.Chat] = new(Lane.Chat),
        [Lane.Data] = new(Lane.Data),
    };

    /// <summary>Offers taken, until their outcome is acknowledged.</summary>
    private readonly Dictionary<string, RunningCommand> _held = new(StringComparer.Ordinal);

    private readonly BackOff _backOff = new(plan.BackOffFirst, plan.BackOffMax, new Random(plan.Seed + index));
    private readonly string _journalId = Guid.NewGuid().ToString("N");
    private readonly string _instanceId = Guid.NewGuid().ToString("N");
    private readonly string _text = new('x', plan.TextBytes);
    private Channel<ConnectRequest>? _outbox;
    private CancellationTokenSource? _cut;
    private long _epoch;
    private long _chatDown;
    private int _hub;
    // Versions are times in microseconds, ids take what is left of them.
    private long _made = time.GetUtcNow().ToUnixTimeMilliseconds() * 1_000;
    private (TimeSpan Told, long At, long DialledAt)? _drained;

    public string HostId => hostId;

    /// <summary>Of a task in a version: another each time, or nothing would have changed.</summary>
    public static string TitleOf(long version) => string.Create(CultureInfo.InvariantCulture, $"Load {version}");

    private bool IsDeaf => plan.FirstIsDeaf && index == 0;

    /// <summary>Dials until the swarm stops or the Hub wants it no more.</summary>
    public async Task RunAsync(Func<SwarmNode, Task> onDeaf, CancellationToken stopping)
    {
        try
        {
            while (await LinkOnceAsync(onDeaf, stopping) is { } wait)
            {
                await Task.Delay(wait, time, stopping);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The swarm ends.
        }
    }

    public void Heartbeat() => Post(new ConnectRequest { Heartbeat = new() { ChatDownSeq = Volatile.Read(ref _chatDown) } });

    public void PublishTasks(long dueAt) => Publish(Lane.Data, dueAt, plan.EntriesPerBatch, _ => TaskEntry(++_made, _text));

    /// <summary>A change of one of a node's tasks.</summary>
    public static Entry TaskEntry(long version, string text)
    {
        var id = $"task-{version % Tasks}";
        return new Entry
        {
            Delta = new Delta
            {
                RecordId = id,
                Op = DeltaOp.Upsert,
                Collection = Collection.Tasks,
                Version = version,
                Task = new HostTask { Id = id, Title = TitleOf(version), Status = TaskStatus, Description = text },
            },
        };
    }

    public void Chat(long dueAt) => Publish(Lane.Chat, dueAt, 1, _ => new Entry
    {
        Chat = new ChatMessage { Id = $"{_journalId}-{_made++}", From = "node", Content = _text },
    });

    /// <summary>The path dies without a word.</summary>
    public void Cut()
    {
        lock (_gate)
        {
            _cut?.Cancel();
        }
    }

    private void Publish(Lane lane, long dueAt, int count, Func<int, Entry> make)
    {
        lock (_gate)
        {
            if (_outbox is null || IsDeaf || _lanes[lane].Waiting >= InFlightMax)
            {
                tally.Held(count);
                return;
            }

            Post(new ConnectRequest { Batch = _lanes[lane].Next(Enumerable.Range(0, count).Select(make), dueAt) });
        }

        if (lane == Lane.Data)
        {
            tally.DeltasSent(count);
        }
    }

    /// <returns>How long to wait before the next link; null if there is to be none.</returns>
    private async Task<TimeSpan?> LinkOnceAsync(Func<SwarmNode, Task> onDeaf, CancellationToken stopping)
    {
        tally.Dialled();
        if (_drained is { DialledAt: 0 } drained)
        {
            _drained = drained with { DialledAt = time.GetTimestamp() };
        }

        var (channel, own) = paths.Take(index, _hub);
        using var cut = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        var end = "CUT";
        var isLive = false;
        TimeSpan? told = null;
        Task writing = Task.CompletedTask;
        try
        {
            using var call = new LinkService.LinkServiceClient(channel)
                .Connect(new Metadata { { "authorization", $"Bearer {credential}" } }, cancellationToken: cut.Token);
            await call.RequestStream.WriteAsync(new ConnectRequest { Hello = Hello() }, cut.Token);
            while (await call.ResponseStream.MoveNext(cut.Token))
            {
                var frame = call.ResponseStream.Current;
                if (frame.Welcome is { } welcome)
                {
                    writing = WriteAsync(call.RequestStream, Open(welcome, cut), cut.Token);
                    isLive = true;
                    tally.Welcomed();
                    if (IsDeaf)
                    {
                        await BeDeafAsync(onDeaf, writing);
                        return null;
                    }
                }
                else if (frame.Drain is { } drain)
                {
                    _drained = (drain.ReconnectAfter.ToTimeSpan(), time.GetTimestamp(), 0);
                    told = drain.ReconnectAfter.ToTimeSpan();
                    _hub++;
                }
                else if (frame.Goodbye is { } goodbye)
                {
                    end = goodbye.Reason.ToString();
                    told ??= goodbye.Reason == GoodbyeReason.TakenOver ? TakenOverWait : goodbye.RetryAfter?.ToTimeSpan();
                    if (!goodbye.Retryable)
                    {
                        tally.Fault($"{hostId} was told to stop: {goodbye.Detail}");
                        return null;
                    }
                }
                else
                {
                    Take(frame);
                }
            }

            end = end == "CUT" ? "NO_GOODBYE" : end;
        }
        catch (RpcException e)
        {
            end = end == "CUT" && !cut.IsCancellationRequested ? e.StatusCode.ToString() : end;
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or InvalidOperationException && !stopping.IsCancellationRequested)
        {
            // Cut here, or by the Hub in the middle of a frame.
        }
        finally
        {
            Close();
            await cut.CancelAsync();
            await writing;
            own?.Dispose();
            if (isLive)
            {
                tally.Left();
            }

            tally.Ended(end);
        }

        if (_drained is { DialledAt: 0 } leaving)
        {
            // The delay runs from the moment it was told, not from when the Hub let go.
            var left = leaving.Told - time.GetElapsedTime(leaving.At);
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }

        return told ?? _backOff.Next();
    }

    private Hello Hello()
    {
        lock (_gate)
        {
            return new Hello
            {
                ProtocolMin = 1,
                ProtocolMax = 1,
                InstanceId = _instanceId,
                JournalId = _journalId,
                JournalEpoch = _epoch,
                ChatDownSeq = _chatDown,
                Upstream = { _lanes.Values.Select(lane => lane.Position) },
                Running = { _held.Values },
            };
        }
    }

    /// <summary>The link is open: what waits is sent again, and offers whose acceptance was not confirmed are accepted again.</summary>
    private ChannelReader<ConnectRequest> Open(Welcome welcome, CancellationTokenSource cut)
    {
        var outbox = Channel.CreateBounded<ConnectRequest>(OutboxMax);
        lock (_gate)
        {
            (_outbox, _cut) = (outbox, cut);
            _epoch = welcome.Epoch;
            _chatDown = welcome.ChatDownSeq;
            _backOff.Reset();
            foreach (var start in welcome.Lanes.Where(start => _lanes.ContainsKey(start.Lane)))
            {
                if (start.Reason is SnapshotReason.JournalRewound or SnapshotReason.Truncated)
                {
                    tally.Fault($"{hostId}: {start.Lane} {start.Reason}, stored {start.StoredSeq}");
                }

                Confirm(_lanes[start.Lane].Stored(start.StoredSeq), measured: false);
                foreach (var batch in _lanes[start.Lane].Replay())
                {
                    Post(new ConnectRequest { Batch = batch });
                }
            }

            foreach (var verdict in welcome.Commands.Where(verdict => verdict.Verdict != Verdict.Keep))
            {
                _held.Remove(verdict.CommandId);
            }

            foreach (var command in _held.Values.Where(command => command.State == NodeCommandState.Accepted))
            {
                Post(new ConnectRequest { Batch = _lanes[Lane.Commands].Next([Accepted(command)], time.GetTimestamp()) });
            }
        }

        if (_drained is { DialledAt: > 0 } drained)
        {
            tally.Dispersed(new Dispersal(
                drained.Told.TotalMilliseconds, SwarmPlan.Milliseconds(drained.At), SwarmPlan.Milliseconds(drained.DialledAt), SwarmPlan.Now));
            _drained = null;
        }

        return outbox.Reader;
    }

    private void Close()
    {
        lock (_gate)
        {
            _outbox?.Writer.TryComplete();
            (_outbox, _cut) = (null, null);
        }
    }

    private void Take(ConnectResponse frame)
    {
        lock (_gate)
        {
            switch (frame.FrameCase)
            {
                case ConnectResponse.FrameOneofCase.Ack:
                    foreach (var rejected in frame.Ack.Rejected)
                    {
                        tally.Fault($"{hostId}: {rejected.Lane} {rejected.Seq} was rejected: {rejected.Detail}");
                    }

                    Confirm(_lanes[frame.Ack.Lane].Stored(frame.Ack.Seq), measured: true);
                    foreach (var verdict in frame.Ack.Commands)
                    {
                        Judge(verdict);
                    }

                    break;
                case ConnectResponse.FrameOneofCase.Nack:
                    Confirm(_lanes[frame.Nack.Lane].Stored(frame.Nack.ExpectedSeq - 1), measured: true);
                    foreach (var batch in _lanes[frame.Nack.Lane].Replay())
                    {
                        Post(new ConnectRequest { Batch = batch });
                    }

                    break;
                case ConnectResponse.FrameOneofCase.Batch:
                    _chatDown = frame.Batch.LastSeq;
                    Post(new ConnectRequest { Ack = new Ack { Lane = Lane.Chat, Seq = _chatDown } });
                    break;
                case ConnectResponse.FrameOneofCase.Offer:
                    Accept(frame.Offer);
                    break;
            }
        }
    }

    private void Accept(CommandOffer offer)
    {
        var command = new RunningCommand { CommandId = offer.CommandId, Attempt = offer.Attempt, State = NodeCommandState.Accepted };
        if (!_held.TryAdd(offer.CommandId, command))
        {
            return; // A repeat; its acceptance is on the way.
        }

        if (offer.IdempotencyKey.StartsWith(KeyPrefix, StringComparison.Ordinal)
            && long.TryParse(offer.IdempotencyKey.Split('-')[1], CultureInfo.InvariantCulture, out var createdAt))
        {
            tally.Offers.Add(time.GetElapsedTime(createdAt));
        }

        Post(new ConnectRequest { Batch = _lanes[Lane.Commands].Next([Accepted(command)], time.GetTimestamp()) });
    }

    /// <summary>KEEP starts a command, which is over at once.</summary>
    private void Judge(CommandVerdict verdict)
    {
        if (!_held.TryGetValue(verdict.CommandId, out var command) || command.State != NodeCommandState.Accepted)
        {
            return;
        }

        if (verdict.Verdict != Verdict.Keep)
        {
            _held.Remove(verdict.CommandId);
            return;
        }

        command.State = NodeCommandState.Finished;
        Entry[] course =
        [
            new() { CommandStarted = new() { CommandId = command.CommandId, Attempt = command.Attempt } },
            new() { CommandOutcome = new() { CommandId = command.CommandId, Attempt = command.Attempt, State = CommandState.Succeeded } },
        ];
        Post(new ConnectRequest { Batch = _lanes[Lane.Commands].Next(course, time.GetTimestamp()) });
    }

    private void Confirm(List<SentBatch> stored, bool measured)
    {
        foreach (var (batch, dueAt, resent) in stored)
        {
            var latency = measured && !resent ? time.GetElapsedTime(dueAt) : (TimeSpan?)null;
            switch (batch.Lane)
            {
                case Lane.Data:
                    tally.DeltasAcked(batch.Entries.Count);
                    Measure(tally.Deltas, latency);
                    break;
                case Lane.Chat:
                    tally.ChatsAcked(batch.Entries.Count);
                    Measure(tally.Chats, latency);
                    break;
                default:
                    foreach (var outcome in batch.Entries.Where(entry => entry.CommandOutcome is not null))
                    {
                        _held.Remove(outcome.CommandOutcome.CommandId);
                        tally.CommandDone(outcome.CommandOutcome.CommandId);
                    }

                    break;
            }
        }
    }

    private static void Measure(LatencyHistogram into, TimeSpan? latency)
    {
        if (latency is { } measured)
        {
            into.Add(measured);
        }
    }

    private void Post(ConnectRequest frame)
    {
        lock (_gate)
        {
            if (_outbox is { } outbox && !outbox.Writer.TryWrite(frame))
            {
                tally.Fault($"{hostId}: more than {OutboxMax} frames wait to be written");
                _cut?.Cancel();
            }
        }
    }

    private static async Task WriteAsync(IClientStreamWriter<ConnectRequest> stream, ChannelReader<ConnectRequest> outbox, CancellationToken cancellation)
    {
        try
        {
            await foreach (var frame in outbox.ReadAllAsync(cancellation))
            {
                await stream.WriteAsync(frame, cancellation);
            }
        }
        catch (Exception e) when (e is RpcException or OperationCanceledException or IOException or InvalidOperationException)
        {
            // The reader finds the end of the link and its reason.
        }
    }

    /// <summary>Reads nothing any more, and goes on talking until the Hub has enough.</summary>
    private async Task BeDeafAsync(Func<SwarmNode, Task> onDeaf, Task writing)
    {
        var since = time.GetTimestamp();
        await onDeaf(this);
        while (!writing.IsCompleted)
        {
            Heartbeat();
            await Task.WhenAny(writing, Task.Delay(DeafHeartbeat, time));
        }

        tally.DeafEnded(time.GetElapsedTime(since));
    }

    private static Entry Accepted(RunningCommand command) =>
        new() { CommandAccepted = new() { CommandId = command.CommandId, Attempt = command.Attempt } };
}
