using System.Diagnostics.CodeAnalysis;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// The node's side of the link protocol as a state machine: frames in, frames and events out. It has no socket, timer or task; time comes
/// from the <see cref="TimeProvider"/> when a method is called. It lives as long as the process and passes through many links.
/// Not thread-safe: its driver calls it under one lock.
/// </summary>
/// <remarks>
/// A link: <see cref="CreateHello"/>; then <see cref="Receive"/> for every frame of the Hub and <see cref="TryTake"/> for every frame to
/// send; after each, <see cref="TryTakeEvent"/> and <see cref="TryTakeStart"/>; at its end <see cref="LinkLost"/>.
/// An exception of <see cref="Receive"/> or <see cref="TryTake"/> ends the link; nothing of the frame has been stored then.
/// </remarks>
internal sealed partial class NodeSession
{
    private const uint ProtocolVersion = 1;

    private static readonly TimeSpan HeartbeatMin = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan HeartbeatMax = TimeSpan.FromSeconds(120);

    private readonly Journal _journal;
    private readonly NodeSessionOptions _options;
    private readonly TimeProvider _time;
    private readonly Random _random;
    private readonly HashSet<string> _commandTypes;
    private readonly Queue<SessionEvent> _events = new();

    // Events of a transaction that has not committed yet: a rollback must not leave announcements behind.
    private readonly List<SessionEvent> _staged = [];

    private readonly Dictionary<Lane, LaneWindow> _windows = LaneWindow.Lanes.ToDictionary(lane => lane, lane => new LaneWindow(lane));
    private readonly Queue<ConnectRequest> _control = new();
    private LinkLimits _limits = LinkLimits.Default;
    private bool _chatAckDue;
    private bool _chatNackDue;
    private bool _chatHeldBack;

    /// <summary>Takes the journal over. Attempts that an earlier process started and did not finish become INTERRUPTED here.</summary>
    public NodeSession(Journal journal, NodeSessionOptions options, TimeProvider time, Random random)
    {
        _journal = journal;
        _options = options;
        _time = time;
        _random = random;
        _commandTypes = [.. options.CommandTypes];
        InterruptStarted();
    }

    /// <summary>Where the present link stands.</summary>
    public SessionState State { get; private set; }

    /// <summary>Whether everything sent is acknowledged and nothing else can be sent; a drained link may be closed then.</summary>
    public bool IsIdle => _windows.Values.All(window => window is { IsIdle: true, MayHaveMore: false }) && _control.Count == 0 && !_chatAckDue;

    /// <summary>Begins a link: everything that belonged to the one before is forgotten.</summary>
    public Hello CreateHello()
    {
        LinkLost();
        State = SessionState.HelloSent;
        var hello = new Hello
        {
            ProtocolMin = ProtocolVersion,
            ProtocolMax = ProtocolVersion,
            InstanceId = _options.InstanceId,
            JournalId = _journal.JournalId,
            JournalEpoch = _journal.Epoch,
            NodeVersion = _options.NodeVersion,
            Platform = _options.Platform,
            CommandTypes = { _commandTypes.Order(StringComparer.Ordinal) },
            ChatDownSeq = _journal.ChatDownSeq,
            Running = { _journal.HeldCommands() },
        };
        foreach (var (key, value) in _options.Labels)
        {
            hello.Labels.Add(key, value);
        }

        foreach (var lane in LaneWindow.Lanes)
        {
            // first_seq is the number after the last acknowledged one, not the lowest row: superseded numbers are held in the sense that
            // matters, since nothing the Hub needs is missing.
            var (lastSeq, ackedSeq) = _journal.Position(lane);
            hello.Upstream.Add(new UpstreamPosition { Lane = lane, FirstSeq = ackedSeq + 1, LastSeq = lastSeq });
        }

        return hello;
    }

    /// <summary>The link is gone. Commands go on; what was sent without being acknowledged is sent again on the next one.</summary>
    public void LinkLost()
    {
        State = SessionState.Offline;
        _control.Clear();
        _chatAckDue = _chatNackDue = _chatHeldBack = false;
        _snapshot = null;
        foreach (var window in _windows.Values)
        {
            window.Start(0);
        }
    }

    /// <summary>Takes one frame of the Hub. Frames that arrive after the end of the link are ignored.</summary>
    /// <exception cref="LinkProtocolException">The frame breaks the protocol.</exception>
    public void Receive(ConnectResponse frame)
    {
        if (State is SessionState.Offline or SessionState.Ended)
        {
            return;
        }

        if (State is SessionState.HelloSent
            && frame.FrameCase is not (ConnectResponse.FrameOneofCase.Welcome or ConnectResponse.FrameOneofCase.Goodbye))
        {
            throw new LinkProtocolException($"The first frame was {frame.FrameCase} instead of Welcome.");
        }

        switch (frame.FrameCase)
        {
            case ConnectResponse.FrameOneofCase.Welcome:
                OnWelcome(frame.Welcome);
                break;
            case ConnectResponse.FrameOneofCase.Heartbeat:
                break;
            case ConnectResponse.FrameOneofCase.Ack:
                OnAck(frame.Ack);
                break;
            case ConnectResponse.FrameOneofCase.Nack:
                OnNack(frame.Nack);
                break;
            case ConnectResponse.FrameOneofCase.Batch:
                OnBatch(frame.Batch);
                break;
            case ConnectResponse.FrameOneofCase.Offer:
                OnOffer(frame.Offer);
                break;
            case ConnectResponse.FrameOneofCase.Cancel:
                OnCancel(frame.Cancel);
                break;
            case ConnectResponse.FrameOneofCase.Settings:
                ApplySettings(frame.Settings);
                break;
            case ConnectResponse.FrameOneofCase.NewCredential:
                _events.Enqueue(new SessionEvent.CredentialIssued(frame.NewCredential.CredentialId, frame.NewCredential.Token));
                break;
            case ConnectResponse.FrameOneofCase.Drain:
                _events.Enqueue(new SessionEvent.Draining(frame.Drain.ReconnectAfter?.ToTimeSpan() ?? TimeSpan.Zero));
                break;
            case ConnectResponse.FrameOneofCase.Goodbye:
                State = SessionState.Ended;
                _events.Enqueue(new SessionEvent.Ended(frame.Goodbye));
                break;
            default:
                // A frame of a later protocol: settled by the version in Welcome, so it can only be one that may be ignored.
                break;
        }
    }

    /// <summary>The next thing the driver has to know.</summary>
    public bool TryTakeEvent([NotNullWhen(true)] out SessionEvent? next) => _events.TryDequeue(out next);

    /// <summary>The credential of <see cref="SessionEvent.CredentialIssued"/> is on the disk: the Hub may retire the old one.</summary>
    public void CredentialStored(string credentialId)
    {
        if (State is SessionState.Online)
        {
            _control.Enqueue(new ConnectRequest { CredentialStored = new CredentialStored { CredentialId = credentialId } });
        }
    }

    /// <summary>The oldest chat message that waits for the handler.</summary>
    public InboxMessage? PeekChat() => _journal.FirstInInbox();

    /// <summary>The handler has run: the message is not shown to it again.</summary>
    public void ChatHandled(long seq)
    {
        _journal.Write(() => _journal.RemoveFromInbox(seq));
        if (_chatHeldBack && _journal.CountInbox() <= Journal.InboxMax / 2)
        {
            // Asks for the batch that was left unanswered while the inbox was full.
            _chatHeldBack = false;
            _chatNackDue = true;
        }
    }

    private void OnWelcome(Welcome welcome)
    {
        if (State is not SessionState.HelloSent)
        {
            throw new LinkProtocolException("A second Welcome arrived.");
        }

        if (welcome.Protocol != ProtocolVersion)
        {
            throw new LinkProtocolException($"The Hub chose protocol {welcome.Protocol}; this node speaks {ProtocolVersion}.");
        }

        if (welcome.Lanes.Any(lane => lane.Reason is SnapshotReason.JournalRewound))
        {
            Transact(() =>
            {
                _journal.BecomeNewJournal();
                _staged.Add(new SessionEvent.JournalReplaced());
            });
            _kept.Clear();
            State = SessionState.Ended;
            return;
        }

        var startsAt = new Dictionary<Lane, long>();
        Transact(() =>
        {
            // One transaction: the epoch is on the disk before anything it entails is, and before anything is numbered under it.
            var epochBefore = _journal.Epoch;
            _journal.StoreEpoch(welcome.Epoch);
            _kept.Clear();
            if (welcome.Lanes.Any(lane => lane.Reason is SnapshotReason.JournalNew))
            {
                _journal.RestartNumbering();
            }

            foreach (var lane in LaneWindow.Lanes)
            {
                startsAt[lane] = StartLane(lane, welcome.Lanes.FirstOrDefault(start => start.Lane == lane));
            }

            if (welcome.ChatDownSeq != _journal.ChatDownSeq)
            {
                // The journal was lost, and what it had confirmed does not come again: without this every batch would look like a gap.
                _journal.SetChatDownSeq(welcome.ChatDownSeq);
            }

            _journal.RaiseVersion(welcome.VersionFloor);
            PlanResync(welcome, epochBefore);
            NoteRejected(welcome.Rejected);
            foreach (var verdict in welcome.Commands)
            {
                ApplyAtWelcome(verdict);
            }

            _staged.Add(new SessionEvent.Welcomed(welcome.LinkId, welcome.HostId, welcome.Epoch));
        });

        foreach (var (lane, storedSeq) in startsAt)
        {
            _windows[lane].Start(storedSeq);
        }

        State = SessionState.Online;
        ApplySettings(welcome.Settings ?? new Settings());
        // The first heartbeat follows at once: it carries the node's status.
        _heartbeatDue = _time.GetTimestamp();
        BeginSnapshots();
    }

    // Returns the number the Hub holds; the next batch begins one higher.
    private long StartLane(Lane lane, LaneStart? start)
    {
        var (lastSeq, ackedSeq) = _journal.Position(lane);
        if (start is null || start.Reason is SnapshotReason.JournalNew)
        {
            return ackedSeq;
        }

        if (start.StoredSeq < 0 || start.StoredSeq > lastSeq)
        {
            throw new LinkProtocolException($"Lane {lane}: the Hub holds number {start.StoredSeq}, {lastSeq} is the last ever given.");
        }

        Announce(_journal.Acknowledge(lane, start.StoredSeq), []);
        _journal.SetAcked(lane, start.StoredSeq);
        return start.StoredSeq;
    }

    private void OnAck(Ack ack)
    {
        var window = Window(ack.Lane);
        window.Acked(ack.Seq);
        Transact(() =>
        {
            Announce(_journal.Acknowledge(ack.Lane, ack.Seq), ack.Rejected);
            NoteRejected(ack.Rejected);
            foreach (var conflict in ack.Conflicts)
            {
                _staged.Add(new SessionEvent.Conflicting(new RecordConflict(conflict.Collection, conflict.RecordId, conflict.ConflictId)));
            }

            foreach (var verdict in ack.Commands)
            {
                Apply(verdict);
            }

            if (ack.Lane is Lane.Bulk && _snapshot is { EndSeq: { } end } && end <= ack.Seq)
            {
                _journal.SetSnapshotPending(_snapshot.Collection, false);
            }
        });
        if (ack.Lane is Lane.Bulk)
        {
            _snapshot?.Answered(ack);
        }

        if (ack.Lane is Lane.Bulk && _snapshot is { EndSeq: { } sent } && sent <= ack.Seq)
        {
            _snapshot = null;
            BeginSnapshots();
        }

        // Rejections and verdicts may have queued entries of the commands lane.
        _windows[Lane.Commands].MayHaveMore = true;
    }

    private void OnNack(Nack nack)
    {
        var window = Window(nack.Lane);
        if (window.Nacked(nack.ExpectedSeq, _journal.Position(nack.Lane).AckedSeq) && nack.Lane is Lane.Bulk && _snapshot is not null)
        {
            // Parts are not kept, so the re-sync begins anew under another id.
            _snapshot = new SnapshotRun(_snapshot.Collection);
        }
    }

    private void OnBatch(Batch batch)
    {
        if (batch.Lane is not Lane.Chat || batch.FirstSeq < 1 || batch.LastSeq < batch.FirstSeq)
        {
            throw new LinkProtocolException($"A batch of lane {batch.Lane} with the range {batch.FirstSeq}..{batch.LastSeq} arrived.");
        }

        var taken = _journal.ChatDownSeq;
        if (batch.FirstSeq > taken + 1)
        {
            _chatNackDue = true;
            return;
        }

        if (batch.LastSeq > taken)
        {
            if (_journal.CountInbox() + batch.Entries.Count > Journal.InboxMax)
            {
                // No ack means no credit: the messages wait with the Hub until the handler has caught up.
                _chatHeldBack = true;
                return;
            }

            TakeChat(batch, taken);
        }

        _chatAckDue = true;
    }

    private void TakeChat(Batch batch, long taken) => Transact(() =>
    {
        var last = batch.FirstSeq - 1;
        foreach (var entry in batch.Entries)
        {
            if (entry.Seq <= last || entry.Seq > batch.LastSeq || entry.BodyCase is not Entry.BodyOneofCase.Chat)
            {
                throw new LinkProtocolException($"Entry {entry.Seq} ({entry.BodyCase}) does not belong after {last} in a chat batch.");
            }

            last = entry.Seq;
            if (entry.Seq > taken)
            {
                _journal.StoreChatDown(entry.Seq, entry.Chat);
            }
        }

        _journal.SetChatDownSeq(batch.LastSeq);
    });

    private void Announce(IReadOnlyList<Entry> acked, IReadOnlyCollection<RejectedRecord> rejected)
    {
        foreach (var entry in acked)
        {
            if (Records.Acked(entry) is { } record && !rejected.Any(refused => refused.Seq == entry.Seq))
            {
                _staged.Add(new SessionEvent.Acked(record));
            }
        }
    }

    // The Hub repeats its list in every Welcome until it has the note, so the note is made once per number.
    private void NoteRejected(IReadOnlyCollection<RejectedRecord> rejected)
    {
        foreach (var refused in rejected)
        {
            _staged.Add(new SessionEvent.Refused(new RecordRefused(refused.Lane, refused.RecordId, refused.Reason, refused.Detail)));
        }

        foreach (var lane in rejected.GroupBy(refused => refused.Lane))
        {
            var noted = new RejectedNoted { Lane = lane.Key, Seq = lane.Max(refused => refused.Seq) };
            var key = FormattableString.Invariant($"rejected/{(int)noted.Lane}/{noted.Seq}");
            if (!_journal.IsQueued(Lane.Commands, key))
            {
                _journal.Enqueue(Lane.Commands, key, new Entry { RejectedNoted = noted });
            }
        }
    }

    private void ApplySettings(Settings settings)
    {
        _limits = LinkLimits.From(settings);
        var interval = settings.HeartbeatInterval?.ToTimeSpan() ?? LinkLimits.HeartbeatDefault;
        _heartbeatInterval = interval < HeartbeatMin ? HeartbeatMin : interval > HeartbeatMax ? HeartbeatMax : interval;
        ScheduleHeartbeat();
    }

    private LaneWindow Window(Lane lane) =>
        _windows.TryGetValue(lane, out var window) ? window : throw new LinkProtocolException($"Lane {lane} is not one of the numbered lanes.");

    private void Transact(Action body)
    {
        _staged.Clear();
        _journal.Write(body);
        foreach (var next in _staged)
        {
            _events.Enqueue(next);
        }
    }
}

/// <summary>Where a link stands.</summary>
internal enum SessionState
{
    /// <summary>There is none.</summary>
    Offline,

    /// <summary>Hello was made; Welcome is due.</summary>
    HelloSent,

    /// <summary>Frames flow.</summary>
    Online,

    /// <summary>The link has to be closed.</summary>
    Ended,
}
