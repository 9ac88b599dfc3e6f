using Hub.AgentClient;
using Hub.AgentClient.Internal;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Tests.Links.Model;

/// <summary>
/// What was promised, written down outside the Hub: acknowledgements as the client heard them, side effects as the node had them. It compares
/// them with the rows.
/// </summary>
internal sealed class Oracle(Diary diary, string hostId)
{
    private readonly Dictionary<CommandKey, (string InstanceId, bool InCopy)> _started = [];
    private readonly HashSet<CommandKey> _startsTold = [];
    private readonly Dictionary<string, string> _terminal = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _keys = new(StringComparer.Ordinal);
    private readonly HashSet<string> _commands = new(StringComparer.Ordinal);
    private readonly HashSet<string> _chatUpAcked = new(StringComparer.Ordinal);
    private readonly List<string> _chatDown = [];
    private readonly Dictionary<string, CloudChange> _cloudChanges = new(StringComparer.Ordinal);
    private readonly HashSet<string> _poisonRefused = new(StringComparer.Ordinal);
    private readonly Queue<(SimulatedNode Node, RecordAcked Record)> _ackedNow = new();

    public Diary Diary => diary;

    /// <summary>Commands whose creation was answered.</summary>
    public IReadOnlyCollection<string> Commands => _commands;

    /// <summary>Side effects that happened.</summary>
    public int StartedCount => _started.Count;

    /// <summary>
    /// The node began a side effect. This is the log that no crash takes back. One repeat is excepted: of a start that nobody told the Hub of,
    /// where a copied disk held the attempt as accepted. The Hub cannot tell that from a node that crashed before it could start.
    /// </summary>
    public void Started(SimulatedNode node, CommandKey key)
    {
        var (first, firstInCopy) = _started.GetValueOrDefault(key);
        var inCopy = node.AcceptedInCopy.Contains(key);
        PromiseBrokenException.Unless(
            _started.TryAdd(key, (node.InstanceId, inCopy)) || ((firstInCopy || inCopy) && !_startsTold.Contains(key)),
            $"{key} was started by {first} and again by {node.InstanceId}");
    }

    public void Acked(SimulatedNode node, RecordAcked record)
    {
        diary.Note($"{node.Name} hears that {record.Kind} {record.Id} is stored");
        _ackedNow.Enqueue((node, record));
        if (record.Kind is RecordKind.Chat)
        {
            _chatUpAcked.Add(record.Id);
        }
        else if (record.Kind is RecordKind.Task)
        {
            node.App.Known[record.Id] = record.Version;
        }
    }

    public void Refused(RecordRefused record)
    {
        PromiseBrokenException.Unless(
            record.Id.StartsWith(SimulatedHub.PoisonPrefix, StringComparison.Ordinal), $"{record.Id} was refused: {record.Detail}");
        _poisonRefused.Add(record.Id);
    }

    public void Created(string key, string commandId)
    {
        lock (_keys)
        {
            _commands.Add(commandId);
            PromiseBrokenException.Unless(
                _keys.TryAdd(key, commandId) || _keys[key] == commandId, $"the key {key} made {_keys[key]} and {commandId}");
        }
    }

    public void SentDown(string messageId) => _chatDown.Add(messageId);

    /// <summary>A person changed a task that was stored as <paramref name="before"/>.</summary>
    public void CloudChanged(TaskView before, long version, string title) => _cloudChanges[before.TaskId] = new CloudChange(
        version, title, before.Origin == "cloud" && _cloudChanges.TryGetValue(before.TaskId, out var earlier) ? earlier.NodeTitle : before.Title);

    /// <summary>What may never change, after every step.</summary>
    public async Task CheckAsync(SimulatedHub hub)
    {
        // Creations are answered while the rows are read: only those answered before must be among them.
        string[] answered;
        lock (_keys)
        {
            answered = [.. _commands];
        }

        var rows = await hub.QueryAsync<CommandView>(
            "select command_id, state, attempt, idempotency_key from commands where host_id = @hostId", new { hostId });
        foreach (var row in rows)
        {
            var state = EnumText<CommandState>.Parse(row.State);
            if (state == CommandState.Running || CommandStates.IsTerminal(state))
            {
                _startsTold.Add(new CommandKey(row.CommandId, (int)row.Attempt));
            }

            if (_terminal.TryGetValue(row.CommandId, out var was))
            {
                PromiseBrokenException.Unless(was == $"{row.State}/{row.Attempt}", $"{row.CommandId} was {was} for good and is {row.State}/{row.Attempt}");
            }
            else if (CommandStates.IsTerminal(state))
            {
                _terminal[row.CommandId] = $"{row.State}/{row.Attempt}";
            }

            PromiseBrokenException.Unless(
                row.State != "SUCCEEDED" || _started.ContainsKey(new CommandKey(row.CommandId, (int)row.Attempt)), $"{row.CommandId} succeeded and never ran");
        }

        PromiseBrokenException.Unless(!answered.Except(rows.Select(row => row.CommandId), StringComparer.Ordinal).Any(), "a command that was answered is gone");
        var twice = rows.Where(row => row.IdempotencyKey is not null).GroupBy(row => row.IdempotencyKey).FirstOrDefault(key => key.Count() > 1);
        PromiseBrokenException.Unless(twice is null, $"the key {twice?.Key} made {twice?.Count()} commands");
        await CheckAckedAsync(hub);
    }

    /// <summary>After a batch of a node was applied: what people wrote and it overwrote is in the ledger.</summary>
    public async Task CheckConflictsAsync(SimulatedHub hub, Batch batch, IReadOnlyList<TaskView> before)
    {
        var after = await TasksAsync(hub);
        foreach (var delta in batch.Entries.Select(entry => entry.Delta).Where(delta => delta is { HasBaseVersion: true }))
        {
            var was = before.FirstOrDefault(task => task.TaskId == delta.RecordId);
            var now = after.FirstOrDefault(task => task.TaskId == delta.RecordId);
            if (was is not { Origin: "cloud" } || was.Version == delta.BaseVersion || now is not { Origin: "node" })
            {
                continue;
            }

            var kept = await hub.QueryAsync<long>(
                "select count(*) from sync_conflicts where host_id = @hostId and record_id = @TaskId and stored_version = @Version",
                new { hostId, was.TaskId, was.Version });
            PromiseBrokenException.Unless(kept[0] == 1, $"version {was.Version} of {was.TaskId}, written by a person, was overwritten without a trace");
        }
    }

    public async Task<IReadOnlyList<TaskView>> TasksAsync(SimulatedHub hub) =>
    [
        .. (await hub.QueryAsync<TaskRow>(
            "select record_id as task_id, version, journal_id, origin, body, deleted_at from records where host_id = @hostId order by record_id", new { hostId }))
            .Select(row => new TaskView(
                row.TaskId, row.Version, row.JournalId, row.Origin, row.DeletedAt is null ? HostTask.Parser.ParseFrom(row.Body!).Title : null)),
    ];

    /// <summary>After everything healed: both sides agree.</summary>
    public async Task CheckSettledAsync(SimulatedHub hub, SimulatedNode node)
    {
        await CheckAsync(hub);
        var stored = (await TasksAsync(hub)).Where(task => task.Title is not null).ToDictionary(task => task.TaskId);
        foreach (var (taskId, title) in node.App.Tasks)
        {
            if (taskId.StartsWith(SimulatedHub.PoisonPrefix, StringComparison.Ordinal))
            {
                PromiseBrokenException.Unless(!stored.ContainsKey(taskId), $"{taskId} was stored");
                var kept = await hub.QueryAsync<long>("select count(*) from rejected_deltas where record_id = @taskId", new { taskId });
                PromiseBrokenException.Unless(kept[0] > 0, $"{taskId} was not set aside");
                continue;
            }

            PromiseBrokenException.Unless(stored.Remove(taskId, out var task), $"the node has {taskId} = {title}, the Hub has not");
            var isClouds = _cloudChanges.TryGetValue(taskId, out var cloud) && task!.Title == cloud.Title && cloud.NodeTitle == title;
            PromiseBrokenException.Unless(task!.Title == title || isClouds, $"the node has {taskId} = {title}, the Hub {task.Title} ({task.Origin})");
        }

        PromiseBrokenException.Unless(stored.Count == 0, $"the Hub has {string.Join(", ", stored.Values)}, the node has not");
        await CheckChatAsync(hub, node);
        var open = await hub.QueryAsync<CommandView>(
            "select command_id, state, attempt, idempotency_key from commands where host_id = @hostId", new { hostId });
        foreach (var command in open)
        {
            PromiseBrokenException.Unless(_terminal.ContainsKey(command.CommandId), $"{command.CommandId} stays {command.State} (attempt {command.Attempt})");
        }
    }

    private async Task CheckChatAsync(SimulatedHub hub, SimulatedNode node)
    {
        var rows = await hub.QueryAsync<ChatView>(
            "select message_id, direction, down_seq, delivered_at from chat_messages where host_id = @hostId order by down_seq", new { hostId });
        var up = rows.Where(row => row.Direction == "from_node").Select(row => row.MessageId).ToHashSet();
        PromiseBrokenException.Unless(_chatUpAcked.IsSubsetOf(up), $"acknowledged and lost: {string.Join(", ", _chatUpAcked.Except(up))}");
        PromiseBrokenException.Unless(
            up.IsSupersetOf(node.App.ChatInJournal), $"journaled and lost: {string.Join(", ", node.App.ChatInJournal.Except(up))}");
        var down = rows.Where(row => row.Direction == "to_node").ToArray();
        PromiseBrokenException.Unless(
            down.Select(row => row.MessageId).Where(_chatDown.Contains).SequenceEqual(_chatDown), "messages to the node have other numbers than their order");
        PromiseBrokenException.Unless(down.All(row => row.DeliveredAt is not null), "a message to the node was never delivered");
        var order = down.Select((row, i) => (row.MessageId, i)).ToDictionary(row => row.MessageId, row => row.i);
        var heard = node.App.Heard.Select(id => order[id]).ToArray();
        var last = -1;
        foreach (var place in heard)
        {
            // The first message of a lineage may be any: what the lost journal had confirmed is not sent again.
            PromiseBrokenException.Unless(last < 0 || place <= last + 1, $"the node heard message {place} after {last}");
            last = Math.Max(last, place);
        }

        PromiseBrokenException.Unless(heard.Length == 0 || last == down.Length - 1, $"the node heard up to message {last} of {down.Length}");
    }

    // A record is there when its client hears so, in that version or a later one, unless another journal speaks for the host by now.
    private async Task CheckAckedAsync(SimulatedHub hub)
    {
        while (_ackedNow.TryDequeue(out var acked))
        {
            var (node, record) = acked;
            var link = await hub.QueryAsync<string>("select instance_id from links where host_id = @hostId", new { hostId });
            if (link[0] != node.InstanceId)
            {
                continue;
            }

            switch (record.Kind)
            {
                case RecordKind.Task or RecordKind.TaskDeleted when !record.Id.StartsWith(SimulatedHub.PoisonPrefix, StringComparison.Ordinal):
                    var versions = await hub.QueryAsync<long>(
                        "select version from records where host_id = @hostId and record_id = @Id", new { hostId, record.Id });
                    PromiseBrokenException.Unless(
                        versions.Count == 1 && versions[0] >= record.Version, $"version {record.Version} of {record.Id} was acknowledged and is not stored");
                    break;
                case RecordKind.Chat:
                    var messages = await hub.QueryAsync<long>(
                        "select count(*) from chat_messages where host_id = @hostId and message_id = @Id", new { hostId, record.Id });
                    PromiseBrokenException.Unless(messages[0] == 1, $"message {record.Id} was acknowledged and is not stored");
                    break;
                default:
                    break;
            }
        }
    }

    /// <param name="NodeTitle">What the node's last change before it said.</param>
    private sealed record CloudChange(long Version, string Title, string? NodeTitle);

    private sealed record CommandView(string CommandId, string State, long Attempt, string? IdempotencyKey);

    private sealed record ChatView(string MessageId, string Direction, long? DownSeq, long? DeliveredAt);

    private sealed record TaskRow
    {
        public required string TaskId { get; init; }
        public long Version { get; init; }
        public required string JournalId { get; init; }
        public required string Origin { get; init; }
        public byte[]? Body { get; init; }
        public long? DeletedAt { get; init; }
    }
}

/// <summary>A task as the Hub stores it.</summary>
/// <param name="Title">Null if it is deleted.</param>
internal sealed record TaskView(string TaskId, long Version, string JournalId, string Origin, string? Title);
