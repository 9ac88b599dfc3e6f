using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Hub.TestKit.Faults;

/// <summary>
/// Load on a real Hub process and real node processes while one after the other is killed with SIGKILL, and an oracle outside both: what the
/// node wrote down as acknowledged, what it wrote down as started, what clients were answered.
/// </summary>
public sealed class KillRun(HubProcess hub, IReadOnlyList<NodeProcess> nodes, HttpClient owner, int seed) : IAsyncDisposable
{
    /// <summary>Ids a node's tasks cycle through, so that records are superseded while they wait.</summary>
    private const int TaskIds = 40;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan DrainWithin = TimeSpan.FromSeconds(120);

    private readonly CancellationTokenSource _stopping = new();
    private readonly ConcurrentDictionary<(int Node, string TaskId), string> _published = new();
    private readonly ConcurrentDictionary<string, string> _commands = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _terminal = new(StringComparer.Ordinal);
    private readonly List<Task> _load = [];
    private readonly Random _random = new(seed);
    private string[] _hostIds = [];
    private string _refusal = "";

    /// <summary>What broke a promise.</summary>
    public ConcurrentQueue<string> Faults { get; } = new();

    public int Published => _published.Count;

    public int Commands => _commands.Count;

    /// <summary>Starts the nodes and the load.</summary>
    public async Task StartAsync()
    {
        foreach (var node in nodes)
        {
            node.Start();
        }

        _hostIds = await HostIdsAsync();
        for (var i = 0; i < nodes.Count; i++)
        {
            var index = i;
            _load.Add(Task.Run(() => PublishAsync(index)));
            _load.Add(Task.Run(() => CommandAsync(_hostIds[index], index)));
        }

        _load.Add(Task.Run(ObserveAsync));
    }

    /// <summary>Lets the load run, then kills the Hub or a node and starts it again.</summary>
    public async Task KillOnceAsync(bool killHub, int loadBefore)
    {
        var goal = _commands.Count + loadBefore;
        await UntilAsync(
            () =>
            {
                // A part of the load that broke is the fault to report, not that nothing moves.
                return _load.Find(part => part.IsFaulted) is { } broken ? Task.FromException<bool>(broken.Exception!) : Task.FromResult(_commands.Count >= goal);
            },
            () => $"The load does not move on. {_refusal} {hub.Errors}");
        if (killHub)
        {
            await hub.KillAsync();
            await hub.StartAsync();
        }
        else
        {
            var node = nodes[_random.Next(nodes.Count)];
            await node.KillAsync();
            node.Start();
        }
    }

    /// <summary>Stops the load, lets everything drain and compares.</summary>
    public async Task CheckAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_load).Within(DrainWithin);
        foreach (var node in nodes)
        {
            if (!await node.SayAsync("flush"))
            {
                Faults.Enqueue($"A node is gone: {node.Errors}");
            }
        }

        await CheckCommandsAsync();
        for (var i = 0; i < nodes.Count; i++)
        {
            await CheckTasksAsync(i);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await Task.WhenAll(_load).Within(DrainWithin);
        _stopping.Dispose();
    }

    private async Task PublishAsync(int index)
    {
        for (var i = 0; !_stopping.IsCancellationRequested; i++)
        {
            var (id, status) = ($"task-{i % TaskIds}", $"round-{i}");
            if (await nodes[index].SayAsync($"task {id} {status} Load"))
            {
                _published[(index, id)] = status; // Durable on the node from here on.
            }
            else
            {
                _published[(index, id)] = ""; // Killed in the middle: either version may be the last.
            }

            await PauseAsync();
        }
    }

    private async Task CommandAsync(string hostId, int index)
    {
        for (var i = 0; !_stopping.IsCancellationRequested; i++)
        {
            var key = $"{seed}-{index}-{i}";
            while (await CreateAsync(hostId, key) is not { } commandId || !_commands.TryAdd(commandId, hostId))
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
        var body = JsonContent.Create(new { type = "append", payload = new { }, idempotencyKey = key });
        if (await SendAsync(() => owner.PostAsync(new Uri($"/api/hosts/{hostId}/commands", UriKind.Relative), body)) is not { } json)
        {
            return null;
        }

        return json.GetProperty("command").GetProperty("id").GetString();
    }

    /// <summary>A command once seen terminal must be seen so for ever.</summary>
    private async Task ObserveAsync()
    {
        while (!_stopping.IsCancellationRequested)
        {
            foreach (var hostId in _hostIds)
            {
                if (await GetAsync($"/api/hosts/{hostId}/commands?pageSize=200") is { } page)
                {
                    foreach (var command in page.GetProperty("commands").EnumerateArray())
                    {
                        Observe(command);
                    }
                }
            }

            await PauseAsync();
        }
    }

    private void Observe(JsonElement command)
    {
        if (!command.TryGetProperty("finishedAt", out _))
        {
            return;
        }

        var (id, state) = (command.GetProperty("id").GetString()!, command.GetProperty("state").GetString()!);
        if (_terminal.GetOrAdd(id, state) is var first && first != state)
        {
            Faults.Enqueue($"Command {id} was {first} and is {state}.");
        }
    }

    private async Task CheckCommandsAsync()
    {
        var started = nodes.SelectMany(node => node.SideEffects()).ToArray();
        foreach (var twice in started.GroupBy(line => line).Where(group => group.Count() > 1))
        {
            Faults.Enqueue($"Attempt {twice.Key} was started {twice.Count()} times.");
        }

        var startedIds = started.Select(line => line.Split(' ')[0]).ToHashSet(StringComparer.Ordinal);
        foreach (var (commandId, hostId) in _commands)
        {
            JsonElement? command = null;
            await UntilAsync(
                async () =>
                {
                    command = (await GetAsync($"/api/hosts/{hostId}/commands/{commandId}"))?.GetProperty("command");
                    return command is { } read && read.TryGetProperty("finishedAt", out _);
                },
                $"Command {commandId} does not end.");
            Observe(command!.Value);
            var state = command.Value.GetProperty("state").GetString();
            if (state == "SUCCEEDED" && !startedIds.Contains(commandId) && !nodes.SelectMany(node => node.SideEffects()).Any(line => line.StartsWith(commandId, StringComparison.Ordinal)))
            {
                Faults.Enqueue($"Command {commandId} is SUCCEEDED and was never started.");
            }

            if (state is not ("SUCCEEDED" or "INTERRUPTED"))
            {
                Faults.Enqueue($"Command {commandId} ended {state}.");
            }
        }
    }

    private async Task CheckTasksAsync(int index)
    {
        var hostId = _hostIds[index];
        var page = await GetAsync($"/api/hosts/{hostId}/tasks?pageSize=1000") ?? throw new InvalidOperationException("The Hub does not answer.");
        var stored = page.GetProperty("tasks").EnumerateArray().ToDictionary(task => task.GetProperty("id").GetString()!);
        foreach (var ((_, taskId), status) in _published.Where(pair => pair.Key.Node == index))
        {
            if (!stored.TryGetValue(taskId, out var task))
            {
                if (status.Length > 0)
                {
                    Faults.Enqueue($"{taskId} of node {index} is not stored.");
                }
            }
            else if (status.Length > 0 && task.GetProperty("status").GetString() != status)
            {
                Faults.Enqueue($"{taskId} of node {index} is {task.GetProperty("status").GetString()} and should be {status}.");
            }
        }

        foreach (var ack in nodes[index].Acks().Where(ack => ack.Kind == "task"))
        {
            if (!stored.TryGetValue(ack.Id, out var task) || task.GetProperty("version").GetInt64() < ack.Version)
            {
                Faults.Enqueue($"Acknowledged version {ack.Version} of {ack.Id} of node {index} is lost.");
            }
        }
    }

    private async Task<string[]> HostIdsAsync()
    {
        var ids = new Dictionary<string, string>(StringComparer.Ordinal);
        await UntilAsync(
            async () =>
            {
                ids = (await GetAsync("/api/hosts"))?.GetProperty("hosts").EnumerateArray()
                    .Where(host => host.TryGetProperty("link", out _))
                    .ToDictionary(host => host.GetProperty("name").GetString()!, host => host.GetProperty("id").GetString()!) ?? [];
                return nodes.All(node => ids.ContainsKey(node.Name));
            },
            "The nodes do not connect.");
        return [.. nodes.Select(node => ids[node.Name])];
    }

    private Task<JsonElement?> GetAsync(string path) => SendAsync(() => owner.GetAsync(new Uri(path, UriKind.Relative)));

    /// <summary>The answer's body, or null while the Hub is away.</summary>
    private async Task<JsonElement?> SendAsync(Func<Task<HttpResponseMessage>> send)
    {
        try
        {
            using var response = await send().Within();
            if (response.IsSuccessStatusCode)
            {
                return await response.Content.ReadFromJsonAsync<JsonElement>();
            }

            _refusal = $"Last refusal: {(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
            if (response.StatusCode is not (HttpStatusCode.ServiceUnavailable or HttpStatusCode.TooManyRequests))
            {
                Faults.Enqueue($"{response.RequestMessage?.RequestUri} answered {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            // Killed, or not up again yet.
        }

        return null;
    }

    private async Task PauseAsync()
    {
        try
        {
            await Task.Delay(Pace, TimeProvider.System, _stopping.Token);
        }
        catch (OperationCanceledException)
        {
            // The load ends.
        }
    }

    private static Task UntilAsync(Func<Task<bool>> holds, string complaint) => UntilAsync(holds, () => complaint);

    private static async Task UntilAsync(Func<Task<bool>> holds, Func<string> complaint)
    {
        var time = TimeProvider.System;
        var started = time.GetTimestamp();
        while (!await holds())
        {
            if (time.GetElapsedTime(started) > DrainWithin)
            {
                throw new TimeoutException(complaint());
            }

            await Task.Delay(Pace, time);
        }
    }
}
