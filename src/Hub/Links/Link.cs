using Google.Protobuf.WellKnownTypes;
using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Hosts;
using Hub.Storage;
using Hub.Text;

namespace Hub.Links;

/// <summary>Commands that were marked offered to a link's node.</summary>
/// <param name="MayBeMore">Whether there was room for no more.</param>
/// <param name="NowMs">When.</param>
internal sealed record LinkOffers(IReadOnlyList<CommandRow> Rows, bool MayBeMore, long NowMs);

/// <summary>
/// One live link, without its sockets: what a frame from the node does, and what the node is due. Frames to the node go to
/// <see cref="Outbox"/>; whoever owns the stream writes them.
/// </summary>
internal sealed partial class Link
{
    private const int ChatBatchMax = 100;

    private const string ChatDownSql = """
        select message_id, body, sent_at, delivered_at, direction, down_seq from chat_messages
        where host_id = @hostId and down_seq > @after order by down_seq limit @limit
        """;

    private readonly Store _store;
    private readonly LaneEntries _lanes;
    private readonly StoreGuards _guards;
    private readonly TimeProvider _time;
    private readonly ILogger<Link> _log;
    private readonly WakeSignal _due = new();
    private readonly Lock _gate = new();
    private readonly LaneAnswers _answers;
    private readonly HashSet<string> _cancelsSent = new(StringComparer.Ordinal);
    private long _chatSent;
    private long _chatAcked;
    private long _heardAt;
    private long _wroteAt;

    // What a round looks for, until there is room for it: a look for commands costs a commit, so it is taken where there may be some.
    private volatile bool _commandsDue;
    private volatile bool _chatDue;

    /// <param name="isDue">Whether the node is due anything from the start.</param>
    public Link(
        LinkIdentity identity, Welcome welcome, long chatFrom, bool isDue, LinkOptions options, Store store, LaneEntries lanes,
        StoreGuards guards, TimeProvider time, ILogger<Link> log)
    {
        Identity = identity;
        Options = options;
        (_store, _lanes, _guards, _time, _log) = (store, lanes, guards, time, log);
        _answers = new LaneAnswers(Outbox);
        _chatSent = _chatAcked = chatFrom;
        OpenedAt = _heardAt = _wroteAt = time.GetTimestamp();
        Outbox.Control(new ConnectResponse { Welcome = welcome });
        if (isDue)
        {
            Wake();
        }
    }

    public LinkIdentity Identity { get; }

    public LinkOptions Options { get; }

    public LinkOutbox Outbox { get; } = new();

    public long OpenedAt { get; }

    /// <summary>Timestamp before which <see cref="LinkClock"/>, whose this is, has nothing to do here.</summary>
    public long CheckAt { get; set; }

    /// <summary>Why the link ended, once it did.</summary>
    public GoodbyeReason EndReason { get; private set; }

    public TimeSpan SilentFor => _time.GetElapsedTime(Volatile.Read(ref _heardAt));

    public TimeSpan QuietFor => _time.GetElapsedTime(Volatile.Read(ref _wroteAt));

    public void Heard() => Volatile.Write(ref _heardAt, _time.GetTimestamp());

    public void Wrote() => Volatile.Write(ref _wroteAt, _time.GetTimestamp());

    /// <summary>There may be something for the node: chat, offers, cancels.</summary>
    public void Wake()
    {
        _commandsDue = true;
        WakeForChat();
    }

    /// <summary>There may be chat for the node.</summary>
    public void WakeForChat()
    {
        _chatDue = true;
        _due.Set();
    }

    /// <summary>The outbox is empty: chat that waited for room there may follow.</summary>
    public void Drained()
    {
        if (_chatDue)
        {
            _due.Set();
        }
    }

    public ValueTask WaitUntilDueAsync(CancellationToken cancellation) => _due.WaitAsync(cancellation);

    /// <summary>Ends the link: its last frame says why.</summary>
    public void End(GoodbyeReason reason, string detail, TimeSpan? retryAfter = null)
    {
        lock (_gate)
        {
            if (EndReason != GoodbyeReason.Unspecified)
            {
                return;
            }

            EndReason = reason;
        }

        Outbox.Close(new Goodbye
        {
            Reason = reason,
            Retryable = reason is not (GoodbyeReason.Revoked or GoodbyeReason.Deleted),
            RetryAfter = retryAfter is { } wait ? Duration.FromTimeSpan(wait) : null,
            Detail = detail,
        });
        Wake();
    }

    /// <summary>Applies one frame of the node; returns once what it does is committed and answered.</summary>
    public async Task ReceiveAsync(ConnectRequest frame, LinkInbound inbound, CancellationToken cancellation)
    {
        Heard();
        switch (frame.FrameCase)
        {
            case ConnectRequest.FrameOneofCase.Heartbeat:
                await inbound.HeartbeatAsync(this, frame.Heartbeat);
                break;
            case ConnectRequest.FrameOneofCase.Batch:
                await ReceiveBatchAsync(frame.Batch, inbound, cancellation);
                break;
            case ConnectRequest.FrameOneofCase.Ack when frame.Ack.Lane == Lane.Chat:
                await ConfirmChatAsync(frame.Ack.Seq, cancellation);
                break;
            case ConnectRequest.FrameOneofCase.Nack when frame.Nack.Lane == Lane.Chat:
                ReplayChat(frame.Nack.ExpectedSeq);
                break;
            case ConnectRequest.FrameOneofCase.Progress:
                inbound.Progress(this, CleanText.Of(frame.Progress));
                break;
            case ConnectRequest.FrameOneofCase.Ephemeral:
                inbound.Ephemeral(this, CleanText.Of(frame.Ephemeral));
                break;
            case ConnectRequest.FrameOneofCase.CredentialStored:
                await _store.WriteFencedAsync(
                    Identity.TeamId,
                    Identity.Fence,
                    tx =>
                    {
                        CredentialRotation.Confirm(tx, Identity.HostId, frame.CredentialStored.CredentialId);
                        return true;
                    },
                    cancellation);
                break;
            default:
                End(GoodbyeReason.ProtocolError, $"A {frame.FrameCase} frame is not expected here.");
                break;
        }
    }

    /// <summary>Puts what the node is due into the outbox, as far as its windows allow.</summary>
    public async Task PumpAsync(CancellationToken cancellation)
    {
        if (Identity.Rewound || Outbox.IsClosed)
        {
            return;
        }

        // The node's next word on a command wakes the pump again.
        if (_commandsDue && Outbox.WorkWaiting < LinkOptions.OffersMax)
        {
            _commandsDue = false;
            await PumpCommandsAsync(cancellation);
        }

        if (_chatDue && Outbox.ChatWaiting == 0)
        {
            _chatDue = false;
            await PumpChatAsync(cancellation);
        }
    }

    /// <summary>
    /// Marks what is queued for the node offered, as far as there is room; in a job of the link's fence, whose caller then sends it. Jobs
    /// whose offers are not sent yet may see the same room. A link that ends is given nothing: what it was given before, its end withdraws.
    /// </summary>
    /// <param name="only">What the transaction has created and is all that is queued, if it is.</param>
    public LinkOffers TakeOffers(CommandRows commands, CommandRow? only = null)
    {
        var room = Identity.Rewound || Outbox.IsClosed ? 0 : Math.Max(0, LinkOptions.OffersMax - Outbox.WorkWaiting);
        var rows = (room, only) switch
        {
            (0, _) => [],
            (_, null) => CommandMachine.Offer(commands, Identity.HostId, room, CommandMachine.OfferOnLink),
            _ => [CommandMachine.Offer(commands, only, CommandMachine.OfferOnLink)],
        };
        return new LinkOffers(rows, rows.Count == room, commands.NowMs);
    }

    /// <summary>Puts what was taken into the outbox, once it is committed.</summary>
    public void Send(LinkOffers offers)
    {
        if (offers.MayBeMore)
        {
            _commandsDue = true; // When the node has answered some of those it has.
        }

        foreach (var row in offers.Rows)
        {
            Outbox.Work(new ConnectResponse { Offer = row.ToOffer(offers.NowMs) });
        }
    }

    private async Task ReceiveBatchAsync(Batch batch, LinkInbound inbound, CancellationToken cancellation)
    {
        if (Fault(batch) is { } fault)
        {
            End(GoodbyeReason.ProtocolError, fault);
            return;
        }

        var place = _answers.Take(batch.Lane);
        BatchAnswer? answer = null;
        try
        {
            answer = await ApplyAsync(batch, isLast: true, cancellation);
        }
        finally
        {
            _answers.Give(place, answer);
        }

        if (answer.Ack is not null && batch.Lane == Lane.Commands)
        {
            inbound.CommandsMoved(batch);
            if (_commandsDue || batch.Entries.Any(entry => entry.CommandOutcome is { State: not CommandState.Succeeded }))
            {
                _commandsDue = true; // An attempt that did not succeed may be due again.
                _due.Set();
            }
        }
    }

    /// <param name="isLast">False for the first half of a split part of a re-sync: its number is not done with yet.</param>
    private async Task<BatchAnswer> ApplyAsync(Batch batch, bool isLast, CancellationToken cancellation)
    {
        try
        {
            return await WriteAsync(new LaneBatch(Identity, batch, isLast), cancellation);
        }
        catch (ConstraintException e) when (_guards.PoisonSplit && batch.Entries.Count > 0)
        {
            // One record is at fault for good: halve until it stands alone and set it aside, so that it does not block the others.
            LogPoison(Identity.HostId, batch.Lane, batch.FirstSeq, batch.LastSeq, e.Constraint);
            if (batch.Entries.Count == 1 && batch.Entries[0].SnapshotPart is { Records.Count: > 1 } part)
            {
                // To set the whole part aside would make the end of the re-sync delete all its records.
                var middle = part.Records.Count / 2;
                var before = await ApplyAsync(PartOf(batch, part.Records.Take(middle)), isLast: false, cancellation);
                return before.Nack is not null
                    ? before
                    : Joined(before.Ack!, await ApplyAsync(PartOf(batch, part.Records.Skip(middle)), isLast, cancellation));
            }

            if (batch.Entries.Count == 1)
            {
                BatchAnswer SetAside(StoreTransaction tx) => _lanes.SetAside(tx, new LaneBatch(Identity, batch, isLast), e.Constraint);
                return IsBulk(batch.Lane)
                    ? await _store.WriteBulkAsync(Identity.TeamId, Identity.Fence, SetAside, cancellation)
                    : await _store.WriteFencedAsync(Identity.TeamId, Identity.Fence, SetAside, cancellation);
            }

            var half = batch.Entries.Count / 2;
            var split = batch.Entries[half - 1].Seq;
            var first = new Batch { Lane = batch.Lane, FirstSeq = batch.FirstSeq, LastSeq = split, Entries = { batch.Entries.Take(half) } };
            var second = new Batch { Lane = batch.Lane, FirstSeq = split + 1, LastSeq = batch.LastSeq, Entries = { batch.Entries.Skip(half) } };
            var left = await ApplyAsync(first, isLast: true, cancellation);
            return left.Nack is not null ? left : Joined(left.Ack!, await ApplyAsync(second, isLast: true, cancellation));
        }
    }

    private Task<BatchAnswer> WriteAsync(LaneBatch batch, CancellationToken cancellation) =>
        _store.WriteSharedAsync(Identity.TeamId, Identity.Fence, _lanes, batch, IsBulk(batch.Batch.Lane), cancellation);

    private static bool IsBulk(Lane lane) => lane is Lane.Data or Lane.Bulk;

    private static Batch PartOf(Batch batch, IEnumerable<Delta> records)
    {
        var half = batch.Clone();
        half.Entries[0].SnapshotPart.Records.Clear();
        half.Entries[0].SnapshotPart.Records.AddRange(records);
        return half;
    }

    private static BatchAnswer Joined(Ack left, BatchAnswer right)
    {
        if (right.Ack is not { } ack)
        {
            return new BatchAnswer(left, null); // The second half is sent again; what the first said must not be lost.
        }

        left.Conflicts.AddRange(ack.Conflicts);
        left.Rejected.AddRange(ack.Rejected);
        left.Commands.AddRange(ack.Commands);
        left.SnapshotRequests.AddRange(ack.SnapshotRequests);
        left.Seq = ack.Seq;
        return new BatchAnswer(left, null);
    }

    private string? Fault(Batch batch)
    {
        if (Identity.Rewound)
        {
            return "The journal is rewound: make a new one and dial again before sending anything numbered.";
        }

        if (batch.Lane is not (Lane.Commands or Lane.Chat or Lane.Data or Lane.Bulk))
        {
            return "A batch names a numbered lane.";
        }

        if (batch.FirstSeq < 1 || batch.LastSeq < batch.FirstSeq || batch.Entries.Count > LinkOptions.BatchEntriesMax)
        {
            return $"A batch has a range and at most {LinkOptions.BatchEntriesMax} entries.";
        }

        var previous = batch.FirstSeq - 1;
        foreach (var entry in batch.Entries)
        {
            if (entry.Seq <= previous || entry.Seq > batch.LastSeq)
            {
                return "A batch's entries ascend within its range.";
            }

            previous = entry.Seq;
        }

        return null;
    }

    private async Task PumpCommandsAsync(CancellationToken cancellation)
    {
        var (offers, cancels) = await _store.WriteFencedAsync(
            Identity.TeamId,
            Identity.Fence,
            tx => (CommandRows.Change(tx, rows => TakeOffers(rows)), CommandMachine.CancelsUnanswered(tx, Identity.HostId)),
            cancellation);
        foreach (var row in cancels.Where(row => _cancelsSent.Add($"{row.CommandId}/{row.Attempt}")))
        {
            Outbox.Work(new ConnectResponse
            {
                Cancel = new CommandCancel { CommandId = row.CommandId, Attempt = (int)row.Attempt, Reason = row.CancelReason },
            });
        }

        Send(offers);
    }

    private async Task PumpChatAsync(CancellationToken cancellation)
    {
        long after;
        lock (_gate)
        {
            if (_chatSent - _chatAcked >= LinkOptions.WindowBatches)
            {
                return; // The node's acknowledgement wakes the pump again.
            }

            after = _chatSent;
        }

        var rows = await _store.QueryAsync<DownRow>(
            TeamScope.Of(Identity.TeamId), ChatDownSql, new { hostId = Identity.HostId, after, limit = ChatBatchMax }, cancellation);
        if (rows.Count == 0)
        {
            return;
        }

        // At least one message, then as many as fit a frame.
        var batch = new Batch { Lane = Lane.Chat, FirstSeq = after + 1 };
        var bytes = 0;
        foreach (var row in rows)
        {
            bytes += row.Body.Length;
            if (batch.Entries.Count > 0 && bytes > 64 * 1024)
            {
                break;
            }

            batch.Entries.Add(new Entry { Seq = row.DownSeq, Chat = ChatLog.ToMessage(row) });
        }

        batch.LastSeq = batch.Entries[^1].Seq;
        lock (_gate)
        {
            if (_chatSent != after)
            {
                return; // A Nack moved the position back meanwhile; the pump runs again.
            }

            _chatSent = batch.LastSeq;
        }

        Outbox.Chat(new ConnectResponse { Batch = batch });
        WakeForChat();
    }

    private async Task ConfirmChatAsync(long seq, CancellationToken cancellation)
    {
        lock (_gate)
        {
            if (seq > _chatSent)
            {
                seq = -1;
            }
            else if (seq <= _chatAcked)
            {
                return;
            }
            else
            {
                _chatAcked = seq;
            }
        }

        if (seq < 0)
        {
            End(GoodbyeReason.ProtocolError, "An acknowledgement names a chat number that was never sent.");
            return;
        }

        WakeForChat(); // Whatever becomes of the write: the node has room again.
        await _store.WriteFencedAsync(
            Identity.TeamId,
            Identity.Fence,
            tx =>
            {
                ChatLog.DeliveredUpTo(tx, Identity.TeamId, Identity.HostId, seq);
                return true;
            },
            cancellation);
    }

    private void ReplayChat(long expected)
    {
        lock (_gate)
        {
            _chatSent = Math.Clamp(expected - 1, _chatAcked, _chatSent);
        }

        WakeForChat();
    }

    [LoggerMessage(
        LogLevel.Warning, "Batch {FirstSeq} to {LastSeq} of lane {Lane} of {HostId} violates {Constraint}; splitting", EventName = "BatchPoisoned")]
    private partial void LogPoison(string hostId, Lane lane, long firstSeq, long lastSeq, string constraint);

    private sealed record DownRow : ChatLog.MessageRow
    {
        public long DownSeq { get; init; }
    }
}
