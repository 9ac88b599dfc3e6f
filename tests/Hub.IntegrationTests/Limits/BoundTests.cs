using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.IntegrationTests.Storage;
using Hub.Links;
using Hub.Orgs;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;
using Hub.Watch;

namespace Hub.IntegrationTests.Limits;

/// <summary>What one more than a bound meets: a refusal that names the bound, or the loss that is documented. Stores do not differ in it.</summary>
public sealed class BoundTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    private static readonly object Secret = new
    {
        scope = "host",
        encrypted_value = new { ciphertext = "Y2lwaGVy", iv = "aXY=", authTag = "dGFn" },
        wrapped_dek = new { },
    };

    private static readonly object Policy = new { commandTypes = new[] { "a" }, approverRole = "owner" };

    private static readonly Dictionary<string, Bound> RequestBounds = new()
    {
        ["agents of a heartbeat"] = new(500, "POST", "/api/hosts/{host}/heartbeat", n => new { agents = Many(n, i => new { id = $"{i}" }) }, ByNode: true),
        ["tasks of a heartbeat"] = new(500, "POST", "/api/hosts/{host}/heartbeat", n => new { activeTasks = Many(n, i => new { id = $"{i}" }) }, ByNode: true),
        ["properties reported at once"] = new(
            100, "POST", "/api/hosts/{host}/properties/report", n => new { properties = Many(n, i => new { key = $"k{i}", value = i }) }, ByNode: true),
        ["command type"] = new(100, "POST", "/api/hosts/{host}/commands", n => new { type = Text(n) }),
        ["attempts of a command"] = new(10, "POST", "/api/hosts/{host}/commands", n => new { type = "echo", maxAttempts = n }),
        ["days until a command is accepted"] = new(30, "POST", "/api/hosts/{host}/commands", n => new { type = "echo", acceptWithin = $"{n * 86_400}s" }),
        ["idempotency key"] = new(200, "POST", "/api/hosts/{host}/commands", n => new { type = "echo", idempotencyKey = Text(n) }),
        ["command types of a policy"] = new(50, "PUT", "/api/approvals/policies/p", n => new { commandTypes = Many(n, i => $"type-{i}"), approverRole = "owner" }),
        ["name of a policy"] = new(200, "PUT", "/api/approvals/policies/p", n => new { commandTypes = new[] { "a" }, name = Text(n), approverRole = "owner" }),
        ["name of an organisation"] = new(200, "POST", "/api/orgs", n => new { name = Text(n) }),
        ["events of a webhook"] = new(
            50, "PUT", "/api/hosts/{host}/webhooks/w", n => new { provider = "p", signingSecretName = "s", events = Many(n, i => $"{i}") }),
        ["event of a webhook"] = new(
            100, "PUT", "/api/hosts/{host}/webhooks/w", n => new { provider = "p", signingSecretName = "s", events = Many(1, _ => Text(n)) }),
        ["tasks of a sync"] = new(
            1_000, "POST", "/api/hosts/{host}/tasks/sync", n => new { tasks = Many(n, i => new { id = $"{i}", title = "t", status = "todo" }) }, ByNode: true),
        ["messages of a sync"] = new(
            1_000, "POST", "/api/hosts/{host}/chat/sync",
            n => new { messages = Many(n, i => new { id = $"{i}", from = "f", content = "c", timestamp = 7 }) }, ByNode: true),
        ["feedback"] = new(16_384, "POST", "/api/feedback", n => new { kind = "bug", message = Text(n) }),
        ["rating of feedback"] = new(5, "POST", "/api/feedback", n => new { kind = "bug", message = "m", rating = n }),
        ["chat message"] = new(64 * 1024, "POST", "/api/hosts/{host}/chat", n => new { content = Text(n) }),
        ["canvas query"] = new(4_000, "POST", "/api/hosts/{host}/canvas/query", n => new { query = Text(n) }),
        ["name of a claimed host"] = new(200, "POST", "/api/hosts/claim", n => new { joinToken = "{credential}", name = Text(n) }),
        ["type of a claimed host"] = new(100, "POST", "/api/hosts/claim", n => new { joinToken = "{credential}", name = "n", hostType = Text(n) }),
        ["capability of a claimed host"] = new(
            100, "POST", "/api/hosts/claim", n => new { joinToken = "{credential}", name = "n", capabilities = Many(1, _ => Text(n)) }),
        ["capabilities of a claimed host"] = new(
            100, "POST", "/api/hosts/claim", n => new { joinToken = "{credential}", name = "n", capabilities = Many(n, i => $"{i}") }),
        ["ciphertext of a secret"] = new(
            64 * 1024, "PUT", "/api/hosts/{host}/secrets/s",
            n => new { scope = "host", encrypted_value = new { ciphertext = Text(n), iv = "aXY=", authTag = "dGFn" }, wrapped_dek = new { } }),
        ["title of a task asked for"] = new(2_000, "POST", "/api/hosts/{host}/tasks/create", n => new { title = Text(n) }),
        ["description of a task asked for"] = new(
            64 * 1024, "POST", "/api/hosts/{host}/tasks/create", n => new { title = "t", description = Text(n) }),
        ["assignee of a task asked for"] = new(200, "POST", "/api/hosts/{host}/tasks/create", n => new { title = "t", assignee = Text(n) }),
        ["criteria of a task asked for"] = new(
            50, "POST", "/api/hosts/{host}/tasks/create", n => new { title = "t", doneCriteria = Many(n, i => $"{i}") }),
        ["tag of a task asked for"] = new(
            100, "POST", "/api/hosts/{host}/tasks/create", n => new { title = "t", tags = Many(1, _ => Text(n)) }),
        ["comment of a review"] = new(
            2_000, "POST", "/api/hosts/{host}/tasks/t/review", n => new { decision = "approve", comment = Text(n) }),
        ["reason of a promotion"] = new(2_000, "POST", "/api/hosts/{host}/insights/i/promote", n => new { reason = Text(n) }),
    };

    private static readonly Dictionary<string, Action<Hello>> HelloBounds = new()
    {
        ["instance_id"] = hello => hello.InstanceId = Text(65),
        ["journal_id"] = hello => hello.JournalId = Text(65),
        ["node_version"] = hello => hello.NodeVersion = Text(101),
        ["platform"] = hello => hello.Platform = Text(101),
        ["labels"] = hello => hello.Labels.Add(Many(33, i => $"{i}").ToDictionary(name => name)),
        ["command_types"] = hello => hello.CommandTypes.Add(Many(201, i => $"{i}")),
        ["running"] = hello => hello.Running.Add(Many(1_001, i => new RunningCommand { CommandId = $"{i}", Attempt = 1 })),
    };

    public static TheoryData<string> Requests => [.. RequestBounds.Keys];

    public static TheoryData<string> HelloFields => [.. HelloBounds.Keys];

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task Request_OneMoreThanTheBound_IsRefused(string name)
    {
        var bound = RequestBounds[name];
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var client = hub.As(bound.ByNode ? credential : await hub.UserTokenAsync());
        Task<RestAnswer> SendAsync(int n) => client.CallAsync(
            new HttpMethod(bound.Method),
            bound.Path.Replace("{host}", hostId, StringComparison.Ordinal),
            JsonSerializer.Serialize(bound.BodyOf(n)).Replace("{credential}", credential, StringComparison.Ordinal));

        var atBound = await SendAsync(bound.Max);
        var beyond = await SendAsync(bound.Max + 1);

        Assert.True(atBound.Status is 200 or 201, atBound.Text);
        Assert.True(beyond.Status is 400 or 413, beyond.Text);
        Assert.True(beyond.Reason is "INVALID_FIELD" or "RECORD_TOO_LARGE", beyond.Text);
    }

    [Theory]
    [MemberData(nameof(HelloFields))]
    public async Task Hello_OneMoreThanTheBound_IsRefusedByTheFieldsName(string field)
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential, change: HelloBounds[field]);

        var refusal = await Assert.ThrowsAsync<RpcException>(node.ReadAsync);

        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        Assert.Contains(field, refusal.Status.Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Batch_OfOneEntryMoreThanTheBound_EndsTheLinkAsAgainstTheProtocol()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();

        await node.SendAsync(RawNode.TaskBatch(1, Many(LinkOptions.BatchEntriesMax + 1, i => ($"{i}", "todo"))));

        Assert.Equal(GoodbyeReason.ProtocolError, (await node.ReadUntilEndAsync())[^1].Goodbye.Reason);
        using var owner = hub.As(await hub.UserTokenAsync());
        Assert.Empty(await owner.TasksOfAsync(hostId));
    }

    [Fact]
    public async Task Frame_LargerThanTheBound_EndsTheLinkAsAgainstTheProtocol()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();

        await node.TrySendAsync(new ConnectRequest { Ephemeral = new Ephemeral { Kind = "k", Value = Value.ForString(Text(LinkOptions.FrameBytesMax)) } });

        Assert.Equal(GoodbyeReason.ProtocolError, (await node.ReadUntilEndAsync())[^1].Goodbye.Reason);
    }

    [Fact]
    public async Task Offers_MoreThanANodeMayHold_WaitUntilItAcceptsSome()
    {
        // The clock that offers what waits stands still.
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), new ManualTimeProvider());
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        for (var i = 0; i <= LinkOptions.OffersMax; i++)
        {
            (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).Expect(201);
        }

        await using var node = await RawNode.ConnectAsync(hub, credential);
        var offers = new HashSet<string>();
        while (offers.Count < LinkOptions.OffersMax)
        {
            offers.Add((await node.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId);
        }

        var states = (await owner.ReadAsync($"/api/hosts/{hostId}/commands?pageSize=200"))["commands"].EnumerateArray()
            .Select(command => command.GetProperty("state").GetString());
        Assert.Equal(1, states.Count(state => state == "QUEUED"));
        await node.SendAsync(RawNode.Commands(1, new Entry { CommandAccepted = new CommandAccepted { CommandId = offers.First(), Attempt = 1 } }));
        Assert.DoesNotContain((await node.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId, offers);
    }

    [Fact]
    public async Task Chat_OneMessageMoreThanABatchTakes_ComesInTheNextOne()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        for (var i = 0; i < 101; i++)
        {
            (await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = $"{i}" })).Expect(201);
        }

        await using var node = await RawNode.ConnectAsync(hub, credential);
        var first = (await node.ReadUntilAsync(frame => frame.Batch is not null)).Batch;
        var second = (await node.ReadUntilAsync(frame => frame.Batch is not null)).Batch;

        Assert.Equal((1, 100), (first.FirstSeq, first.LastSeq));
        Assert.Equal((101, 101), (second.FirstSeq, second.LastSeq));
    }

    [Fact]
    public async Task Instances_MoreThanAreRememberedOfAHost_AreNoAlternation()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        var quarantine = hub.Service<CloneQuarantine>();
        var node = new Principal.Node(HubHost.Team, hostId, "credential");

        for (var round = 0; round < 10; round++)
        {
            for (var i = 0; i < CloneQuarantine.InstancesMax + 1; i++)
            {
                await quarantine.AdmitAsync(node, $"{i}", CancellationToken.None).Within();
            }
        }
    }

    [Fact]
    public async Task Events_OfATeamBeyondTheBound_AreRemovedOldestFirst()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        await hub.ClaimAsync();
        var last = await NumberAsync(hub, "select max(seq) from events");
        await hub.Store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute("update team_counters set event_seq = @seq where team_id = @Team", new { seq = Retention.EventsPerTeamMax + last - 1, HubHost.Team }));

        await hub.SweepRetentionAsync();

        Assert.Equal((last, 1), (await NumberAsync(hub, "select min(seq) from events"), await NumberAsync(hub, "select count(*) from events")));
    }

    [Theory]
    [InlineData("secrets", 200)]
    [InlineData("webhooks", 50)]
    [InlineData("policies", 50)]
    [InlineData("API keys", 200)]
    [InlineData("organisations", 100)]
    [InlineData("teams", 200)]
    public async Task Item_OneMoreThanTheBound_IsRefused(string kind, int max)
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var orgId = kind == "teams" ? (await owner.WriteAsync("/api/orgs", new { name = "o" })).Expect(201).String("org.id") : "";
        Task<RestAnswer> AddAsync(int i) => kind switch
        {
            "secrets" => owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/secrets/s{i}", Secret),
            "webhooks" => owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/webhooks/w{i}", new { provider = "p", signingSecretName = "s" }),
            "policies" => owner.CallAsync(HttpMethod.Put, $"/api/approvals/policies/p{i}", Policy),
            "API keys" => owner.WriteAsync($"/api/teams/{HubHost.Team}/keys", new { name = $"{i}", role = "member" }),
            "organisations" => owner.WriteAsync("/api/orgs", new { name = $"{i}" }),
            _ => owner.WriteAsync("/api/teams", new { orgId, name = $"{i}" }),
        };
        for (var i = 0; i < max; i++)
        {
            var added = await AddAsync(i);
            Assert.True(added.Status is 200 or 201, $"{i}: {added.Text}");
        }

        var refused = await AddAsync(max);

        Assert.Equal((429, "ITEMS_MAX"), (refused.Status, refused.Reason));
    }

    [Theory]
    [InlineData("commands", "command_id", "command_id", 10_000, "COMMANDS_PENDING_MAX")]
    [InlineData("invites", "invite_id", "secret_hash", 1_000, "ITEMS_MAX")]
    public async Task Row_OneMoreThanTheBound_IsRefused(string table, string key, string unique, int max, string reason)
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        Task<RestAnswer> AddAsync(int i) => table is "commands"
            ? owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })
            : owner.WriteAsync("/api/team/invite", new { email = $"{i}@example.com", role = "member" });
        (await AddAsync(0)).Expect(201);
        await hub.Store.CopyRowAsync(HubHost.Team, table, [key, unique], max - 2);

        var last = await AddAsync(1);
        var refused = await AddAsync(2);

        last.Expect(201);
        Assert.Equal((429, reason), (refused.Status, refused.Reason));
    }

    [Fact]
    public async Task Member_OneMoreThanTheBound_IsRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        await hub.Store.WriteAsync(
            HubHost.Team,
            tx => tx.Execute("insert into users (user_id, email, name, created_at) values ('0', '0', '', 1)")).Within();
        await hub.Store.CopyRowAsync(HubHost.Team, "users", ["user_id", "email"], Members.MembersMax, "where user_id = '0'");
        var held = await NumberAsync(hub, $"select count(*) from team_members where team_id = '{HubHost.Team}'");
        await hub.Store.WriteAsync(
            HubHost.Team,
            tx => tx.Execute(
                """
                insert into team_members (team_id, user_id, role, created_at)
                select @Team, user_id, 'viewer', 1 from users where user_id like 'copy-%' limit @room
                """,
                new { HubHost.Team, room = Members.MembersMax - held - 1 })).Within();
        Task AddAsync() => hub.Store.WriteAsync(
            HubHost.Team,
            tx => Members.Add(
                tx, HubHost.Team,
                tx.Query<string>("select user_id from users where user_id not in (select user_id from team_members)")[0], TeamRole.Viewer)).Within();

        await AddAsync();
        var refused = await Assert.ThrowsAsync<HubException>(AddAsync);

        Assert.Equal(ErrorReason.ItemsMax, refused.Reason);
    }

    [Fact]
    public async Task Session_OneMoreThanTheBound_EndsTheOldest()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), settings: ("HUB_SIGNUP", "open"));
        var account = new { email = "you@example.com", password = "correct horse battery" };
        (await hub.Rest.WriteAsync("/api/auth/signup", account)).Expect(201);
        await hub.Store.CopyRowAsync(HubHost.Team, "sessions", ["session_id"], 99);

        (await hub.Rest.WriteAsync("/api/auth/signin", account)).Expect(200);

        Assert.Equal(100, await NumberAsync(hub, "select count(*) from sessions"));
    }

    [Fact]
    public async Task Comment_OneCharacterMoreThanTheBound_IsRefused()
    {
        const int Max = 64 * 1024;
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        (await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", new { tasks = new[] { new { id = "t", title = "t", status = "todo" } } })).Expect(200);
        Task<RestAnswer> CommentAsync(int length) => node.WriteAsync($"/api/hosts/{hostId}/tasks/t/comments", new { content = Text(length) });

        (await CommentAsync(Max)).Expect(201);
        Assert.Equal("INVALID_FIELD", (await CommentAsync(Max + 1)).Expect(400).Reason);
    }

    [Fact]
    public async Task RejectedDeltas_OneMoreThanTheBound_TheOldestGoes()
    {
        const int Max = 1_000;
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();

        await node.SendAsync(RawNode.TaskBatch(1, Many(Max, _ => (Text(201), "todo"))));
        await node.SendAsync(RawNode.TaskBatch(Max + 1, (Text(201), "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is { Lane: Lane.Data, Seq: Max + 1 });

        Assert.Equal(Max, await NumberAsync(hub, "select count(*) from rejected_deltas"));
        Assert.Equal(2, await NumberAsync(hub, "select min(seq) from rejected_deltas"));
    }

    [Fact]
    public async Task EventsOfAJob_OneMoreThanTheBound_AreRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        Task AppendAsync(int count) => hub.Store.WriteAsync(
            HubHost.Team,
            tx =>
            {
                for (var i = 0; i < count; i++)
                {
                    tx.AppendEvent(HubHost.Team, "HOST", null, $"{i}", 0);
                }
            }).Within();

        await AppendAsync(StoreTransaction.EventsPerJobMax);
        await Assert.ThrowsAsync<InvalidOperationException>(() => AppendAsync(StoreTransaction.EventsPerJobMax + 1));
    }

    [Fact]
    public async Task Poll_OfCommandsAndChat_TakesNoMoreThanTheBound()
    {
        const int Max = 50;
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        using var node = hub.As(credential);
        for (var i = 0; i <= Max; i++)
        {
            (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).Expect(201);
            (await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = $"{i}" })).Expect(201);
        }

        async Task<(int Commands, int Messages)> PollAsync() => (
            (await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending")).Expect(200)["commands"].GetArrayLength(),
            (await node.WriteAsync($"/api/hosts/{hostId}/chat/sync", """{"messages":[]}""")).Expect(200)["pending"].GetArrayLength());

        Assert.Equal((Max, Max), await PollAsync());
        Assert.Equal((1, 1), await PollAsync());
    }

    [Fact]
    public async Task Snapshot_OfMoreFeedbackThanTheBound_ShowsTheLatest()
    {
        const int Max = 200;
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        await hub.ClaimAsync();
        var token = await hub.UserTokenAsync();
        using var owner = hub.As(token);
        (await owner.WriteAsync("/api/feedback", new { kind = "bug", message = "m" })).Expect(201);
        await hub.Store.CopyRowAsync(HubHost.Team, "feedback", ["feedback_id"], Max);
        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(new WatchRequest(), HubHost.With(token));

        var shown = 0;
        while (await watch.ResponseStream.MoveNext(CancellationToken.None).Within() && watch.ResponseStream.Current.Kind != WatchKind.SnapshotEnd)
        {
            shown += watch.ResponseStream.Current.Kind == WatchKind.Feedback ? 1 : 0;
        }

        Assert.Equal(Max, shown);
    }

    [Fact]
    public async Task Watch_OfMoreHostsThanTheBound_IsRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        await hub.ClaimAsync();
        var token = await hub.UserTokenAsync();
        AsyncServerStreamingCall<WatchResponse> Watch(int hosts) => new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { HostIds = { Many(hosts, i => $"host-{i}") } }, HubHost.With(token));
        using var atBound = Watch(100);
        using var beyond = Watch(101);

        Assert.True(await atBound.ResponseStream.MoveNext(CancellationToken.None).Within());
        var refused = await Assert.ThrowsAsync<RpcException>(() => beyond.ResponseStream.MoveNext(CancellationToken.None).Within());
        Assert.Equal(StatusCode.InvalidArgument, refused.StatusCode);
    }

    [Fact]
    public async Task Ephemeral_LargerThanTheBound_IsNotShown()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();

        foreach (var length in new[] { 64 * 1024, 60 * 1024 })
        {
            await node.SendAsync(new ConnectRequest { Ephemeral = new Ephemeral { Kind = "k", Key = $"{length}", Value = Value.ForString(Text(length)) } });
        }

        await node.SendAsync(RawNode.TaskBatch(1, ("t", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is { Lane: Lane.Data, Seq: 1 }); // A link's frames are taken in their order.
        Assert.Equal($"{60 * 1024}", Assert.Single(hub.Service<EphemeralBoard>().Read(HubHost.Team, hostId, "k")).Key);
    }

    [Fact]
    public async Task Canvas_OfMoreThanTheBounds_ShowsWhatTheyTake()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var canvas = new
        {
            slots = Many(201, i => new { slot = $"{i}" }),
            agents = Many(501, i => $"{i}").ToDictionary(name => name, _ => new { state = "idle" }),
            pushEvents = Many(101, i => new { agentId = $"{i}", type = "t" }),
        };

        (await node.WriteAsync($"/api/hosts/{hostId}/canvas", canvas)).Expect(200);
        (await node.WriteAsync($"/api/hosts/{hostId}/canvas/query/ack", new { cards = Many(101, i => new { agentId = $"{i}", type = "t" }) })).Expect(200);

        var shown = (await node.ReadAsync($"/api/hosts/{hostId}/canvas")).Expect(200);
        Assert.Equal(
            (200, 500, 100, 100),
            (shown["slots"].GetArrayLength(), shown["agents"].EnumerateObject().Count(), shown["pushEvents"].GetArrayLength(), shown["cards"].GetArrayLength()));
    }

    [Fact]
    public void Comparison_OfMoreThanTheBounds_IsAFault()
    {
        static SnapshotDigests DigestsOf(int ranges) => new() { Ranges = { Many(ranges, _ => new SnapshotRange { Digest = ByteString.CopyFrom(new byte[16]) }) } };
        static SnapshotListing ListingOf(int records) => new() { Records = ByteString.CopyFrom(new byte[32 * records]) };

        Assert.Null(RecordComparison.Fault(DigestsOf(64)));
        Assert.Null(RecordComparison.Fault(ListingOf(1_000)));
        Assert.Equal(ErrorReason.RecordInvalid, RecordComparison.Fault(DigestsOf(65))?.Reason);
        Assert.Equal(ErrorReason.RecordInvalid, RecordComparison.Fault(ListingOf(1_001))?.Reason);
    }

    [Fact]
    public async Task Range_OfMoreThanTheBound_CountsAsDifferent()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        await node.SendAsync(RawNode.TaskBatch(1, ("t", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is { Lane: Lane.Data, Seq: 1 });
        await hub.Store.CopyRowAsync(HubHost.Team, "records", ["record_id"], 1_001);

        var hashes = await hub.Store.ReadAsync(TeamScope.System, reader => reader.QueryAsync<(string Id, string Hash)>(
            "select record_id, body_hash from records order by record_id"));
        SnapshotDigests DigestsOf(int records)
        {
            var digest = new byte[16];
            foreach (var (id, hash) in hashes.Take(records))
            {
                var half = SHA256.HashData([.. Encoding.UTF8.GetBytes(id), .. Convert.FromHexString(hash)[..16]]).AsSpan(0, 16);
                for (var i = 0; i < digest.Length; i++)
                {
                    digest[i] ^= half[i];
                }
            }

            var range = new SnapshotRange { Through = hashes[records - 1].Id, Count = (uint)records, Digest = ByteString.CopyFrom(digest) };
            return new() { Ranges = { range } };
        }

        Task<IReadOnlyList<uint>> DifferingAsync(int records) => hub.Store.WriteAsync(
            HubHost.Team, tx => RecordComparison.Differing(tx, hostId, RecordCollections.Named("tasks"), DigestsOf(records)));
        Assert.Empty(await DifferingAsync(1_000));
        Assert.Equal([0u], await DifferingAsync(1_001));
    }

    [Fact]
    public void Drain_OfMoreLinksThanTheBound_IsSpreadNoLonger()
    {
        Assert.Equal(LinkClock.DrainSpreadMax - TimeSpan.FromSeconds(1), LinkClock.DrainSpread(59_500));
        Assert.Equal(LinkClock.DrainSpreadMax, LinkClock.DrainSpread(60_500));
    }

    private static string Text(int length) => new('x', length);

    private static T[] Many<T>(int count, Func<int, T> make) => [.. Enumerable.Range(0, count).Select(make)];

    private static Task<long> NumberAsync(HubHost hub, string sql) =>
        hub.Store.ReadAsync(TeamScope.System, reader => reader.QuerySingleAsync<long>(sql)).Within();

    /// <param name="Max">Most that is taken.</param>
    /// <param name="Method">HTTP method.</param>
    /// <param name="Path">Path, with {host} for the host's id.</param>
    /// <param name="BodyOf">The request with so many; {credential} stands for the host's.</param>
    /// <param name="ByNode">Called with the host's credential instead of an owner's token.</param>
    private sealed record Bound(int Max, string Method, string Path, Func<int, object> BodyOf, bool ByNode = false);
}
