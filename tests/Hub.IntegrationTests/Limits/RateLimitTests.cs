using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Links;
using Hub.TestKit;

namespace Hub.IntegrationTests.Limits;

/// <summary>What a host, a caller or a team meets when it does more than its share.</summary>
public sealed class RateLimitTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    [Theory]
    [InlineData(HubSettings.CallerRequestsPerMinuteKey, "caller_requests_per_minute")]
    [InlineData(HubSettings.TeamRequestsPerMinuteKey, "team_requests_per_minute")]
    public async Task Request_OfAUserBeyondTheRate_IsRefusedWithLimitUseAndReset(string setting, string rate)
    {
        await using var hub = await StartAsync(new ManualTimeProvider(), (setting, "3"));
        using var owner = hub.As(await hub.UserTokenAsync());
        for (var i = 0; i < 3; i++)
        {
            Assert.Equal(HttpStatusCode.OK, (await owner.GetAsync("/api/hosts").Within()).StatusCode);
        }

        var refused = await owner.GetAsync("/api/hosts").Within();

        await AssertRefusedAsync(refused, rate, limit: 3, retryAfter: 20);
    }

    [Fact]
    public async Task Request_OfAHostBeyondTheRate_IsRefusedUntilTheTimeNamedHasPassedAndClaimsNever()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time, (HubSettings.HostRequestsPerMinuteKey, "2"));
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var poll = new Uri($"/api/hosts/{hostId}/commands?status=pending", UriKind.Relative);
        await node.GetAsync(poll).Within();
        await node.GetAsync(poll).Within();

        await AssertRefusedAsync(await node.GetAsync(poll).Within(), "host_requests_per_minute", limit: 2, retryAfter: 30);
        for (var i = 0; i < 5; i++)
        {
            var claim = await hub.Rest.PostAsJsonAsync("/api/hosts/claim", new { joinToken = credential, name = "node" }).Within();
            Assert.True(claim.IsSuccessStatusCode);
        }

        time.Advance(TimeSpan.FromSeconds(30));
        Assert.Equal(HttpStatusCode.OK, (await node.GetAsync(poll).Within()).StatusCode);
    }

    [Theory]
    [InlineData(HubSettings.HostCommandsPerMinuteKey, "host_commands_per_minute")]
    [InlineData(HubSettings.TeamCommandsPerMinuteKey, "team_commands_per_minute")]
    public async Task Command_BeyondTheRate_IsRefused(string setting, string rate)
    {
        await using var hub = await StartAsync(new ManualTimeProvider(), (setting, "1"));
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        Task<HttpResponseMessage> CreateAsync() => owner.PostAsJsonAsync($"/api/hosts/{hostId}/commands", new { type = "echo" }).Within();

        Assert.Equal(HttpStatusCode.Created, (await CreateAsync()).StatusCode);

        await AssertRefusedAsync(await CreateAsync(), rate, limit: 1, retryAfter: 60);
    }

    [Theory]
    [InlineData(HubSettings.HostRecordsPerSecondKey, 50)]
    [InlineData(HubSettings.TeamRecordsPerSecondKey, 50)]
    [InlineData(HubSettings.HostBytesPerSecondKey, 2_000)]
    [InlineData(HubSettings.TeamBytesPerSecondKey, 2_000)]
    public async Task Link_BeyondTheRate_IsReadMoreSlowlyAndLosesNothing(string setting, int rate)
    {
        await using var hub = await StartAsync(TimeProvider.System, (setting, $"{rate}"));
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        var tasks = Enumerable.Range(0, 100).Select(i => ($"task-{i}", "todo")).ToArray();
        var first = RawNode.TaskBatch(1, tasks);
        var second = RawNode.TaskBatch(101, tasks);
        var owed = setting is HubSettings.HostBytesPerSecondKey or HubSettings.TeamBytesPerSecondKey ? first.CalculateSize() - rate : 100 - rate;

        var started = TimeProvider.System.GetTimestamp();
        await node.SendAsync(first);
        await node.SendAsync(second);
        await node.ReadUntilAsync(frame => frame.Ack?.Seq == 200);

        // The clock may be read a moment after the Hub's.
        Assert.True(TimeProvider.System.GetElapsedTime(started) > TimeSpan.FromSeconds(0.9 * owed / rate));
        using var owner = hub.As(await hub.UserTokenAsync());
        var stored = await owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/tasks?pageSize=200").Within();
        Assert.Equal(100, stored.GetProperty("tasks").GetArrayLength());
    }

    [Fact]
    public async Task Link_HeldBackForLongerThanASilentNodeLives_StaysOpen()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time, (HubSettings.HostRecordsPerSecondKey, "1"));
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        var link = hub.Service<LinkRegistry>().Find(hostId)!;

        // 200 records on credit: 199 s without being read, and a silent node is given up after 62.5 s.
        await node.SendAsync(RawNode.TaskBatch(1, [.. Enumerable.Range(0, 200).Select(i => ($"task-{i}", "todo"))]));
        await node.SendAsync(RawNode.TaskBatch(201, ("last", "todo")));
        var acknowledged = node.ReadUntilAsync(frame => frame.Ack?.Seq == 201);
        var started = TimeProvider.System.GetTimestamp();
        while (!acknowledged.IsCompleted && link.EndReason == GoodbyeReason.Unspecified && TimeProvider.System.GetElapsedTime(started) < Patience)
        {
            if (link.SilentFor < TimeSpan.FromSeconds(10)) // Time does not run ahead of a Hub that has no processor at the moment.
            {
                time.Advance(TimeSpan.FromMilliseconds(100));
            }

            await Task.Yield();
        }

        await acknowledged.Within();
        Assert.Equal(GoodbyeReason.Unspecified, link.EndReason);
    }

    [Fact]
    public async Task Link_OfANodeThatReadsNothing_EndsAsSlowConsumer()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var large = new { type = "echo", payload = new { text = new string('x', 200_000) } };
        for (var i = 0; i < 12; i++)
        {
            (await owner.PostAsJsonAsync($"/api/hosts/{hostId}/commands", large).Within()).EnsureSuccessStatusCode();
        }

        // Its heartbeats go on, so it is not silent; time passes until the frame that waits to be read has waited too long.
        var link = hub.Service<LinkRegistry>().Find(hostId)!;
        for (var step = 0; step < 10_000 && link.EndReason == GoodbyeReason.Unspecified; step++)
        {
            await node.TrySendAsync(new ConnectRequest { Heartbeat = new() });
            time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(GoodbyeReason.SlowConsumer, link.EndReason);
        await Assert.ThrowsAsync<RpcException>(() => WriteForEverAsync().Within());

        async Task WriteForEverAsync()
        {
            while (true)
            {
                await node.SendAsync(new ConnectRequest { Heartbeat = new() }); // The node learns it though it reads nothing.
            }
        }
    }

    private async Task<HubHost> StartAsync(TimeProvider time, params (string Key, string Value)[] settings) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time, settings);

    private static async Task AssertRefusedAsync(HttpResponseMessage response, string rate, int limit, int retryAfter)
    {
        Assert.Equal(HttpStatusCode.TooManyRequests, response.StatusCode);
        Assert.Equal(TimeSpan.FromSeconds(retryAfter), response.Headers.RetryAfter!.Delta);
        var body = await response.Content.ReadFromJsonAsync<JsonElement>();
        Assert.Equal("RATE_LIMITED", body.GetProperty("reason").GetString());
        var details = body.GetProperty("details");
        Assert.Equal(
            (rate, $"{limit}", $"{limit}", "60"),
            (Detail("rate"), Detail("limit"), Detail("use"), Detail("reset")));

        string? Detail(string name) => details.GetProperty(name).GetString();
    }
}
