using System.Collections.Concurrent;
using System.Text.Json;

namespace Hub.TestKit.Faults;

/// <summary>
/// Compares what the Hub shows with what the nodes and the people wrote down outside of it. Each look reads the notes first and the Hub
/// afterwards, so that what is missing was promised before.
/// </summary>
internal sealed class KillOracle(KillScene scene, HubReader hub, KillLoad load, ConcurrentQueue<string> faults)
{
    private readonly Dictionary<string, string> _terminal = new(StringComparer.Ordinal);

    /// <summary>What must hold at any moment, in the middle of the load too.</summary>
    /// <returns>Acknowledgements that were compared.</returns>
    public async Task<int> CheckPromisesAsync(IReadOnlyList<string> hostIds)
    {
        var compared = 0;
        for (var i = 0; i < hostIds.Count; i++)
        {
            var acks = scene.Nodes[i].Acks();
            var answered = load.Commands.Where(pair => pair.Value == hostIds[i]).Select(pair => pair.Key).ToArray();
            compared += acks.Count + answered.Length;
            CheckCommands(i, answered, await hub.ListAsync($"/api/hosts/{hostIds[i]}/commands", "commands"));
            CheckTasks(i, acks, await TasksAsync(hostIds[i]));
            CheckMessages(i, acks, await MessagesAsync(hostIds[i]));
        }

        return compared;
    }

    /// <summary>What must hold once the load has ended and every node has everything away.</summary>
    public async Task CheckEndAsync(IReadOnlyList<string> hostIds)
    {
        for (var i = 0; i < hostIds.Count; i++)
        {
            var path = $"/api/hosts/{hostIds[i]}/commands";
            await HubReader.UntilAsync(
                async () => (await hub.ListAsync(path, "commands")).All(command => command.TryGetProperty("finishedAt", out _)), () => $"Commands of node {i} do not end.");
            foreach (var command in await hub.ListAsync(path, "commands"))
            {
                if (command.GetProperty("state").GetString() is not ("SUCCEEDED" or "INTERRUPTED") and var state)
                {
                    faults.Enqueue($"Command {command.GetProperty("id")} ended {state}.");
                }
            }

            var tasks = await TasksAsync(hostIds[i]);
            foreach (var ((_, taskId), status) in load.Tasks.Where(pair => pair.Key.Node == i && pair.Value.Length > 0))
            {
                if (!tasks.TryGetValue(taskId, out var task) || task.GetProperty("status").GetString() != status)
                {
                    faults.Enqueue($"{taskId} of node {i} is {(task.ValueKind is JsonValueKind.Object ? task.GetProperty("status") : "not there")} and should be {status}.");
                }
            }

            var published = load.Messages.TryGetValue(i, out var messages) ? messages.ToArray() : [];
            var stored = await MessagesAsync(hostIds[i]);
            if (!stored.Where(id => published.Contains(id, StringComparer.Ordinal)).SequenceEqual(published))
            {
                faults.Enqueue($"Messages of node {i}: {published.Length} were published, and they are not stored each once and in their order.");
            }
        }

        await CheckPromisesAsync(hostIds);
    }

    private void CheckCommands(int node, string[] answered, IReadOnlyList<JsonElement> commands)
    {
        var shown = commands.Select(command => command.GetProperty("id").GetString()!).ToHashSet(StringComparer.Ordinal);
        Complain(answered.Where(id => !shown.Contains(id)), id => $"Command {id} of node {node} was answered and is gone.");

        // A node writes an attempt down before it reports it.
        var started = scene.Nodes[node].SideEffects();
        Complain(started.GroupBy(line => line).Where(group => group.Count() > 1), group => $"Attempt {group.Key} was started {group.Count()} times.");
        var ran = started.Select(line => line.Split(' ')[0]).ToHashSet(StringComparer.Ordinal);
        foreach (var command in commands.Where(command => command.TryGetProperty("finishedAt", out _)))
        {
            var (id, state) = (command.GetProperty("id").GetString()!, command.GetProperty("state").GetString()!);
            if (_terminal.TryGetValue(id, out var was) && was != state)
            {
                faults.Enqueue($"Command {id} was {was} for good and is {state}.");
            }

            _terminal[id] = state;
            if (state == "SUCCEEDED" && !ran.Contains(id))
            {
                faults.Enqueue($"Command {id} is SUCCEEDED and was never started.");
            }
        }
    }

    private void CheckTasks(int node, IReadOnlyList<AckedRecord> acks, Dictionary<string, JsonElement> tasks) => Complain(
        acks.Where(ack => ack.Kind == "task" && (!tasks.TryGetValue(ack.Id, out var task) || task.GetProperty("version").GetInt64() < ack.Version)),
        ack => $"Acknowledged version {ack.Version} of {ack.Id} of node {node} is lost.");

    private void CheckMessages(int node, IReadOnlyList<AckedRecord> acks, string[] stored)
    {
        var ids = stored.ToHashSet(StringComparer.Ordinal);
        Complain(acks.Where(ack => ack.Kind == "chat" && !ids.Contains(ack.Id)), ack => $"Acknowledged message {ack.Id} of node {node} is lost.");
        if (ids.Count != stored.Length)
        {
            faults.Enqueue($"Node {node} has {stored.Length - ids.Count} messages twice.");
        }
    }

    private void Complain<T>(IEnumerable<T> broken, Func<T, string> words)
    {
        foreach (var item in broken)
        {
            faults.Enqueue(words(item));
        }
    }

    private async Task<Dictionary<string, JsonElement>> TasksAsync(string hostId) =>
        (await hub.ListAsync($"/api/hosts/{hostId}/tasks", "tasks")).ToDictionary(task => task.GetProperty("id").GetString()!, StringComparer.Ordinal);

    // Listed the latest first.
    private async Task<string[]> MessagesAsync(string hostId) =>
        [.. (await hub.ListAsync($"/api/hosts/{hostId}/chat", "messages")).Select(message => message.GetProperty("id").GetString()!).Reverse()];
}
