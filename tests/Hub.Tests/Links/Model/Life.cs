using Google.Protobuf.WellKnownTypes;
using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;
using Hub.Tasks;
using Hub.TestKit;

namespace Hub.Tests.Links.Model;

/// <summary>How a life is lived.</summary>
/// <param name="Seed">All chance comes from it.</param>
/// <param name="Guards">What protects the Hub.</param>
internal sealed record LifeOptions(int Seed, StoreGuards Guards);

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

    private static readonly Principal Person = new Principal.User("user", "person@example.com", new Dictionary<string, TeamRole>());

    private readonly Random random;
    private readonly Diary diary = new();
    private readonly LogGuard logs = new();
    private readonly ManualTimeProvider time = new();
    private readonly string directory;
    private readonly string hostId;
    private readonly SimulatedHub hub;
    private readonly Oracle oracle;
    private readonly List<SimulatedNode> nodes = [];
    private readonly List<SimulatedLink> links = [];
    private readonly List<DiskImage> images = [];
    private readonly (int Weight, Func<Task> Step)[] deck;
    private readonly int weights;
    private long epoch;
    private int names;
    private bool crashNext;

    private Life(LifeOptions options, string directory, string hostId)
    {
        random = new Random(options.Seed);
        (this.directory, this.hostId) = (directory, hostId);
        oracle = new Oracle(diary, hostId);
        hub = new SimulatedHub(Path.Combine(directory, "hub.db"), options.Guards, time, logs);
        // Half of the lives keep their disks: there the mirror alone has to do for a re-sync.
        var disksFail = random.Next(2) == 0;
        nodes.Add(SimulatedNode.Install("a", Path.Combine(directory, "a.journal"), disksFail || random.Next(2) == 0, time, oracle, options.Seed));
        deck =
        [
            (14, Publish), (3, Delete), (2, PublishPoison), (5, ChangeInCloud), (5, ChatUp), (5, ChatDown),
            (5, CreateCommand), (2, CancelCommand), (2, CreateTwins), (2, TakeOverAgainstOldFrame),
            (14, Send), (26, DeliverUp), (26, DeliverDown), (10, Pump), (10, StartCommand), (6, FinishCommand), (6, HandleChat),
            (7, Connect), (3, NoticeEnd), (2, RestartNode), (3, ArmFault), (1, ReopenHub), (2, PassTime),
            (disksFail ? 2 : 0, CopyDisk), (disksFail ? 1 : 0, LoseJournal), (disksFail ? 2 : 0, Rewind), (disksFail ? 1 : 0, CloneNode),
        ];
        weights = deck.Sum(card => card.Weight);
    }

    /// <summary>Lives one life.</summary>
    /// <returns>Null, or which promise was broken, and how.</returns>
    public static async Task<string?> LiveAsync(LifeOptions options, LifeTemplate template)
    {
        var directory = template.NewDirectory(options.Seed);
        try
        {
            await using var life = new Life(options, directory, template.HostId);
            try
            {
                await life.hub.OpenAsync();
                for (life.diary.Step = 1; life.diary.Step <= Steps; life.diary.Step++)
                {
                    await life.StepAsync();
                }

                await life.HealAsync();
                return null;
            }
            catch (PromiseBrokenException broken)
            {
                return $"Seed {options.Seed}, step {life.diary.Step}: {broken.Message}.\n{life.diary}";
            }
            catch (Exception e) when (e is not OperationCanceledException)
            {
                return $"Seed {options.Seed}, step {life.diary.Step}: {e}\n{life.diary}";
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await hub.DisposeAsync();
        nodes.ForEach(node => node.Dispose());
    }

    private async Task StepAsync()
    {
        time.Advance(TimeSpan.FromMilliseconds(random.Next(1, 40)));
        var drawn = random.Next(weights);
        foreach (var (weight, step) in deck)
        {
            if (drawn < weight)
            {
                await step();
                break;
            }

            drawn -= weight;
        }

        await SettleAsync();
        await oracle.CheckAsync(hub);
    }

    // After whatever touched the store: a fault that fired may have been the death of the Hub.
    private async Task SettleAsync()
    {
        await hub.SettleAsync();
        if (hub.Fault.TakeFired())
        {
            diary.Note($"the writer died{(crashNext ? ", and the Hub with it" : "")}");
            if (crashNext)
            {
                await RestartHubAsync();
            }
        }

        foreach (var link in links)
        {
            CollectDown(link);
        }

        links.RemoveAll(link => link.IsOver);
    }

    private Task Publish()
    {
        var node = AnyNode();
        var id = $"t{random.Next(TaskIds)}";
        var known = random.Next(2) == 0 && node.App.Known.TryGetValue(id, out var version) ? version : (long?)null;
        var title = $"{node.Name}{++names}";
        diary.Note($"{node.Name} publishes {id} = {title} on {known}");
        node.Publish(id, title, known);
        return Task.CompletedTask;
    }

    private Task Delete()
    {
        var node = AnyNode();
        var id = $"t{random.Next(TaskIds)}";
        diary.Note($"{node.Name} deletes {id}");
        node.Delete(id);
        return Task.CompletedTask;
    }

    private Task PublishPoison()
    {
        var node = AnyNode();
        var id = $"{SimulatedHub.PoisonPrefix}{random.Next(3)}";
        diary.Note($"{node.Name} publishes {id}");
        node.Publish(id, $"{++names}", null);
        return Task.CompletedTask;
    }

    private Task ChatUp()
    {
        var node = AnyNode();
        var id = $"up{++names}";
        diary.Note($"{node.Name} says {id}");
        node.SendChat(id);
        return Task.CompletedTask;
    }

    // As TaskGrpcService.UpdateTask does.
    private async Task ChangeInCloud()
    {
        var stored = (await oracle.TasksAsync(hub)).Where(task => task.Title is not null).ToArray();
        if (stored.Length == 0)
        {
            return;
        }

        var before = stored[random.Next(stored.Length)];
        var title = $"cloud{++names}";
        diary.Note($"a person changes {before.TaskId} to {title}");
        await TryAsync(async () =>
        {
            var version = await hub.Store.WriteAsync(SimulatedHub.Team, tx =>
            {
                var next = TaskRecords.NextVersion(tx, before.Version);
                var task = new HostTask { Id = before.TaskId, Title = title, Status = "open", Version = next };
                hub.Tasks.Apply(tx, SimulatedHub.Team, hostId, new TaskChange(before.TaskId, task, next, null, RecordOrigin.Cloud, "", 0));
                return next;
            }).Within();
            oracle.CloudChanged(before, version, title);
        });
        if ((await oracle.TasksAsync(hub)).First(task => task.TaskId == before.TaskId) is { } after && after.Title == title)
        {
            oracle.CloudChanged(before, after.Version, title); // Committed, though the answer may have got lost.
        }
    }

    private async Task ChatDown()
    {
        var key = $"down{++names}";
        diary.Note($"a person says {key}");
        await TryAsync(async () =>
        {
            var (message, _) = await hub.Store.WriteAsync(
                SimulatedHub.Team,
                tx => ChatLog.Send(tx, SimulatedHub.Team, hostId, new ChatMessage { From = "person", Content = key }, key, key)).Within();
            oracle.SentDown(message.Id);
        });
    }

    private Task CreateCommand() => TryAsync(() => CreateAsync($"key{random.Next(Keys)}"));

    private async Task CreateTwins()
    {
        var key = $"key{random.Next(Keys)}";
        diary.Note($"two people create {key} at once");
        await TryAsync(() => hub.InOneGroupAsync(() => CreateAsync(key), () => CreateAsync(key)));
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
            var (command, created) = await hub.Creation.CreateAsync(
                new HostAccess(SimulatedHub.Team, hostId, Person), request, key, "", CancellationToken.None).Within();
            diary.Note($"{key} is {command.CommandId}{(created ? "" : " again")}");
            oracle.Created(key, command.CommandId);
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.CommandTypeUnknown)
        {
            // The node has not said yet what it can run.
        }
    }

    private async Task CancelCommand()
    {
        if (oracle.Commands.Count == 0)
        {
            return;
        }

        var commandId = oracle.Commands.ElementAt(random.Next(oracle.Commands.Count));
        diary.Note($"a person cancels {commandId}");
        await TryAsync(() => hub.Store.WriteAsync(
            SimulatedHub.Team, tx => CommandMachine.RequestCancel(tx, CommandMachine.Find(tx, hostId, commandId)!, "enough")).Within());
    }

    // The Hello of a new link and a frame of the old one meet in one group.
    private async Task TakeOverAgainstOldFrame()
    {
        if (links.FirstOrDefault(link => link is { Hub: not null } && link.Up.Exists(frame => frame.Batch is not null)) is not { } old)
        {
            return;
        }

        var node = AnyNode();
        if (node.IsOnline && node.Link != old && random.Next(2) == 0)
        {
            return;
        }

        var link = Dial(node);
        var hello = link.Up[0];
        link.Up.RemoveAt(0);
        var frame = old.Up.First(waiting => waiting.Batch is not null);
        old.Up.Remove(frame);
        diary.Note($"link {link.Number} of {node.Name} takes over while link {old.Number} sends {Told(frame)}");
        var fate = FrameFate.Failed;
        await TryAsync(() => hub.InOneGroupAsync(
            () => GreetAsync(link, hello.Hello),
            async () => fate = await hub.ReceiveAsync(old.Hub!, frame)));
        await hub.SettleAsync();
        PromiseBrokenException.Unless(
            fate != FrameFate.Applied || link.Hub is null || old.Hub!.Identity.Epoch > link.Hub.Identity.Epoch,
            $"link {old.Number} wrote after link {link.Number} had taken over");
    }

    private Task Send()
    {
        var open = links.Where(link => link.IsHeldByNode).ToArray();
        if (open.Length > 0)
        {
            Send(open[random.Next(open.Length)], random.Next(1, 6));
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
        var busy = links.Where(link => link.Up.Count > 0 && (link.Hub is not null || !link.Greeted)).ToArray();
        if (busy.Length == 0)
        {
            return;
        }

        var link = busy[random.Next(busy.Length)];
        foreach (var frame in Arriving(link.Up, link.Number, up: true))
        {
            await DeliverUpAsync(link, frame);
        }
    }

    private async Task DeliverUpAsync(SimulatedLink link, ConnectRequest frame)
    {
        diary.Note($"link {link.Number}, {link.Node.Name} to Hub: {Told(frame)}");
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

        var before = frame.Batch?.Lane == Lane.Data ? await oracle.TasksAsync(hub) : [];
        var fate = await hub.ReceiveAsync(end, frame);
        await hub.SettleAsync();
        if (fate == FrameFate.Applied && frame.Batch is { } batch && end.EndReason is GoodbyeReason.Unspecified or GoodbyeReason.TakenOver)
        {
            PromiseBrokenException.Unless(end.Identity.Epoch >= epoch, $"link {link.Number} wrote with epoch {end.Identity.Epoch}, {epoch} was given");
            await oracle.CheckConflictsAsync(hub, batch, before);
        }

        await SettleAsync();
    }

    private async Task GreetAsync(SimulatedLink link, Hello hello)
    {
        link.Greeted = true;
        var node = new Principal.Node(SimulatedHub.Team, hostId, "credential");
        try
        {
            link.Hub = await hub.Handshake.OpenAsync(node, hello, CancellationToken.None).Within();
            epoch = Math.Max(epoch, link.Hub.Identity.Epoch);
            CollectDown(link);
            diary.Note($"link {link.Number} is open with epoch {link.Hub.Identity.Epoch}: {Told(link.Down.Find(frame => frame.Welcome is not null)?.Welcome)}");
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.ClonedIdentity)
        {
            link.Down.Add(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.ClonedIdentity } });
        }
    }

    private Task DeliverDown()
    {
        var busy = links.Where(link => link.Down.Count > 0).ToArray();
        if (busy.Length > 0)
        {
            var link = busy[random.Next(busy.Length)];
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
            diary.Note($"link {link.Number}, Hub to {link.Node.Name}: {Told(frame)}");
            link.Node.Receive(frame);
        }
    }

    // What the network makes of the next frame: mostly it arrives.
    private List<T> Arriving<T>(List<T> queue, int link, bool up)
        where T : class
    {
        var chance = random.Next(100);
        var at = chance < 8 ? random.Next(queue.Count) : 0;
        var frame = queue[at];
        if (at > 0)
        {
            diary.Note($"link {link} {(up ? "up" : "down")}: a frame overtakes {at} others");
        }

        if (chance is >= 8 and < 15)
        {
            diary.Note($"link {link} {(up ? "up" : "down")}: a frame is doubled");
            return [frame]; // It stays in the queue and comes again.
        }

        queue.RemoveAt(at);
        if (chance is >= 15 and < 20)
        {
            diary.Note($"link {link} {(up ? "up" : "down")}: a frame is lost");
            return [];
        }

        return [frame];
    }

    private async Task Pump()
    {
        foreach (var link in links.Where(link => link.Hub is not null).ToArray())
        {
            await hub.PumpAsync(link.Hub!);
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
            diary.Note($"{node.Name} starts {started.Key}");
        }

        return Task.CompletedTask;
    }

    private Task FinishCommand()
    {
        var node = AnyNode();
        if (node.Running.Count > 0)
        {
            var command = node.Running[random.Next(node.Running.Count)];
            var state = random.Next(3) == 0 ? CommandState.Failed : CommandState.Succeeded;
            diary.Note($"{node.Name} finishes {command.Key}: {state}");
            node.Finish(command, state);
        }

        return Task.CompletedTask;
    }

    private Task HandleChat()
    {
        var node = AnyNode();
        node.HandleChat(dies: random.Next(6) == 0);
        return Task.CompletedTask;
    }

    private Task Connect()
    {
        var node = AnyNode();
        if (!node.IsOnline || random.Next(3) == 0)
        {
            var link = Dial(node);
            diary.Note($"{node.Name} dials link {link.Number}");
        }

        return Task.CompletedTask;
    }

    private SimulatedLink Dial(SimulatedNode node)
    {
        var link = new SimulatedLink(++names, node, node.Session);
        link.Up.Add(new ConnectRequest { Hello = node.Session.CreateHello() });
        node.Link = link;
        links.Add(link);
        return link;
    }

    // The Hub learns that a stream has ended; until then its end lives on.
    private async Task NoticeEnd()
    {
        if (links.FirstOrDefault(link => link.Hub is not null && (!link.IsHeldByNode || link.Hub.Outbox.IsClosed)) is { } link)
        {
            diary.Note($"link {link.Number} ends");
            await EndAsync(link);
        }
    }

    private async Task EndAsync(SimulatedLink link)
    {
        var end = link.Hub!;
        await hub.EndedAsync(end);
        CollectDown(link);
        link.Hub = null;
        link.Up.Clear();
    }

    private Task RestartNode()
    {
        var node = AnyNode();
        node.Restart();
        diary.Note($"{node.Name} crashed; now {node.InstanceId}");
        return Task.CompletedTask;
    }

    private Task ArmFault()
    {
        if (!hub.Fault.IsArmed)
        {
            crashNext = random.Next(2) == 0;
            hub.Fault.Arm((WriteStep)random.Next(4), random.Next(3));
        }

        return Task.CompletedTask;
    }

    private Task ReopenHub()
    {
        diary.Note("the Hub restarts");
        return RestartHubAsync();
    }

    private async Task RestartHubAsync()
    {
        hub.Fault.Disarm();
        foreach (var link in links)
        {
            CollectDown(link);
            link.Hub = null;
            link.Greeted = true;
            link.Up.Clear();
        }

        await hub.CloseAsync();
        await hub.OpenAsync();
        hub.Fault.TakeFired();
    }

    private async Task PassTime()
    {
        var span = TimeSpan.FromSeconds(random.Next(1, random.Next(2) == 0 ? 15 : 200));
        diary.Note($"{span.TotalSeconds} s pass");
        time.Advance(span);
        await TryAsync(() => hub.CommandClock.SweepAsync(CancellationToken.None).Within());
    }

    private Task CopyDisk()
    {
        var node = AnyNode();
        diary.Note($"image {images.Count} of {node.Name}'s disk is made");
        images.Add(node.CopyDisk(Path.Combine(directory, $"image{images.Count}")));
        return Task.CompletedTask;
    }

    private Task LoseJournal()
    {
        var node = AnyNode();
        node.LoseJournal();
        diary.Note($"{node.Name} lost its journal; now {node.InstanceId}, journal {node.JournalId[..6]}");
        return Task.CompletedTask;
    }

    private Task Rewind()
    {
        if (images.Count > 0)
        {
            var node = AnyNode();
            var image = random.Next(images.Count);
            node.Rewind(images[image]);
            diary.Note($"{node.Name} is restored from image {image}; now {node.InstanceId}, journal {node.JournalId[..6]}");
        }

        return Task.CompletedTask;
    }

    private Task CloneNode()
    {
        if (nodes.Count < NodesMax)
        {
            var image = images.Count > 0 && random.Next(2) == 0
                ? images[random.Next(images.Count)]
                : AnyNode().CopyDisk(Path.Combine(directory, $"live{++names}"));
            var name = ((char)('a' + nodes.Count)).ToString();
            nodes.Add(nodes[0].Clone(name, Path.Combine(directory, $"{name}.journal"), image));
            diary.Note($"{name} is a clone, journal {nodes[^1].JournalId[..6]}");
        }

        return Task.CompletedTask;
    }

    // The network behaves, one of several nodes stays, quarantines run out: now all must come to rest.
    private async Task HealAsync()
    {
        diary.Note("everything heals");
        hub.Fault.Disarm();
        hub.Fault.TakeFired();
        var survivor = AnyNode();
        foreach (var node in nodes.Where(node => node != survivor).ToArray())
        {
            nodes.Remove(node);
            node.Leave();
            node.Dispose();
        }

        foreach (var link in links.Where(link => link.Hub is not null).ToArray())
        {
            await EndAsync(link);
        }

        links.Clear();
        survivor.Leave();
        time.Advance(TimeSpan.FromMinutes(6));
        var quiet = 0;
        for (var round = 0; quiet < 3; round++)
        {
            PromiseBrokenException.Unless(round < HealRoundsMax, $"no rest after {HealRoundsMax} rounds");
            var moved = await HealRoundAsync(survivor);
            time.Advance(TimeSpan.FromSeconds(1));
            await hub.CommandClock.SweepAsync(CancellationToken.None).Within();
            await oracle.CheckAsync(hub);
            quiet = moved || !survivor.IsDrained ? 0 : quiet + 1;
        }

        await oracle.CheckSettledAsync(hub, survivor);
    }

    private async Task<bool> HealRoundAsync(SimulatedNode node)
    {
        var moved = false;
        if (node.Link is null)
        {
            diary.Note($"{node.Name} dials");
            Dial(node);
            moved = true;
        }

        foreach (var link in links.ToArray())
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
                await hub.PumpAsync(link.Hub);
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

        links.RemoveAll(link => link.IsOver);
        while (node.Start() is { } started)
        {
            diary.Note($"{node.Name} starts {started.Key}");
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

    private SimulatedNode AnyNode() => nodes[random.Next(nodes.Count)];

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
