using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// The session behind its one lock, and the signals that wake the loops which live on it. The lock covers one step of the state machine
/// with its commit to disk, never an await and never the application's code.
/// </summary>
internal sealed class SharedSession(NodeSession session)
{
    private readonly Lock _gate = new();
    private TaskCompletionSource? _changed;
    private bool _announcing;

    /// <summary>There may be frames to send.</summary>
    public Signal Outgoing { get; } = new();

    /// <summary>There may be a command to start.</summary>
    public Signal Startable { get; } = new();

    /// <summary>There may be a chat message for the handler.</summary>
    public Signal Inbox { get; } = new();

    /// <summary>There may be a result to upload.</summary>
    public Signal Uploads { get; } = new();

    /// <summary>Asks without waking anyone. Loops use it, or they would wake themselves for ever.</summary>
    public T Read<T>(Func<NodeSession, T> step)
    {
        lock (_gate)
        {
            return step(session);
        }
    }

    /// <summary>Takes a step that may concern every loop.</summary>
    public T Change<T>(Func<NodeSession, T> step)
    {
        T result;
        TaskCompletionSource? waiting;
        lock (_gate)
        {
            result = step(session);
            waiting = _changed;
            _changed = null;
        }

        waiting?.TrySetResult();
        Outgoing.Set();
        Startable.Set();
        Inbox.Set();
        Uploads.Set();
        return result;
    }

    /// <inheritdoc cref="Change{T}"/>
    public void Change(Action<NodeSession> step) => Change(target =>
    {
        step(target);
        return true;
    });

    /// <summary>Takes a frame of the Hub and returns what it means; <see cref="Announced"/> must follow when that was passed on.</summary>
    public IReadOnlyList<SessionEvent> TakeIn(ConnectResponse frame) => Change(target =>
    {
        target.Receive(frame);
        var events = new List<SessionEvent>();
        while (target.TryTakeEvent(out var next))
        {
            events.Add(next);
        }

        _announcing = events.Count > 0;
        return events;
    });

    /// <summary>What <see cref="TakeIn"/> returned is known to the application: whoever waits for acknowledgements may go on.</summary>
    public void Announced() => Change(_ => _announcing = false);

    /// <summary>Null if the condition holds now; otherwise a task that ends at the next change, after which it can be asked again.</summary>
    public Task? UntilChangedUnless(Func<NodeSession, bool> condition)
    {
        lock (_gate)
        {
            if (!_announcing && condition(session))
            {
                return null;
            }

            _changed ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _changed.Task;
        }
    }
}
