using Google.Protobuf.WellKnownTypes;
using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.Tests.Links.Model;

/// <summary>How a life is lived.</summary>
/// <param name="Seed">All chance comes from it.</param>
/// <param name="Guards">What protects the Hub.</param>
internal sealed record LifeOptions(int Seed, StoreGuards Guards);

/// <summary>How a life went wrong.</summary>
/// <param name="IsPromise">The oracle found a broken promise; else something failed on the way.</param>
internal sealed record BrokenLife(string Text, bool IsPromise);

/// <summary>
/// One random life of a Hub and a host: one step at a time, each awaited to its end, so that a seed always lives the same life. At its end
/// everything heals, and both sides have to agree within a bounded number of rounds.
/// </summary>
internal sealed class Life : IAsyncDisposable
{
    private const int Steps = 260;
    private const int HealRoundsMax = 150;
    private const int TaskIds = 8;
    private const int Keys = 12;
    private const int NodesMax = 3;

    private static readonly Principal Person = new Principal.User("user", "person@example.com", new Dictionary<string, TeamRole>()) { Token = new UserToken("user") };

    private readonly Random _random;
    private readonly Diary _diary = new();
    private readonly LogGuard _logs = new();
    private readonly ManualTimeProvider _time = new();
    private readonly string _directory;
    private readonly string _hostId;
    private readonly SimulatedHub _hub;
    private readonly Oracle _oracle;
    private readonly List<SimulatedNode> _nodes = [];
    private readonly List<SimulatedLink> _links = [];
    private readonly List<DiskImage> _images = [];
    private readonly (int Weight, Func<Task> Step)[] _deck;
    private readonly int _weights;
    private long _epoch;
    private int _names;
    private bool _crashNext;

    private Life(LifeOptions options, string directory, string hostId)
    {
        _random = new Random(options.Seed);
        (_directory, _hostId) = (directory, hostId);
        _oracle = new Oracle(_diary, hostId);
        _hub = new SimulatedHub(Path.Combine(directory, "hub.db"), options.Guards, _time, _logs);
        // Half of the lives keep their disks: there the mirror alone has to do for a re-sync.
        var disksFail = _random.Next(2) == 0;
        _nodes.Add(SimulatedNode.Install("a", Path.Combine(directory, "a.journal"), disksFail || _random.Next(2) == 0, _time, _oracle, options.Seed));
        _deck =
        [
            (14, Publish), (3, Delete), (2, PublishPoison), (5, ChangeInCloud), (5, ChatUp), (5, ChatDown),
            (5, CreateCommand), (2, CancelCommand), (2, CreateTwins), (2, TakeOverAgainstOldFrame),
            (14, Send), (26, DeliverUp), (26, DeliverDown), (10, Pump), (10, StartCommand), (6, FinishCommand), (6, HandleChat),
            (7, Connect), (3, NoticeEnd), (2, RestartNode), (3, ArmFault), (1, ReopenHub), (2, PassTime),
            (disksFail ? 2 : 0, CopyDisk), (disksFail ? 1 : 0, LoseJournal), (disksFail ? 2 : 0, Rewind), (disksFail ? 1 : 0, CloneNode),
        ];
        _weights = _deck.Sum(card => card.Weight);
    }

    /// <summary>Lives one life.</summary>
    /// <returns>Null, or what went wrong.</returns>
    public static async Task<BrokenLife?> LiveAsync(LifeOptions options, LifeTemplate template)
    {
        var directory = template.NewDirectory(options.Seed);
        try
        {
            await using var life = new Life(options, directory, template.HostId);
            try
            {
                await life._hub.OpenAsync();
                for (life._diary.Step = 1; life._diary.Step <= Steps; life._diary.Step++)
                {
                    await life.StepAsync();
                }

                await life.HealAsync();
                return null;
            }
            catch (PromiseBrokenException broken)
            {
                return new BrokenLife($"Seed {options.Seed}, step {life._diary.Step}: {broken.Message}.\n{life._diary}", IsPromise: true);
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                return new BrokenLife($"Seed {options.Seed}, step {life._diary.Step}: {e}\n{life._diary}", IsPromise: false);
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _hub.DisposeAsync();
        _nodes.ForEach(node => node.Dispose());
    }

    private async Task StepAsync()
    {
        _time.Advance(TimeSpan.FromMilliseconds(_random.Next(1, 40)));
        var drawn = _random.Next(_weights);
        foreach (var (weight, step) in _deck)
        {
            if (drawn < weight)
            {
                await step();
                break;
            }

            drawn -= weight;
        }

        await SettleAsync();
        await _oracle.CheckAsync(_hub);
    }

    // After whatever touched the store: a fault that fired may have been the death of the Hub.
    private async Task SettleAsync()
    {
        await _hub.SettleAsync();
        if (_hub.Fault.TakeFired())
        {
            _diary.Note($"the writer died{(_crashNext ? ", and the Hub with it" : "")}");
            if (_crashNext)
            {
                await RestartHubAsync();
            }
        }

        foreach (var link in _links)
        {
            CollectDown(link);
        }

        _links.RemoveAll(link => link.IsOver);
    }

    private Task Publish()
    {
        var node = AnyNode();
        var id = $"t{_random.Next(TaskIds)}";
        var known = _random.Next(2) == 0 && node.App.Known.TryGetValue(id, out var version) ? version : (long?)null;
        var title = $"{node.Name}{++_names}";
        _diary.Note($"{node.Name} publishes {id} = {title} on {known}");
        node.Publish(id, title, known);
        return Task.CompletedTask;
    }

    private Task Delete()
    {
        var node = AnyNode();
        var id = $"t{_random.Next(TaskIds)}";
        _diary.Note($"{node.Name} deletes {id}");
        node.Delete(id);
        return Task.CompletedTask;
    }

    private Task PublishPoison()
    {
        var node = AnyNode();
        var id = $"{SimulatedHub.PoisonPrefix}{_random.Next(3)}";
        _diary.Note($"{node.Name} publishes {id}");
        node.Publish(id, $"{++_names}", null);
        return Task.CompletedTask;
    }

    private Task ChatUp()
    {
        var node = AnyNode();
        var id = $"up{++_names}";
        _diary.Note($"{node.Name} says {id}");
        node.SendChat(id);
        return Task.CompletedTask;
    }

    // As TaskGrpcService.UpdateTask does.
    private async Task ChangeInCloud()
    {
        var stored = (await _oracle.TasksAsync(_hub)).Where(task => task.Title is not null).ToArray();
        if (stored.Length == 0)
        {
            return;
        }

        var before = stored[_random.Next(stored.Length)];
        var title = $"cloud{++_names}";
        _diary.Note($"a person changes {before.TaskId} to {title}");
        await TryAsync(async () =>
        {
            var version = await _hub.Store.WriteAsync(SimulatedHub.Team, tx =>
            {
                var next = RecordStore.NextVersion(tx, before.Version);
                var task = new HostTask { Id = before.TaskId, Title = title, Status = "open", Version = next };
                _hub.Tasks.Apply(tx, new RecordChange(SimulatedHub.Team, _hostId, RecordCollections.Tasks, before.TaskId, task, next, null, RecordOrigin.Cloud));
                return next;
            }).Within();
            _oracle.CloudChanged(before, version, title);
        });
        if ((await _oracle.TasksAsync(_hub)).First(task => task.TaskId == before.TaskId) is { } after && after.Title == title)
        {
            _oracle.CloudChanged(before, after.Version, title); // Committed, though the answer may have got lost.
        }
    }

    private async Task ChatDown()
    {
        var key = $"down{++_names}";
        _diary.Note($"a person says {key}");
        await TryAsync(async () =>
        {
            var (message, _) = await _hub.Store.WriteAsync(
                SimulatedHub.Team,
                tx => ChatLog.Send(tx, SimulatedHub.Team, _hostId, new ChatMessage { From = "person", Content = key }, key, key)).Within();
            _oracle.SentDown(message.Id);
        });
    }

    private Task CreateCommand() => TryAsync(() => CreateAsync($"key{_random.Next(Keys)}"));

    private async Task CreateTwins()
    {
        var key = $"key{_random.Next(Keys)}";
        _diary.Note($"two people create {key} at once");
        await TryAsync(() => _hub.InOneGroupAsync(() => CreateAsync(key), () => CreateAsync(key)));
    }

    private async Task CreateAsync(string key)
    {
        // The same key always asks for the same.
        var chance = key.Length + key[^1];
        var request = new CreateCommandRequest
        {
            Type = SimulatedNode.CommandType,
            MaxAttempts = 1 + (chance % 3),
            AcceptWithin = Duration.FromTimeSpan(TimeSpan.FromSeconds(chance % 4 == 0 ? 60 : 3_600)),
            FinishWithin = Duration.FromTimeSpan(TimeSpan.FromSeconds(chance % 5 == 0 ? 60 : 36_000)),
        };
        try
        {
            var (command, created) = await _hub.Creation.CreateAsync(
                new HostAccess(SimulatedHub.Team, _hostId, Person), request, key, "", CancellationToken.None).Within();
            _diary.Note($"{key} is {command.CommandId}{(created ? "" : " again")}");
            _oracle.Created(key, command.CommandId);
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.CommandTypeUnknown)
        {
            // The node has not said yet what it can run.
        }
    }

    private async Task CancelCommand()
    {
        if (_oracle.Commands.Count == 0)
        {
            return;
        }

        var commandId = _oracle.Commands.ElementAt(_random.Next(_oracle.Commands.Count));
        _diary.Note($"a person cancels {commandId}");
        await TryAsync(() => _hub.Store.WriteAsync(
            SimulatedHub.Team, tx => CommandRows.Change(tx, rows => CommandMachine.RequestCancel(rows, rows.Find(_hostId, commandId)!, "enough"))).Within());
    }

    // The Hello of a new link and a frame of the old one meet in one group.
    private async Task TakeOverAgainstOldFrame()
    {
        if (_links.FirstOrDefault(link => link is { Hub: not null } && link.Up.Exists(frame => frame.Batch is not null)) is not { } old)
        {
            return;
        }

        var node = AnyNode();
        if (node.IsOnline && node.Link != old && _random.Next(2) == 0)
        {
            return;
        }

        var link = Dial(node);
        var hello = link.Up[0];
        link.Up.RemoveAt(0);
        var frame = old.Up.First(waiting => waiting.Batch is not null);
        old.Up.Remove(frame);
        _diary.Note($"link {link.Number} of {node.Name} takes over while link {old.Number} sends {Told(frame)}");
        var fate = FrameFate.Failed;
        await TryAsync(() => _hub.InOneGroupAsync(
            () => GreetAsync(link, hello.Hello),
            async () => fate = await _hub.ReceiveAsync(old.Hub!, frame)));
        await _hub.SettleAsync();
        PromiseBrokenException.Unless(
            fate != FrameFate.Applied || link.Hub is null || old.Hub!.Identity.Epoch > link.Hub.Identity.Epoch,
            $"link {old.Number} wrote after link {link.Number} had taken over");
    }

    private Task Send()
    {
        var open = _links.Where(link => link.IsHeldByNode).ToArray();
        if (open.Length > 0)
        {
            Send(open[_random.Next(open.Length)], _random.Next(1, 6));
        }

        return Task.CompletedTask;
    }

    private static void Send(SimulatedLink link, int framesMax)
    {
        for (var i = 0; i < framesMax && link.Node.Session.TryTake(out var frame); i++)
        {
            if (frame.Heartbeat is null)
            {
                link.Up.Add(frame.Clone()); // Liveness is not what this model is about.
            }
        }
    }

    private async Task DeliverUp()
    {
        var busy = _links.Where(link => link.Up.Count > 0 && (link.Hub is not null || !link.Greeted)).ToArray();
        if (busy.Length == 0)
        {
            return;
        }

        var link = busy[_random.Next(busy.Length)];
        foreach (var frame in Arriving(link.Up, link.Number, up: true))
        {
            await DeliverUpAsync(link, frame);
        }
    }

    private async Task DeliverUpAsync(SimulatedLink link, ConnectRequest frame)
    {
        _diary.Note($"link {link.Number}, {link.Node.Name} to Hub: {Told(frame)}");
        if (frame.Hello is { } hello)
        {
            if (!link.Greeted)
            {
                await TryAsync(() => GreetAsync(link, hello));
            }

            return;
        }

        if (link.Hub is not { } end)
        {
            return;
        }

        var before = frame.Batch?.Lane == Lane.Data ? await _oracle.TasksAsync(_hub) : [];
        var fate = await _hub.ReceiveAsync(end, frame);
        await _hub.SettleAsync();
        if (fate == FrameFate.Applied && frame.Batch is { } batch && end.EndReason is GoodbyeReason.Unspecified or GoodbyeReason.TakenOver)
        {
            PromiseBrokenException.Unless(end.Identity.Epoch >= _epoch, $"link {link.Number} wrote with epoch {end.Identity.Epoch}, {_epoch} was given");
            await _oracle.CheckConflictsAsync(_hub, batch, before);
        }

        await SettleAsync();
    }

    private async Task GreetAsync(SimulatedLink link, Hello hello)
    {
        link.Greeted = true;
        var node = new Principal.Node(SimulatedHub.Team, _hostId, "credential");
        try
        {
            link.Hub = await _hub.Handshake.OpenAsync(node, hello, CancellationToken.None).Within();
            _epoch = Math.Max(_epoch, link.Hub.Identity.Epoch);
            CollectDown(link);
            _diary.Note($"link {link.Number} is open with epoch {link.Hub.Identity.Epoch}: {Told(link.Down.Find(frame => frame.Welcome is not null)?.Welcome)}");
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.ClonedIdentity)
        {
            link.Down.Add(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.ClonedIdentity } });
        }
    }

    private Task DeliverDown()
    {
        var busy = _links.Where(link => link.Down.Count > 0).ToArray();
        if (busy.Length > 0)
        {
            var link = busy[_random.Next(busy.Length)];
            foreach (var frame in Arriving(link.Down, link.Number, up: false))
            {
                DeliverDown(link, frame);
            }
        }

        return Task.CompletedTask;
    }

    private void DeliverDown(SimulatedLink link, ConnectResponse frame)
    {
        if (link.IsHeldByNode)
        {
            _diary.Note($"link {link.Number}, Hub to {link.Node.Name}: {Told(frame)}");
            link.Node.Receive(frame);
        }
    }

    // What the network makes of the next frame: mostly it arrives.
    private List<T> Arriving<T>(List<T> queue, int link, bool up)
        where T : class
    {
        var chance = _random.Next(100);
        var at = chance < 8 ? _random.Next(queue.Count) : 0;
        var frame = queue[at];
        if (at > 0)
        {
            _diary.Note($"link {link} {(up ? "up" : "down")}: a frame overtakes {at} others");
        }

        if (chance is >= 8 and < 15)
        {
            _diary.Note($"link {link} {(up ? "up" : "down")}: a frame is doubled");
            return [frame]; // It stays in the queue and comes again.
        }

        queue.RemoveAt(at);
        if (chance is >= 15 and < 20)
        {
            _diary.Note($"link {link} {(up ? "up" : "down")}: a frame is lost");
            return [];
        }

        return [frame];
    }

    private async Task Pump()
    {
        foreach (var link in _links.Where(link => link.Hub is not null).ToArray())
        {
            await _hub.PumpAsync(link.Hub!);
            await SettleAsync();
            if (link.Hub is null)
            {
                return; // The Hub died.
            }
        }
    }

    private Task StartCommand()
    {
        var node = AnyNode();
        if (node.Start() is { } started)
        {
            _diary.Note($"{node.Name} starts {started.Key}");
        }

        return Task.CompletedTask;
    }

    private Task FinishCommand()
    {
        var node = AnyNode();
        if (node.Running.Count > 0)
        {
            var command = node.Running[_random.Next(node.Running.Count)];
            var state = _random.Next(3) == 0 ? CommandState.Failed : CommandState.Succeeded;
            _diary.Note($"{node.Name} finishes {command.Key}: {state}");
            node.Finish(command, state);
        }

        return Task.CompletedTask;
    }

    private Task HandleChat()
    {
        var node = AnyNode();
        node.HandleChat(dies: _random.Next(6) == 0);
        return Task.CompletedTask;
    }

    private Task Connect()
    {
        var node = AnyNode();
        if (!node.IsOnline || _random.Next(3) == 0)
        {
            var link = Dial(node);
            _diary.Note($"{node.Name} dials link {link.Number}");
        }

        return Task.CompletedTask;
    }

    private SimulatedLink Dial(SimulatedNode node)
    {
        var link = new SimulatedLink(++_names, node, node.Session);
        link.Up.Add(new ConnectRequest { Hello = node.Session.CreateHello() });
        node.Link = link;
        _links.Add(link);
        return link;
    }

    // The Hub learns that a stream has ended; until then its end lives on.
    private async Task NoticeEnd()
    {
        if (_links.FirstOrDefault(link => link.Hub is not null && (!link.IsHeldByNode || link.Hub.Outbox.IsClosed)) is { } link)
        {
            _diary.Note($"link {link.Number} ends");
            await EndAsync(link);
        }
    }

    private async Task EndAsync(SimulatedLink link)
    {
        var end = link.Hub!;
        await _hub.EndedAsync(end);
        CollectDown(link);
        link.Hub = null;
        link.Up.Clear();
    }

    private Task RestartNode()
    {
        var node = AnyNode();
        node.Restart();
        _diary.Note($"{node.Name} crashed; now {node.InstanceId}");
        return Task.CompletedTask;
    }

    private Task ArmFault()
    {
        if (!_hub.Fault.IsArmed)
        {
            _crashNext = _random.Next(2) == 0;
            _hub.Fault.Arm((WriteStep)_random.Next(4), _random.Next(3));
        }

        return Task.CompletedTask;
    }

    private Task ReopenHub()
    {
        _diary.Note("the Hub restarts");
        return RestartHubAsync();
    }

    private async Task RestartHubAsync()
    {
        _hub.Fault.Disarm();
        foreach (var link in _links)
        {
            CollectDown(link);
            link.Hub = null;
            link.Greeted = true;
            link.Up.Clear();
        }

        await _hub.CloseAsync();
        await _hub.OpenAsync();
        _hub.Fault.TakeFired();
    }

    private async Task PassTime()
    {
        var span = TimeSpan.FromSeconds(_random.Next(1, _random.Next(2) == 0 ? 15 : 200));
        _diary.Note($"{span.TotalSeconds} s pass");
        _time.Advance(span);
        await TryAsync(() => _hub.CommandClock.SweepAsync(CancellationToken.None).Within());
    }

    private Task CopyDisk()
    {
        var node = AnyNode();
        _diary.Note($"image {_images.Count} of {node.Name}'s disk is made");
        _images.Add(node.CopyDisk(Path.Combine(_directory, $"image{_images.Count}")));
        return Task.CompletedTask;
    }

    private Task LoseJournal()
    {
        var node = AnyNode();
        node.LoseJournal();
        _diary.Note($"{node.Name} lost its journal; now {node.InstanceId}, journal {node.JournalId[..6]}");
        return Task.CompletedTask;
    }

    private Task Rewind()
    {
        if (_images.Count > 0)
        {
            var node = AnyNode();
            var image = _random.Next(_images.Count);
            node.Rewind(_images[image]);
            _diary.Note($"{node.Name} is restored from image {image}; now {node.InstanceId}, journal {node.JournalId[..6]}");
        }

        return Task.CompletedTask;
    }

    private Task CloneNode()
    {
        if (_nodes.Count < NodesMax)
        {
            var image = _images.Count > 0 && _random.Next(2) == 0
                ? _images[_random.Next(_images.Count)]
                : AnyNode().CopyDisk(Path.Combine(_directory, $"live{++_names}"));
            var name = ((char)('a' + _nodes.Count)).ToString();
            _nodes.Add(_nodes[0].Clone(name, Path.Combine(_directory, $"{name}.journal"), image));
            _diary.Note($"{name} is a clone, journal {_nodes[^1].JournalId[..6]}");
        }

        return Task.CompletedTask;
    }

    // The network behaves, one of several nodes stays, quarantines run out: now all must come to rest.
    private async Task HealAsync()
    {
        _diary.Note("everything heals");
        _hub.Fault.Disarm();
        _hub.Fault.TakeFired();
        var survivor = AnyNode();
        foreach (var node in _nodes.Where(node => node != survivor).ToArray())
        {
            _nodes.Remove(node);
            node.Leave();
            node.Dispose();
        }

        foreach (var link in _links.Where(link => link.Hub is not null).ToArray())
        {
            await EndAsync(link);
        }

        _links.Clear();
        survivor.Leave();
        _time.Advance(TimeSpan.FromMinutes(6));
        var quiet = 0;
        for (var round = 0; quiet < 3; round++)
        {
            PromiseBrokenException.Unless(round < HealRoundsMax, $"no rest after {HealRoundsMax} rounds");
            var moved = await HealRoundAsync(survivor);
            _time.Advance(TimeSpan.FromSeconds(1));
            await _hub.CommandClock.SweepAsync(CancellationToken.None).Within();
            await _oracle.CheckAsync(_hub);
            quiet = moved || !survivor.IsDrained ? 0 : quiet + 1;
        }

        await _oracle.CheckSettledAsync(_hub, survivor);
    }

    private async Task<bool> HealRoundAsync(SimulatedNode node)
    {
        var moved = false;
        if (node.Link is null)
        {
            _diary.Note($"{node.Name} dials");
            Dial(node);
            moved = true;
        }

        foreach (var link in _links.ToArray())
        {
            if (link.IsHeldByNode)
            {
                Send(link, int.MaxValue);
            }

            foreach (var frame in Drain(link.Up))
            {
                moved = true;
                await DeliverUpAsync(link, frame);
            }

            if (link.Hub is not null)
            {
                await _hub.PumpAsync(link.Hub);
                CollectDown(link);
            }

            foreach (var frame in Drain(link.Down))
            {
                moved = true;
                DeliverDown(link, frame);
            }

            if (link.Hub is not null && (!link.IsHeldByNode || link.Hub.Outbox.IsClosed))
            {
                await EndAsync(link);
                if (link.IsHeldByNode)
                {
                    node.Leave(); // The stream ended without a word.
                }

                moved = true;
            }
        }

        _links.RemoveAll(link => link.IsOver);
        while (node.Start() is { } started)
        {
            _diary.Note($"{node.Name} starts {started.Key}");
            moved = true;
        }

        foreach (var command in node.Running.ToArray())
        {
            node.Finish(command, CommandState.Succeeded);
            moved = true;
        }

        while (node.HandleChat(dies: false))
        {
            moved = true;
        }

        return moved;
    }

    private static List<T> Drain<T>(List<T> queue)
    {
        List<T> drained = [.. queue];
        queue.Clear();
        return drained;
    }

    private static void CollectDown(SimulatedLink link)
    {
        while (link.Hub is { } end && end.Outbox.TryTake(out var frame))
        {
            link.Down.Add(frame.Clone());
        }
    }

    // The caller's view of a store that fails: no answer.
    private static async Task TryAsync(Func<Task> call)
    {
        try
        {
            await call();
        }
        catch (StoreUnavailableException)
        {
            // Whether it was committed, nobody can tell.
        }
    }

    private SimulatedNode AnyNode() => _nodes[_random.Next(_nodes.Count)];

    private static string Told(ConnectRequest frame) => frame switch
    {
        { Batch: { } batch } => $"{batch.Lane} {batch.FirstSeq}..{batch.LastSeq} [{string.Join(", ", batch.Entries.Select(Told))}]",
        { Hello: { } hello } => $"Hello {hello.InstanceId} {hello.JournalId[..6]} epoch {hello.JournalEpoch}, "
            + $"{string.Join(' ', hello.Upstream.Select(lane => $"{lane.Lane} {lane.FirstSeq}..{lane.LastSeq}"))}, chat down {hello.ChatDownSeq}, "
            + $"holds [{string.Join(", ", hello.Running.Select(held => $"{held.CommandId}/{held.Attempt} {held.State}"))}]",
        _ => frame.ToString(),
    };

    private static string Told(Entry entry) => entry switch
    {
        { Delta: { } delta } => $"{entry.Seq} {delta.RecordId}={delta.Task?.Title}{(delta.HasBaseVersion ? $" on {delta.BaseVersion}" : "")}",
        { Chat: { } chat } => $"{entry.Seq} {chat.Id}",
        { SnapshotPart: { } part } => $"{entry.Seq} part {string.Join(' ', part.Records.Select(delta => $"{delta.RecordId}={delta.Task?.Title}"))}",
        _ => entry.ToString(),
    };

    private static string Told(ConnectResponse frame) => frame switch
    {
        { Welcome: { } welcome } => $"Welcome {Told(welcome)}",
        { Batch: { } batch } => $"{batch.Lane} {batch.FirstSeq}..{batch.LastSeq}",
        _ => frame.ToString(),
    };

    private static string Told(Welcome? welcome) => welcome is null ? "" :
        $"epoch {welcome.Epoch}, {string.Join(' ', welcome.Lanes.Select(lane => $"{lane.Lane} {lane.Outcome} {lane.StoredSeq} {lane.Reason}"))}, "
        + $"chat down {welcome.ChatDownSeq}, [{string.Join(", ", welcome.Commands.Select(said => $"{said.CommandId}/{said.Attempt} {said.Verdict}"))}]";
}
