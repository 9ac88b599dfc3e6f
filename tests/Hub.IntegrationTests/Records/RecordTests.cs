using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Records;
using Hub.TestKit;

namespace Hub.IntegrationTests.Records;

/// <summary>What is alike for all collections that nodes sync, by stream and by REST.</summary>
public abstract class RecordTests(StoreFixture fixture)
{
    /// <summary>A snapshot per route, as a node sends it again and again.</summary>
    /// <summary>A task that a person and its node changed without knowing of each other.</summary>
    private static async Task<string> ConflictAsync(HttpClient owner, string hostId, RawNode node)
    {
        await node.SendAsync(RawNode.TaskBatch(1, ("t1", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is not null);
        (await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}/tasks/t1", new { status = "blocked" })).Expect(200);
        var blind = DeltaOf(RecordCollections.Tasks, new HostTask { Title = "t1", Status = "doing" }, 2);
        (blind.RecordId, blind.BaseVersion) = ("t1", 1);
        await node.SendAsync(RawNode.Batch(Lane.Data, 2, new Entry { Delta = blind }));
        return Assert.Single((await node.ReadUntilAsync(frame => frame.Ack?.Seq == 2)).Ack.Conflicts).ConflictId;
    }

    private static readonly (string Route, string Body)[] Snapshots =
    [
        ("tasks/sync", """{"tasks":[{"id":"t1","title":"T","status":"doing","updatedAt":"2026-11-21T00:12:37.474Z"}]}"""),
        ("reflections/sync", """{"reflections":[{"id":"r1","pain":"p","confidence":7.5,"updated_at":1795220777054}]}"""),
        ("insights/sync", """{"insights":[{"id":"i1","score":9.5,"status":"candidate","updated_at":1795220777054}]}"""),
        ("runs/sync", """{"runs":[{"id":"run1","agentId":"main","costUsd":0.5,"contextSnapshot":{"a":{"b":null}},"updatedAt":1795220777054}]}"""),
        ("runs/run1/stream", """{"events":[{"id":"e1","type":"run_created","payload":{"x":1.5},"createdAt":1795220777054}]}"""),
        ("trust-events/sync", """{"events":[{"id":"trust1","severity":"critical","emittedAt":1795220777054}]}"""),
        ("run-approvals", """{"items":[{"eventId":"ask1","title":"t","urgency":"blocking"}]}"""),
        ("context/sync", """{"agent":"main","computed_at":1795220777054,"layers":{"team_shared":{"used_tokens":3}}}"""),
        ("usage/sync", """{"summary":{"period":"total","total_cost_usd":0.5},"byAgent":[{"agent":"main","total_cost_usd":0.5}]}"""),
        ("chat/sync", """{"messages":[{"id":"m1","from":"main","content":"c","timestamp":1795220777054}]}"""),
    ];

    [Fact]
    public async Task Snapshot_SentAgainUnchanged_WritesNothing()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        foreach (var (route, body) in Snapshots)
        {
            (await node.WriteAsync($"/api/hosts/{hostId}/{route}", body)).Expect(200);
        }

        var before = await StoredAsync(hub);
        for (var i = 0; i < 3; i++)
        {
            time.Advance(TimeSpan.FromSeconds(10));
            foreach (var (route, body) in Snapshots)
            {
                (await node.WriteAsync($"/api/hosts/{hostId}/{route}", body)).Expect(200);
            }
        }

        Assert.Equal(before, await StoredAsync(hub));
        Assert.Equal(Snapshots.Length - 1, before.Count(line => line.StartsWith("record", StringComparison.Ordinal))); // Chat is no collection.
    }

    [Fact]
    public async Task Snapshot_SentAgainUnchanged_CommitsNothing()
    {
        var commits = 0;
        var options = await fixture.CreateDatabaseAsync() with
        {
            FaultInjector = step => Interlocked.Add(ref commits, step == Hub.Storage.WriteStep.AfterCommit ? 1 : 0),
        };
        await using var hub = await HubHost.StartAsync(fixture, options, new ManualTimeProvider()); // No timer of the Hub writes either.
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var counts = new List<int>();
        for (var i = 0; i < 3; i++)
        {
            var before = Volatile.Read(ref commits);
            foreach (var (route, body) in Snapshots)
            {
                (await node.WriteAsync($"/api/hosts/{hostId}/{route}", body)).Expect(200);
            }

            counts.Add(Volatile.Read(ref commits) - before);
        }

        Assert.InRange(counts[0], Snapshots.Length, int.MaxValue);
        Assert.Equal([0, 0], counts[1..]);
    }

    [Fact]
    public async Task Record_OfEachCollectionOnTheDataLane_IsWatchedWithItsBodyAndItsDeletion()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { Kinds = { RecordCollections.All.SelectMany(item => new[] { item.Changed, item.Deleted }) } },
            HubHost.With(await hub.UserTokenAsync()));
        await UntilAsync(watch, WatchKind.SnapshotEnd);
        var seq = 0L;

        foreach (var collection in RecordCollections.All)
        {
            var body = BodyOf(collection);
            await node.SendAsync(RawNode.Batch(Lane.Data, ++seq, new Entry { Delta = DeltaOf(collection, body, seq) }));
            var changed = await UntilAsync(watch, collection.Changed);

            Assert.Equal(("record", hostId, seq), (changed.EntityId, changed.HostId, changed.Version));
            Assert.Equal(collection.Write(body, "record"), collection.Write(Shown(changed), "record"));

            await node.SendAsync(RawNode.Batch(Lane.Data, ++seq, new Entry
            {
                Delta = new Delta { RecordId = "record", Op = DeltaOp.Delete, Collection = collection.Collection, Version = seq },
            }));
            if (collection.IsPermanent)
            {
                var ack = (await node.ReadUntilAsync(frame => frame.Ack is { } ack && ack.Seq == seq)).Ack;
                Assert.Equal("RECORD_INVALID", Assert.Single(ack.Rejected).Reason);
            }
            else
            {
                Assert.Equal("record", (await UntilAsync(watch, collection.Deleted)).EntityId);
            }
        }
    }

    [Fact]
    public async Task Record_OfEachCollection_IsInTheSnapshotOfAWatch()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        await node.SendAsync(RawNode.Batch(
            Lane.Data, 1, [.. RecordCollections.All.Select((collection, i) => new Entry { Delta = DeltaOf(collection, BodyOf(collection), i + 1) })]));
        await node.ReadUntilAsync(frame => frame.Ack is not null);

        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(new WatchRequest(), HubHost.With(await hub.UserTokenAsync()));
        var kinds = new List<WatchKind>();
        while (await watch.ResponseStream.MoveNext(CancellationToken.None).Within() && watch.ResponseStream.Current.Kind != WatchKind.SnapshotEnd)
        {
            kinds.Add(watch.ResponseStream.Current.Kind);
        }

        Assert.Equal(RecordCollections.All.Select(collection => collection.Changed).Order(), kinds.Where(kind => kind != WatchKind.Host).Order());
    }

    [Fact]
    public async Task List_OfEachKind_IsPagedAndFiltered()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        string[] items = ["a", "b", "c"];
        await PostAsync("tasks/sync", new { tasks = items.Select((id, i) => new { id, title = "t", status = "todo", assignee = $"agent-{i}", updatedAt = $"2026-11-21T00:00:0{i}Z" }) });
        await PostAsync("reflections/sync", new { reflections = items.Select((id, i) => new { id, author = $"agent-{i}", updated_at = i + 1 }) });
        await PostAsync("insights/sync", new { insights = items.Select((id, i) => new { id, priority = $"P{i}", updated_at = i + 1 }) });
        await PostAsync("runs/sync", new { runs = items.Select((id, i) => new { id, agentId = $"agent-{i}", updatedAt = i + 1 }) });
        await PostAsync("runs/one/stream", new { events = items.Select((id, i) => new { id, type = $"type-{i}", createdAt = i + 1 }) });
        await PostAsync("trust-events/sync", new { events = items.Select((id, i) => new { id, agentId = $"agent-{i}", emittedAt = i + 1 }) });

        foreach (var (route, field, filter) in new[]
        {
            ("tasks", "tasks", "assignee=agent-1"), ("reflections", "reflections", "author=agent-1"), ("insights", "insights", "priority=P1"),
            ("runs", "runs", "agent_id=agent-1"), ("runs/one/events", "events", "type=type-1"), ("trust-events", "events", "agent_id=agent-1"),
        })
        {
            var path = $"/api/hosts/{hostId}/{route}";
            var first = (await owner.ReadAsync($"{path}?page_size=2")).Expect(200);
            var second = (await owner.ReadAsync($"{path}?page_size=2&page_token={Uri.EscapeDataString(first.String("nextPageToken"))}")).Expect(200);
            var filtered = (await owner.ReadAsync($"{path}?{filter}")).Expect(200);

            Assert.Equal(["c", "b"], first[field].EnumerateArray().Select(item => item.GetProperty("id").GetString()));
            Assert.Equal(["a"], second[field].EnumerateArray().Select(item => item.GetProperty("id").GetString()));
            Assert.Equal("", second.String("nextPageToken"));
            Assert.Equal(["b"], filtered[field].EnumerateArray().Select(item => item.GetProperty("id").GetString()));
        }

        async Task PostAsync(string route, object body) => (await node.WriteAsync($"/api/hosts/{hostId}/{route}", body)).Expect(200);
    }

    [Fact]
    public async Task Record_ReadWithTheVersionThatIsKnown_IsNotSentAgain()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        foreach (var (route, body) in Snapshots)
        {
            await node.WriteAsync($"/api/hosts/{hostId}/{route}", body);
        }

        foreach (var path in new[] { "tasks/t1", "reflections/r1", "insights/i1", "runs/run1", "context/main", "usage" })
        {
            using var first = await node.GetAsync($"/api/hosts/{hostId}/{path}").Within();
            Assert.True(first.Headers.ETag is not null, path);
            using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/hosts/{hostId}/{path}");
            request.Headers.IfNoneMatch.Add(first.Headers.ETag);
            using var second = await node.SendAsync(request).Within();

            Assert.Equal(System.Net.HttpStatusCode.NotModified, second.StatusCode);
        }
    }

    [Fact]
    public async Task Conflict_IsShownToWatchersWhenItComesAndWhenItIsResolved()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        var token = await hub.UserTokenAsync();
        using var owner = hub.As(token);
        var watches = new WatchService.WatchServiceClient(hub.Channel);
        using var early = watches.Watch(new WatchRequest { Kinds = { WatchKind.Conflict }, Cursor = "now" }, HubHost.With(token));
        await early.ResponseHeadersAsync.Within();

        var conflictId = await ConflictAsync(owner, hostId, node);
        using var late = watches.Watch(new WatchRequest { Kinds = { WatchKind.Conflict } }, HubHost.With(token));
        var (came, open) = (await UntilAsync(early, WatchKind.Conflict), await UntilAsync(late, WatchKind.Conflict));
        (await owner.WriteAsync($"/api/hosts/{hostId}/conflicts/{conflictId}/resolve", new { keep = "NODE" })).Expect(200);
        var resolved = await UntilAsync(early, WatchKind.Conflict);
        using var after = watches.Watch(new WatchRequest { Kinds = { WatchKind.Conflict } }, HubHost.With(token));

        Assert.All([came, open, resolved], shown => Assert.Equal((hostId, conflictId), (shown.HostId, shown.Conflict.Id)));
        Assert.Equal([false, false, true], new[] { came, open, resolved }.Select(shown => shown.Conflict.HasResolvedAt));
        Assert.True(await after.ResponseStream.MoveNext(CancellationToken.None).Within());
        Assert.Equal(WatchKind.SnapshotEnd, after.ResponseStream.Current.Kind);
    }

    [Fact]
    public async Task Conflict_KeptForTheCloud_BringsItsSideBack()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var conflictId = await ConflictAsync(owner, hostId, node);

        var listed = Assert.Single((await owner.ReadAsync($"/api/hosts/{hostId}/conflicts"))["conflicts"].EnumerateArray());
        var resolve = $"/api/hosts/{hostId}/conflicts/{conflictId}/resolve";
        (await owner.WriteAsync(resolve, new { keep = "CLOUD" })).Expect(200);
        (await owner.WriteAsync(resolve, new { keep = "NODE" })).Expect(200); // Stays as it was resolved first.

        Assert.Equal("blocked", listed.GetProperty("cloudTask").GetProperty("status").GetString());
        Assert.Equal("doing", listed.GetProperty("nodeTask").GetProperty("status").GetString());
        Assert.Equal("blocked", (await owner.ReadAsync($"/api/hosts/{hostId}/tasks/t1")).String("task.status"));
        Assert.Equal(0, (await owner.ReadAsync($"/api/hosts/{hostId}/conflicts"))["conflicts"].GetArrayLength());
    }

    [Fact]
    public async Task Task_ChangedByBothSidesOfANodeWithoutALink_IsInTheLedgerWithBoth()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await SyncAsync("todo");
        (await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}/tasks/t1", new { status = "blocked" })).Expect(200);
        time.Advance(TimeSpan.FromSeconds(1));

        var synced = await SyncAsync("doing");
        var again = await SyncAsync("done");

        Assert.Equal(["t1"], synced["conflicts"].EnumerateArray().Select(id => id.GetString()));
        Assert.Equal(0, again["conflicts"].GetArrayLength());
        var listed = Assert.Single((await owner.ReadAsync($"/api/hosts/{hostId}/conflicts"))["conflicts"].EnumerateArray());
        Assert.Equal("blocked", listed.GetProperty("cloudTask").GetProperty("status").GetString());
        Assert.Equal("doing", listed.GetProperty("nodeTask").GetProperty("status").GetString());
        Assert.Equal("done", (await owner.ReadAsync($"/api/hosts/{hostId}/tasks/t1")).String("task.status"));

        async Task<RestAnswer> SyncAsync(string status)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            var task = new { id = "t1", title = "T", status, updatedAt = time.GetUtcNow() };
            return (await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", new { tasks = new[] { task } })).Expect(200);
        }
    }

    [Fact]
    public async Task Canvas_OfANodeWithALink_IsReadAsIfItHadBeenPosted()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        foreach (var (kind, key) in new[] { ("canvas.slot", "objective"), ("canvas.agent", "main"), ("canvas.card", "main/tasks") })
        {
            var value = Value.ForStruct(new Struct { Fields = { ["slot"] = Value.ForString(key) } });
            await node.SendAsync(new ConnectRequest { Ephemeral = new Ephemeral { Kind = kind, Key = key, Value = value } });
        }

        await node.SendAsync(RawNode.TaskBatch(1, ("t1", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is not null); // What came before it on the stream is read as well.

        var canvas = (await owner.ReadAsync($"/api/hosts/{hostId}/canvas")).Expect(200);
        Assert.Equal("objective", canvas["slots"][0].GetProperty("slot").GetString());
        Assert.Equal("main", canvas["agents"].GetProperty("main").GetProperty("slot").GetString());
        Assert.Equal("main/tasks", canvas["cards"][0].GetProperty("slot").GetString());
    }

    [Fact]
    public async Task Usage_ThatGrew_IsInTheLedgerOnce()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        foreach (var (cost, tokens, advance) in new[] { (0.25, 100, 0), (0.25, 100, 0), (0.75, 160, 24), (0.5, 120, 0), (0.625, 130, 0) })
        {
            time.Advance(TimeSpan.FromHours(advance));
            var usage = new { byAgent = new[] { new { agent = "main", total_cost_usd = cost, total_input_tokens = tokens } } };
            (await node.WriteAsync($"/api/hosts/{hostId}/usage/sync", usage)).Expect(200);
        }

        var lines = (await node.ReadAsync($"/api/hosts/{hostId}/usage/ledger")).Expect(200)["lines"].EnumerateArray().ToArray();

        // The second day: half a dollar, then some left the node's window, then an eighth.
        Assert.Equal([0.625, 0.25], lines.Select(line => line.GetProperty("costUsd").GetDouble()));
        Assert.Equal([70, 100], lines.Select(line => line.GetProperty("inputTokens").GetInt64()));
    }

    private static IMessage BodyOf(RecordCollection collection)
    {
        var type = Delta.Descriptor.Fields.InFieldNumberOrder().Where(field => field.ContainingOneof is { IsSynthetic: false })
            .Select(field => field.MessageType).Single(type => collection.BodyOf(DeltaWith(type.Parser.ParseFrom([]))) is not null);
        var body = type.Parser.ParseFrom([]);
        foreach (var text in type.Fields.InFieldNumberOrder().Where(field => field is { FieldType: Google.Protobuf.Reflection.FieldType.String, IsRepeated: false }))
        {
            text.Accessor.SetValue(body, text.Name);
        }

        return body;
    }

    private static Delta DeltaWith(IMessage body)
    {
        var delta = new Delta();
        Delta.Descriptor.Fields.InFieldNumberOrder().Single(field => field.ContainingOneof is { IsSynthetic: false } && field.MessageType == body.Descriptor)
            .Accessor.SetValue(delta, body);
        return delta;
    }

    private static Delta DeltaOf(RecordCollection collection, IMessage body, long version)
    {
        var delta = DeltaWith(body);
        (delta.RecordId, delta.Op, delta.Collection, delta.Version) = ("record", DeltaOp.Upsert, collection.Collection, version);
        return delta;
    }

    /// <summary>The record of an event: the only case of its oneof.</summary>
    private static IMessage Shown(WatchResponse response)
    {
        var oneof = WatchResponse.Descriptor.Oneofs.Single(item => !item.IsSynthetic);
        return (IMessage)oneof.Accessor.GetCaseFieldDescriptor(response)!.Accessor.GetValue(response);
    }

    private static async Task<WatchResponse> UntilAsync(AsyncServerStreamingCall<WatchResponse> watch, WatchKind kind)
    {
        while (await watch.ResponseStream.MoveNext(CancellationToken.None).Within())
        {
            if (watch.ResponseStream.Current.Kind == kind)
            {
                return watch.ResponseStream.Current;
            }
        }

        throw new EndOfStreamException();
    }

    /// <summary>Everything a repeat could have touched, a line per row.</summary>
    private static Task<IReadOnlyList<string>> StoredAsync(HubHost hub) => hub.Store.ReadAsync(
        Hub.Storage.TeamScope.System,
        reader => reader.QueryAsync<string>(
            """
            select 'record ' || collection || ' ' || record_id || ' ' || version || ' ' || changed_at || ' ' || body_hash from records
            union all select 'chat ' || message_id || ' ' || body_hash || ' ' || received_at from chat_messages
            union all select 'usage ' || day || ' ' || agent || ' ' || cost_micros from usage_ledger
            union all select 'events ' || team_id || ' ' || event_seq from team_counters
            order by 1
            """));
}

public sealed class SqliteRecordTests(SqliteStoreFixture fixture) : RecordTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresRecordTests(PostgresStoreFixture fixture) : RecordTests(fixture), IClassFixture<PostgresStoreFixture>;
