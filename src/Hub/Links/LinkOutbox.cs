using Hub.Contracts.V1;
using Hub.Hosting;

namespace Hub.Links;

/// <summary>
/// What waits to be written to a node, in order of urgency: control, answers, work, chat. It is bounded by construction: answers and
/// heartbeats are one per lane, work and chat are only put in when there is room for them.
/// </summary>
internal sealed class LinkOutbox
{
    /// <summary>Control frames waiting; a node that lets more pile up does not read.</summary>
    public const int ControlFramesMax = 64;

    private readonly Lock _gate = new();
    private readonly WakeSignal _ready = new();
    private readonly Queue<ConnectResponse> _control = new();
    private readonly List<Ack> _acks = [];
    private readonly List<Nack> _nacks = [];
    private readonly Queue<ConnectResponse> _work = new();
    private readonly Queue<ConnectResponse> _chat = new();
    private bool _heartbeat;
    private Goodbye? _goodbye;
    private bool _closed;

    /// <summary>Nothing comes after what <see cref="TryTake"/> has given.</summary>
    public bool IsClosed
    {
        get
        {
            lock (_gate)
            {
                return _closed;
            }
        }
    }

    public int WorkWaiting
    {
        get
        {
            lock (_gate)
            {
                return _work.Count;
            }
        }
    }

    public int ChatWaiting
    {
        get
        {
            lock (_gate)
            {
                return _chat.Count;
            }
        }
    }

    /// <returns>False if the node lets control frames pile up.</returns>
    public bool Control(ConnectResponse frame)
    {
        lock (_gate)
        {
            if (_control.Count >= ControlFramesMax)
            {
                return false;
            }

            _control.Enqueue(frame);
        }

        _ready.Set();
        return true;
    }

    /// <summary>Acknowledgements are cumulative: of those waiting for a lane one is left.</summary>
    public void Acknowledge(Ack ack)
    {
        lock (_gate)
        {
            if (_acks.Find(other => other.Lane == ack.Lane) is { } waiting)
            {
                waiting.Seq = Math.Max(waiting.Seq, ack.Seq);
                waiting.Conflicts.AddRange(ack.Conflicts);
                waiting.Rejected.AddRange(ack.Rejected);
                waiting.Commands.AddRange(ack.Commands);
                waiting.SnapshotRequests.AddRange(ack.SnapshotRequests);
            }
            else
            {
                _acks.Add(ack);
            }
        }

        _ready.Set();
    }

    public void Refuse(Nack nack)
    {
        lock (_gate)
        {
            _nacks.RemoveAll(other => other.Lane == nack.Lane);
            _nacks.Add(nack);
        }

        _ready.Set();
    }

    public void Work(ConnectResponse frame) => Enqueue(_work, frame);

    public void Chat(ConnectResponse frame) => Enqueue(_chat, frame);

    public void Heartbeat()
    {
        lock (_gate)
        {
            _heartbeat = true;
        }

        _ready.Set();
    }

    /// <summary>The last frame: what waits besides answers is dropped, since the rows know it.</summary>
    public void Close(Goodbye? goodbye)
    {
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }

            _closed = true;
            _goodbye = goodbye;
            _work.Clear();
            _chat.Clear();
            _heartbeat = false;
        }

        _ready.Set();
    }

    public bool TryTake(out ConnectResponse frame)
    {
        lock (_gate)
        {
            if (_control.TryDequeue(out frame!))
            {
                return true;
            }

            if (_acks.MinBy(ack => ack.Lane) is { } ack)
            {
                _acks.Remove(ack);
                frame = new ConnectResponse { Ack = ack };
                return true;
            }

            if (_nacks.MinBy(nack => nack.Lane) is { } nack)
            {
                _nacks.Remove(nack);
                frame = new ConnectResponse { Nack = nack };
                return true;
            }

            if (_work.TryDequeue(out frame!) || _chat.TryDequeue(out frame!))
            {
                return true;
            }

            if (_heartbeat)
            {
                _heartbeat = false;
                frame = new ConnectResponse { Heartbeat = new HubHeartbeat() };
                return true;
            }

            if (_goodbye is not null)
            {
                frame = new ConnectResponse { Goodbye = _goodbye };
                _goodbye = null;
                return true;
            }

            return false;
        }
    }

    /// <summary>Waits until there may be something to take.</summary>
    public ValueTask WaitAsync(CancellationToken cancellation) => _ready.WaitAsync(cancellation);

    private void Enqueue(Queue<ConnectResponse> queue, ConnectResponse frame)
    {
        lock (_gate)
        {
            if (_closed)
            {
                return;
            }

            queue.Enqueue(frame);
        }

        _ready.Set();
    }
}
