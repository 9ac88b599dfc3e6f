using System.Collections.Concurrent;
using System.Globalization;
using Hub.AgentClient.Node;

namespace Hub.TestKit.Faults;

/// <summary>
/// Nodes that publish tasks and chat, and people who create commands, each at a pace of its own. What a person was answered is on the disk
/// before the next request; what a node published and was acknowledged, the node itself writes down.
/// </summary>
internal sealed class KillLoad : IAsyncDisposable
{
    /// <summary>Ids a node's tasks cycle through, so that records are superseded while they wait.</summary>
    private const int TaskIds = 40;

    /// <summary>One message to so many tasks.</summary>
    private const int TasksPerMessage = 4;

    private readonly KillScene _scene;
    private readonly HubReader _hub;
    private readonly TimeSpan _pace;
    private readonly string _run;
    private readonly DurableLines _answers;
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<Task> _parts = [];

    public KillLoad(KillScene scene, HubReader hub, int seed, TimeSpan pace)
    {
        _scene = scene;
        _hub = hub;
        _pace = pace;
        _run = seed.ToString(CultureInfo.InvariantCulture);
        _answers = new DurableLines(scene.FileNamed("answers.txt"));
    }

    /// <summary>Host of each answered command.</summary>
    public ConcurrentDictionary<string, string> Commands { get; } = new(StringComparer.Ordinal);

    /// <summary>Last status of each task a node has on its disk; empty where a kill hid which of two it is.</summary>
    public ConcurrentDictionary<(int Node, string TaskId), string> Tasks { get; } = new();

    /// <summary>Messages each node has on its disk, in their order.</summary>
    public ConcurrentDictionary<int, ConcurrentQueue<string>> Messages { get; } = new();

    public void Start(IReadOnlyList<string> hostIds)
    {
        for (var i = 0; i < hostIds.Count; i++)
        {
            var index = i;
            _parts.Add(Task.Run(() => PublishAsync(index)));
            _parts.Add(Task.Run(() => CommandAsync(hostIds[index], index)));
        }
    }

    /// <summary>A part of the load that broke is the fault to report, not that nothing moves.</summary>
    public void ThrowIfBroken()
    {
        if (_parts.Find(part => part.IsFaulted) is { } broken)
        {
            throw new InvalidOperationException("A part of the load broke.", broken.Exception);
        }
    }

    public async Task StopAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_parts).Within(TimeSpan.FromMinutes(2));
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stopping.Dispose();
        _answers.Dispose();
    }

    private async Task PublishAsync(int index)
    {
        var node = _scene.Nodes[index];
        var messages = Messages.GetOrAdd(index, []);
        for (var i = 0; !_stopping.IsCancellationRequested; i++)
        {
            if (i % (TasksPerMessage + 1) == TasksPerMessage)
            {
                if (await node.SayAsync($"chat message {i}") is { } answer)
                {
                    messages.Enqueue(answer.Split(' ')[^1]);
                }
            }
            else
            {
                var (id, status) = ($"task-{i % TaskIds}", $"round-{i}");
                Tasks[(index, id)] = await node.SayAsync($"task {id} {status} Load") is null ? "" : status;
            }

            await PauseAsync();
        }
    }

    private async Task CommandAsync(string hostId, int index)
    {
        for (var i = 0; !_stopping.IsCancellationRequested; i++)
        {
            var key = $"{_run}-{index}-{i}";
            while (await CreateAsync(hostId, key) is not { } commandId || !Commands.TryAdd(commandId, hostId))
            {
                if (_stopping.IsCancellationRequested)
                {
                    return;
                }

                await PauseAsync(); // The Hub is away: the same key again.
            }

            await PauseAsync();
        }
    }

    private async Task<string?> CreateAsync(string hostId, string key)
    {
        var answer = await _hub.PostAsync($"/api/hosts/{hostId}/commands", new { type = "append", payload = new { }, idempotencyKey = key });
        var commandId = answer?.GetProperty("command").GetProperty("id").GetString();
        if (commandId is not null)
        {
            _answers.Append($"{key} {commandId}");
        }

        return commandId;
    }

    private async Task PauseAsync()
    {
        try
        {
            await Task.Delay(_pace, TimeProvider.System, _stopping.Token);
        }
        catch (OperationCanceledException)
        {
            // The load ends.
        }
    }
}
