using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.TestKit;
using Microsoft.Extensions.Hosting;

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
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
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

        await hub.Service<IEnumerable<IHostedService>>().OfType<Retention>().Single().SweepAsync(CancellationToken.None).Within();

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
        await CopyRowAsync(hub, table, [key, unique], max - 2);

        var last = await AddAsync(1);
        var refused = await AddAsync(2);

        last.Expect(201);
        Assert.Equal((429, reason), (refused.Status, refused.Reason));
    }

    private static string Text(int length) => new('x', length);

    private static T[] Many<T>(int count, Func<int, T> make) => [.. Enumerable.Range(0, count).Select(make)];

    private static Task<long> NumberAsync(HubHost hub, string sql) =>
        hub.Store.ReadAsync(TeamScope.System, reader => reader.QuerySingleAsync<long>(sql)).Within();

    /// <summary>Copies a table's only row so many times, each copy with values of its own in some columns.</summary>
    private static async Task CopyRowAsync(HubHost hub, string table, string[] own, int copies)
    {
        var columns = await hub.Store.ReadAsync(
            TeamScope.System, reader => reader.QueryAsync<string>("select name from pragma_table_info(@table)", new { table }));
        var values = columns.Select(column => own.Contains(column) ? "'copy-' || i" : column);
        await hub.Store.WriteAsync(
            HubHost.Team,
            tx => tx.Execute(
                $"""
                insert into {table} ({string.Join(", ", columns)})
                with recursive n (i) as (select 1 union all select i + 1 from n where i < @copies)
                select {string.Join(", ", values)} from {table} cross join n
                """,
                new { copies }));
    }

    /// <param name="Max">Most that is taken.</param>
    /// <param name="Method">HTTP method.</param>
    /// <param name="Path">Path, with {host} for the host's id.</param>
    /// <param name="BodyOf">The request with so many; {credential} stands for the host's.</param>
    /// <param name="ByNode">Called with the host's credential instead of an owner's token.</param>
    private sealed record Bound(int Max, string Method, string Path, Func<int, object> BodyOf, bool ByNode = false);
}
