using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient;

/// <summary>
/// A node's link to its Hub. What is published is on the node's disk when the call returns and reaches the Hub however often the
/// connection, the node or the Hub breaks. Commands run at most once per attempt. The node's own work never waits for the Hub.
/// </summary>
/// <remarks>Register handlers, then <see cref="StartAsync"/>. All members may be used from any thread.</remarks>
public sealed partial class HubLink : IAsyncDisposable
{
    /// <summary>Most command types a node can register.</summary>
    public const int CommandTypesMax = 200;

    // At shutdown: time handlers have to end after being cancelled, and time what they reported has to reach the Hub.
    private static readonly TimeSpan HandlersEndMax = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LeaveMax = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan LoopRestartDelay = TimeSpan.FromSeconds(1);

    private readonly HubLinkOptions _options;
    private readonly ILogger _logger;
    private readonly Dictionary<string, Func<CommandContext, Task<JsonNode?>>> _handlers = new(StringComparer.Ordinal);
    private readonly CancellationTokenSource _workStopping = new();
    private readonly CancellationTokenSource _leaving = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TaskCompletionSource<string> _completion = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Func<ChatMessage, CancellationToken, Task>? _chatHandler;
    private Running? _running;
    private volatile LinkState _state = new(LinkPhase.Idle);
    private int _started;
    private int _disposed;

    /// <summary>Makes a link that is not started.</summary>
    /// <exception cref="ArgumentException">An option is out of its range, or http:// would leave the machine.</exception>
    public HubLink(HubLinkOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        _options = options;
        _logger = options.LoggerFactory.CreateLogger<HubLink>();
    }

    /// <summary>The state has changed. Handlers run on the link's own thread and should be quick.</summary>
    public event Action<LinkState>? StateChanged;

    /// <summary>The Hub has stored a record. Handlers run on the link's own thread and should be quick.</summary>
    public event Action<RecordAcked>? RecordAcked;

    /// <summary>The Hub refused a record for good.</summary>
    public event Action<RecordRefused>? RecordRefused;

    /// <summary>A record was changed on both sides; the Hub keeps both for a person.</summary>
    public event Action<RecordConflict>? RecordConflicting;

    /// <summary>What the link is doing now.</summary>
    public LinkState State => _state;

    /// <summary>The host's id, once the Hub has told it.</summary>
    public string? HostId => _running?.Identity.HostId;

    /// <summary>Ends when the link has stopped for good, with the reason: the host was revoked or deleted, or the link was disposed.</summary>
    public Task<string> Completion => _completion.Task;

    /// <summary>
    /// Registers the handler of a command type, before the start. What it returns is the command's result; what it throws is how it failed.
    /// </summary>
    public void Handle(string commandType, Func<CommandContext, Task<JsonNode?>> handler)
    {
        ArgumentException.ThrowIfNullOrEmpty(commandType);
        ArgumentNullException.ThrowIfNull(handler);
        ThrowIfStarted();
        if (_handlers.Count >= CommandTypesMax)
        {
            throw new InvalidOperationException($"A node handles at most {CommandTypesMax} command types.");
        }

        _handlers.Add(commandType, handler);
    }

    /// <summary>
    /// Registers the handler of chat messages to this node, before the start. Messages come one at a time and in order; after a crash the
    /// one in hand comes again. Without a handler they stay in the journal.
    /// </summary>
    public void OnChat(Func<ChatMessage, CancellationToken, Task> handler)
    {
        ArgumentNullException.ThrowIfNull(handler);
        ThrowIfStarted();
        _chatHandler = handler;
    }

    /// <summary>Opens the journal and begins to dial. It does not wait for the Hub: a node works without one.</summary>
    /// <exception cref="IOException">The journal is in use by another process, or cannot be used.</exception>
    public Task StartAsync(CancellationToken cancellationToken = default)
    {
        cancellationToken.ThrowIfCancellationRequested();
        ObjectDisposedException.ThrowIf(_disposed != 0, this);
        if (Interlocked.Exchange(ref _started, 1) != 0)
        {
            throw new InvalidOperationException("The link was started before.");
        }

        MakeStateDirectory();
        var identity = new NodeIdentity(new CredentialFile(_options.CredentialPath), _options.Credential);
        if (identity.Credential is null && _options.JoinToken is null)
        {
            throw new InvalidOperationException("The node has neither a credential nor a join token.");
        }

        _running = Start(Journal.Open(_options.JournalFile), identity);
        return Task.CompletedTask;
    }

    /// <summary>Publishes a task. It is on this node's disk when the call returns, and reaches the Hub as soon as there is a link.</summary>
    /// <param name="task">The task as it is now.</param>
    /// <param name="baseVersion">Version of the Hub's record the change was made on, if the node saw one: lets the Hub notice conflicts.</param>
    /// <exception cref="ArgumentException">The task has no id or is too large.</exception>
    /// <exception cref="OutboxFullException">Too much waits for the Hub.</exception>
    /// <exception cref="JournalException">The disk is full or broken; nothing was published.</exception>
    public Task PublishTaskAsync(HostTask task, long? baseVersion = null)
    {
        ArgumentNullException.ThrowIfNull(task);
        Session.Change(session => session.Publish([task], baseVersion));
        return Task.CompletedTask;
    }

    /// <summary>Publishes many tasks in one step, which costs one write to the disk. All or none.</summary>
    /// <inheritdoc cref="PublishTaskAsync"/>
    public Task PublishTasksAsync(IReadOnlyCollection<HostTask> tasks)
    {
        ArgumentNullException.ThrowIfNull(tasks);
        Session.Change(session => session.Publish(tasks));
        return Task.CompletedTask;
    }

    /// <summary>Publishes that a task is gone.</summary>
    /// <inheritdoc cref="PublishTaskAsync"/>
    public Task DeleteTaskAsync(string taskId)
    {
        ArgumentException.ThrowIfNullOrEmpty(taskId);
        Session.Change(session => session.DeleteTask(taskId));
        return Task.CompletedTask;
    }

    /// <summary>Sends a chat message to people. It is on this node's disk when the call returns; messages arrive in order.</summary>
    /// <param name="message">The message; without an id it is given one, without a timestamp the present time.</param>
    public Task SendChatAsync(ChatMessage message)
    {
        ArgumentNullException.ThrowIfNull(message);
        var sent = message.Clone();
        sent.Id = sent.Id.Length > 0 ? sent.Id : Guid.CreateVersion7(_options.TimeProvider.GetUtcNow()).ToString();
        sent.Timestamp = sent.Timestamp != 0 ? sent.Timestamp : _options.TimeProvider.GetUtcNow().ToUnixTimeMilliseconds();
        Session.Change(session => session.SendChat(sent));
        return Task.CompletedTask;
    }

    /// <summary>Shows people a value that is not stored anywhere, such as a canvas or who is present. The latest per key wins.</summary>
    /// <param name="kind">What it is, at most 64 characters.</param>
    /// <param name="key">Key within the kind, at most 200 characters.</param>
    /// <param name="value">The value, at most 64 KiB as JSON; null removes the key.</param>
    /// <param name="timeToLive">How long it counts, 1 s to 10 min; null stands for 5 min.</param>
    public void SetEphemeral(string kind, string key, JsonNode? value, TimeSpan? timeToLive = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(kind);
        ArgumentNullException.ThrowIfNull(key);
        var frame = new Ephemeral
        {
            Kind = kind,
            Key = key,
            Value = value is null ? null : Json.ToValue(value),
            Ttl = timeToLive is { } span ? Duration.FromTimeSpan(span) : null,
        };
        Session.Change(session => session.SetEphemeral(frame));
    }

    /// <summary>Waits until the Hub has everything that was published before the call.</summary>
    /// <exception cref="InvalidOperationException">The link has stopped for good.</exception>
    public async Task FlushAsync(CancellationToken cancellationToken = default)
    {
        var mark = Session.Read(session => session.OutboxMark());
        while (Session.UntilChangedUnless(session => session.IsAckedUpTo(mark)) is { } changed)
        {
            await Task.WhenAny(changed, Completion).WaitAsync(cancellationToken);
            if (Completion.IsCompleted)
            {
                throw new InvalidOperationException($"The link has stopped: {await Completion}.");
            }
        }
    }

    /// <summary>
    /// Ends the link: cancels handlers and waits for them, lets what they reported reach the Hub, and closes the journal. Takes a few
    /// seconds at most; nothing published is lost.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
        {
            return;
        }

        if (_running is { } parts)
        {
            await _workStopping.CancelAsync();
            await EndAsync(parts.Work, HandlersEndMax);
            await _leaving.CancelAsync();
            await EndAsync(parts.Linking, LeaveMax);
            await _stopping.CancelAsync();
            await EndAsync(parts.Linking, HandlersEndMax);
            parts.Session.Read(_ =>
            {
                parts.Journal.Dispose();
                return true;
            });
        }

        _completion.TrySetResult("the link was disposed");
        SetState(new LinkState(LinkPhase.Stopped, "the link was disposed"));
        _workStopping.Dispose();
        _leaving.Dispose();
        _stopping.Dispose();
    }

    private SharedSession Session
    {
        get
        {
            ObjectDisposedException.ThrowIf(_disposed != 0, this);
            return _running?.Session ?? throw new InvalidOperationException("The link is not started.");
        }
    }

    private Running Start(Journal journal, NodeIdentity identity)
    {
        var time = _options.TimeProvider;
        var random = new Random(_options.RandomSeed ?? RandomNumberGenerator.GetInt32(int.MaxValue));
        var session = new SharedSession(new NodeSession(journal, Describe(), time, new Random(random.Next())));
        var hub = new HubChannel(_options);
        var runner = new CommandRunner(session, _handlers, _options.ConcurrentCommandsMax, _logger);
        var source = _options.SnapshotSource is { } read ? new SourceReader(session, read, _logger) : null;
        var uploads = new ResultUploads(session, hub, identity, new Random(random.Next()), time, _logger);
        var connector = new Connector(
            _options, hub, session, identity, new Random(random.Next()), Status, next => Dispatch(next, identity, session, runner, source), SetState);

        List<Task> work =
        [
            Task.Run(() => KeepRunningAsync(runner.RunAsync)),
            Task.Run(() => KeepRunningAsync(uploads.RunAsync)),
        ];
        if (_chatHandler is { } handler)
        {
            work.Add(Task.Run(() => KeepRunningAsync(new ChatDelivery(session, handler, _logger).RunAsync)));
        }

        var linking = Task.Run(async () =>
        {
            var reason = await connector.RunAsync(_leaving.Token, _stopping.Token);
            SetState(new LinkState(LinkPhase.Stopped, reason));
            _completion.TrySetResult(reason);
        });
        return new Running(journal, session, identity, EndOfWorkAsync(work, source), linking);
    }

    // A journal that cannot be written for a while, as on a full disk, must not end a loop for good.
    private async Task KeepRunningAsync(Func<CancellationToken, Task> loop)
    {
        while (!_workStopping.IsCancellationRequested)
        {
            try
            {
                await loop(_workStopping.Token);
            }
            catch (OperationCanceledException) when (_workStopping.IsCancellationRequested)
            {
                return;
            }
#pragma warning disable CA1031 // The boundary of the loop.
            catch (Exception error)
#pragma warning restore CA1031
            {
                LogLoopFailed(error, LoopRestartDelay);
                await Task.Delay(LoopRestartDelay, _options.TimeProvider, _workStopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private static async Task EndOfWorkAsync(IEnumerable<Task> work, SourceReader? source)
    {
        await Task.WhenAll(work);
        await (source?.EndedAsync() ?? Task.CompletedTask);
    }

    // The journal holds payloads and messages: nobody else's business.
    private void MakeStateDirectory()
    {
        if (OperatingSystem.IsWindows())
        {
            Directory.CreateDirectory(_options.StateDirectory);
        }
        else
        {
            Directory.CreateDirectory(_options.StateDirectory, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }
    }

    private NodeSessionOptions Describe() => new()
    {
        CommandTypes = _handlers.Keys,
        NodeVersion = _options.NodeVersion,
        Platform = Text.Cut($"{RuntimeInformation.OSDescription} {RuntimeInformation.OSArchitecture}", 100),
        Labels = _options.Labels,
        HasSource = _options.SnapshotSource is not null,
    };

    private void Dispatch(SessionEvent next, NodeIdentity identity, SharedSession session, CommandRunner runner, SourceReader? source)
    {
        switch (next)
        {
            case SessionEvent.Welcomed welcomed:
                identity.Learn(welcomed.HostId);
                LogOnline(welcomed.LinkId, welcomed.HostId, welcomed.Epoch);
                SetState(new LinkState(LinkPhase.Online));
                session.Uploads.Set();
                break;
            case SessionEvent.StopCommand stop:
                runner.Cancel(stop.Key);
                break;
            case SessionEvent.SourceWanted wanted:
                source?.Start(wanted.Collection, _workStopping.Token);
                break;
            case SessionEvent.CredentialIssued issued:
                identity.Replace(issued.Token);
                session.Change(target => target.CredentialStored(issued.CredentialId));
                break;
            case SessionEvent.Acked acked:
                Call(() => RecordAcked?.Invoke(acked.Record));
                break;
            case SessionEvent.Refused refused:
                LogRecordRefused(refused.Record.Lane, refused.Record.Id, refused.Record.Reason, refused.Record.Detail);
                Call(() => RecordRefused?.Invoke(refused.Record));
                break;
            case SessionEvent.Conflicting conflicting:
                Call(() => RecordConflicting?.Invoke(conflicting.Record));
                break;
            default:
                break;
        }
    }

    private Struct? Status()
    {
        Struct? status = null;
        Call(() => status = _options.Status?.Invoke() is { } json ? Json.ToStruct(json) : null);
        return status;
    }

    private void SetState(LinkState next)
    {
        if (_state.Phase is not LinkPhase.Stopped)
        {
            _state = next;
            Call(() => StateChanged?.Invoke(next));
        }
    }

    // The application's code: what it throws must not end the link.
    private void Call(Action callback)
    {
        try
        {
            callback();
        }
#pragma warning disable CA1031
        catch (Exception error)
#pragma warning restore CA1031
        {
            LogCallbackFailed(error);
        }
    }

    private async Task EndAsync(Task task, TimeSpan atMost)
    {
        try
        {
            await task.WaitAsync(atMost, _options.TimeProvider);
        }
        catch (TimeoutException)
        {
            LogSlowEnd(atMost);
        }
    }

    private void ThrowIfStarted()
    {
        if (_started != 0)
        {
            throw new InvalidOperationException("Handlers are registered before the start: Hello tells the Hub what the node can run.");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, EventName = "LinkOnline", Message = "Link {LinkId} of host {HostId} is up, epoch {Epoch}.")]
    private partial void LogOnline(string linkId, string hostId, long epoch);

    [LoggerMessage(Level = LogLevel.Warning, EventName = "RecordRefused", Message = "The Hub refused {Id} on lane {Lane}: {Reason}. {Detail}")]
    private partial void LogRecordRefused(Lane lane, string id, string reason, string detail);

    [LoggerMessage(Level = LogLevel.Error, EventName = "CallbackFailed", Message = "A callback of the application failed.")]
    private partial void LogCallbackFailed(Exception error);

    [LoggerMessage(Level = LogLevel.Error, EventName = "LoopFailed", Message = "A loop beside the link failed and begins again in {Delay}.")]
    private partial void LogLoopFailed(Exception error, TimeSpan delay);

    [LoggerMessage(Level = LogLevel.Warning, EventName = "ShutdownSlow", Message = "A part of the link did not end within {AtMost}.")]
    private partial void LogSlowEnd(TimeSpan atMost);

    private sealed record Running(Journal Journal, SharedSession Session, NodeIdentity Identity, Task Work, Task Linking);
}
