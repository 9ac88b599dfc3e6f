using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Links;

/// <summary>The link over a real stream, one frame at a time.</summary>
public abstract class LinkTests(StoreFixture fixture)
{
    [Fact]
    public async Task Connect_Hello_AnswersWelcomeAndShowsTheHostOnline()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);

        var welcome = (await node.ReadAsync()).Welcome;

        Assert.Equal(1, welcome.Epoch);
        Assert.Equal(hostId, welcome.HostId);
        Assert.All(
            welcome.Lanes,
            lane => Assert.Equal(lane.Lane == Lane.Data ? LaneOutcome.SnapshotRequired : LaneOutcome.Resumed, lane.Outcome));
        using var owner = hub.As(await hub.UserTokenAsync());
        var host = await owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}");
        Assert.Equal("online", host.GetProperty("host").GetProperty("status").GetString());
    }

    [Fact]
    public async Task Batch_OfOneTask_IsAckedAfterItCanBeRead()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();

        await node.SendAsync(RawNode.TaskBatch(1, ("task-1", "todo")));
        var ack = (await node.ReadAsync()).Ack;

        Assert.Equal(1, ack.Seq);
        using var owner = hub.As(await hub.UserTokenAsync());
        var response = await owner.GetAsync($"/api/hosts/{hostId}/tasks/task-1");
        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Fact]
    public async Task Command_CreatedByRest_IsOfferedAcceptedAndFinished()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var created = await owner.PostAsJsonAsync($"/api/hosts/{hostId}/commands", new { type = "echo", payload = new { a = 1 } });
        var offer = (await node.ReadAsync()).Offer;
        await node.SendAsync(RawNode.Commands(1, new Entry { CommandAccepted = new() { CommandId = offer.CommandId, Attempt = 1 } }));
        var ack = (await node.ReadAsync()).Ack;
        await node.SendAsync(RawNode.Commands(2, new Entry
        {
            CommandOutcome = new()
            {
                CommandId = offer.CommandId,
                Attempt = 1,
                State = CommandState.Succeeded,
                Result = Value.ForString("done"),
            },
        }));
        await node.ReadAsync();

        Assert.Equal(HttpStatusCode.Created, created.StatusCode);
        Assert.Equal(Verdict.Keep, Assert.Single(ack.Commands).Verdict);
        var read = await owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/commands/{offer.CommandId}");
        Assert.Equal("SUCCEEDED", read.GetProperty("command").GetProperty("state").GetString());
        Assert.Equal("done", read.GetProperty("command").GetProperty("result").GetString());
        Assert.Equal(4, read.GetProperty("command").GetProperty("timeline").GetArrayLength());
    }

    [Fact]
    public async Task Connect_SecondLink_WinsWhileTheClockStandsStillAndNothingOfTheFirstCommits()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        await using var first = await RawNode.ConnectAsync(hub, credential, instanceId: "first");
        await first.ReadAsync();
        await using var second = await RawNode.ConnectAsync(hub, credential, instanceId: "second");

        var welcome = (await second.ReadAsync()).Welcome;
        await first.TrySendAsync(RawNode.TaskBatch(1, ("late", "todo")));

        Assert.Equal(2, welcome.Epoch);
        Assert.Equal(GoodbyeReason.TakenOver, (await first.ReadUntilEndAsync())[^1].Goodbye.Reason);
        using var owner = hub.As(await hub.UserTokenAsync());
        var tasks = await owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/tasks");
        Assert.Equal(0, tasks.GetProperty("tasks").GetArrayLength());
    }

    [Fact]
    public async Task Connect_Again_TakesWhatIsNewAndTellsWhatTheNodeHasNotNoted()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        (await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = "hello" })).Expect(201);
        await using (var before = await RawNode.ConnectAsync(hub, credential))
        {
            await before.ReadUntilAsync(frame => frame.Batch is not null); // The message, which it does not acknowledge.
            await before.SendAsync(RawNode.TaskBatch(1, (new string('x', 201), "todo")));
            await before.ReadUntilAsync(frame => frame.Ack?.Rejected.Count == 1);
        }

        await using var node = await RawNode.ConnectAsync(hub, credential, change: hello =>
        {
            (hello.NodeVersion, hello.Platform, hello.ChatDownSeq) = ("2.0", "linux", 1);
            hello.Labels.Add("zone", "a");
            hello.Upstream.Add(new UpstreamPosition { Lane = Lane.Data, FirstSeq = 2, LastSeq = 1 });
            hello.JournalEpoch = 1;
        });
        var welcome = (await node.ReadAsync()).Welcome;

        Assert.Equal((Lane.Data, 1), welcome.Rejected.Select(rejected => (rejected.Lane, rejected.Seq)).Single());
        var host = await owner.ReadAsync($"/api/hosts/{hostId}");
        Assert.Equal(("2.0", "linux", "a"), (host.String("host.nodeVersion"), host.String("host.platform"), host.String("host.labels.zone")));
        var message = (await owner.ReadAsync($"/api/hosts/{hostId}/chat"))["messages"].EnumerateArray().Single();
        Assert.Equal(JsonValueKind.Number, message.GetProperty("deliveredAt").ValueKind);
    }

    [Fact]
    public async Task Connect_AnotherFrameFirst_IsRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        await using var node = RawNode.Dial(hub, credential);

        await node.SendAsync(new ConnectRequest { Heartbeat = new() });

        var refusal = await Assert.ThrowsAsync<RpcException>(node.ReadAsync);
        Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
    }
}

public sealed class SqliteLinkTests(SqliteStoreFixture fixture) : LinkTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresLinkTests(PostgresStoreFixture fixture) : LinkTests(fixture), IClassFixture<PostgresStoreFixture>;
