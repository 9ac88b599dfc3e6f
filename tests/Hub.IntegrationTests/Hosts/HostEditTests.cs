using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>What people do to hosts, and what they see of them.</summary>
public abstract class HostEditTests(StoreFixture fixture)
{
    [Fact]
    public async Task Rename_ByAPerson_StaysWhateverTheNodeCallsItself()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var joinToken = await hub.JoinTokenAsync();
        var hostId = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken, name = "unnamed-host" })).String("host.id");
        using var owner = hub.As(await hub.UserTokenAsync());

        var renamed = (await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}", new { name = "build box" })).Expect(200);
        time.SetClock(time.GetUtcNow().AddMinutes(1));
        var claimed = await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken, name = "unnamed-host" });

        Assert.Equal("build box", renamed.String("host.name"));
        Assert.Equal("build box", claimed.String("host.name"));
    }

    [Fact]
    public async Task Rename_ByAViewer_IsRefused()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var viewer = hub.As(await hub.UserTokenAsync("viewer@example.com", "Viewer"));

        var refused = await viewer.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}", new { name = "mine" });

        Assert.Equal("ROLE_REQUIRED", refused.Expect(403).Reason);
    }

    [Fact]
    public async Task Delete_WithOpenCommands_EndsThemForThoseWhoWatch()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        using var node = hub.As(credential);
        var held = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");
        await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");
        await node.WriteAsync($"/api/hosts/{hostId}/commands/{held}/ack", """{"action":"ack"}""");
        var queued = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");
        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { Cursor = "now", Kinds = { WatchKind.Command } }, HubHost.With(await hub.UserTokenAsync()));
        await watch.ResponseHeadersAsync.Within();

        (await owner.CallAsync(HttpMethod.Delete, $"/api/hosts/{hostId}")).Expect(200);

        var ended = new Dictionary<string, HostCommand>();
        while (ended.Count < 2)
        {
            Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None).Within());
            if (watch.ResponseStream.Current.Command is { State: CommandState.Cancelled } command)
            {
                ended[command.Id] = command;
            }
        }

        Assert.Equal(new[] { held, queued }.Order(), ended.Keys.Order());
        Assert.All(ended.Values, command => Assert.Equal(CommandReason.HostRemoved, command.Reason));
        (await owner.ReadAsync($"/api/hosts/{hostId}/commands/{held}")).Expect(404);
    }

    [Fact]
    public async Task Delete_AWeekAgo_LeavesNoCommandsBehind()
    {
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync();
        await using var hub = await HubHost.StartAsync(fixture, options, time);
        var (hostId, _) = await hub.ClaimAsync();
        var (other, _) = await hub.ClaimAsync("other");
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" });
        await owner.WriteAsync($"/api/hosts/{other}/commands", new { type = "echo" });
        (await owner.CallAsync(HttpMethod.Delete, $"/api/hosts/{hostId}")).Expect(200);

        time.SetClock(time.GetUtcNow().AddDays(7));
        await hub.SweepRetentionAsync();

        Assert.Equal([other], await hub.Store.QueryAsync<string>(TeamScope.System, "select host_id from commands").Within());
        Assert.Empty(await hub.Store.QueryAsync<string>(TeamScope.System, "select host_id from hosts where erase_at is not null").Within());
    }

    [Fact]
    public async Task Delete_OfAHostWithManyRecords_HidesThemAtOnceAndErasesThemInBatches()
    {
        var commits = 0;
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync() with
        {
            FaultInjector = step => Interlocked.Add(ref commits, step == WriteStep.AfterCommit ? 1 : 0),
        };
        await using var hub = await HubHost.StartAsync(fixture, options, time);
        var (hostId, node) = await hub.ClaimAsync();
        var (other, otherNode) = await hub.ClaimAsync("other");
        using var owner = hub.As(await hub.UserTokenAsync());
        await AddAsync(hub, hostId, node);
        await AddAsync(hub, other, otherNode);
        const int copies = 2 * Retention.BatchMax;
        await hub.Store.WriteAsync(
            HubHost.Team,
            tx => tx.Execute(
                """
                with recursive n (i) as (select 1 union all select i + 1 from n where i < @copies)
                insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
                    parent_id, body, body_hash, changed_at, is_history)
                select team_id, host_id, collection, record_id || i, version, journal_id, seq, origin, snapshot_id, status, agent, level,
                    parent_id, body, body_hash, changed_at, is_history
                from records cross join n where host_id = @hostId and collection = 'tasks'
                """,
                new { hostId, copies })).Within();

        (await owner.CallAsync(HttpMethod.Delete, $"/api/hosts/{hostId}")).Expect(200);
        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(new WatchRequest(), HubHost.With(await hub.UserTokenAsync()));
        var seen = new HashSet<string>();
        while (await watch.ResponseStream.MoveNext(CancellationToken.None).Within() && watch.ResponseStream.Current.Kind != WatchKind.SnapshotEnd)
        {
            seen.Add($"{watch.ResponseStream.Current.Kind} {watch.ResponseStream.Current.HostId}");
        }

        var left = await LeftAsync(hub, hostId);
        var before = Volatile.Read(ref commits);
        await hub.SweepRetentionAsync();

        Assert.Equal([$"Host {other}", $"Task {other}", $"Chat {other}"], seen);
        Assert.Equal(copies + 2, left);
        Assert.Equal(0, await LeftAsync(hub, hostId));
        Assert.Equal(2, await LeftAsync(hub, other));
        Assert.Equal(3 + Retention.Sweeps.Length - 1, Volatile.Read(ref commits) - before); // Three batches, and a look for each other kind.
    }

    [Fact]
    public async Task Presence_OfAHost_ShowsItsStateAndAgents()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        await node.WriteAsync(
            $"/api/hosts/{hostId}/heartbeat", """{"contractVersion":"host-heartbeat.v1","agents":[{"id":"main","status":"active"}],"activeTasks":[]}""");

        var presence = (await node.ReadAsync($"/api/hosts/{hostId}/presence")).Expect(200);

        Assert.Equal(("online", "ONLINE", "REST"), (presence.String("status"), presence.String("state"), presence.String("stateReason")));
        Assert.Equal("main", presence["agents"][0].GetProperty("id").GetString());
        Assert.NotEmpty(presence.String("lastHeartbeatAt"));
    }

    [Fact]
    public async Task Activity_OfAHost_IsItsOwnTheLatestFirst()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        var (other, _) = await hub.ClaimAsync("other");
        using var owner = hub.As(await hub.UserTokenAsync());
        var first = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");
        await owner.WriteAsync($"/api/hosts/{other}/commands", new { type = "echo" });
        var second = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");

        var found = new List<string>();
        var token = "";
        do
        {
            var page = (await owner.ReadAsync($"/api/hosts/{hostId}/activity?pageSize=1&pageToken={token}")).Expect(200);
            found.AddRange(page["activities"].EnumerateArray().Select(activity => $"{activity.GetProperty("kind")} {activity.GetProperty("entityId")}"));
            token = page.String("nextPageToken");
        }
        while (token.Length > 0);

        Assert.Equal([$"COMMAND {second}", $"COMMAND {first}"], found[..2]);
        Assert.All(found[2..], line => Assert.Equal($"HOST {hostId}", line));
        Assert.NotEmpty(found[2..]);
    }

    [Fact]
    public async Task Why_OfARevokedHost_SaysWhoCanHelp()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/revoke-credential", "{}");

        var why = (await owner.ReadAsync($"/api/hosts/{hostId}/why")).Expect(200);

        Assert.Equal(("REVOKED", "REVOKED"), (why.String("why.state"), why.String("why.reason")));
        Assert.Contains("revoked", why.String("why.sentence"), StringComparison.Ordinal);
        Assert.NotEmpty(why.String("why.nextStep"));
        Assert.NotEmpty(why.String("why.since"));
    }

    [Fact]
    public async Task Why_OfACommandInEveryStateForEveryReason_SaysWhatAndSinceWhenAndWhatNext()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var commandId = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).Expect(201).String("command.id");
        foreach (var pair in CommandExplanations.Known)
        {
            var (state, reason) = (EnumText<CommandState>.Of(pair.State), EnumText<CommandReason>.Of(pair.Reason));
            await hub.Store.WriteAsync(
                HubHost.Team,
                tx => tx.Execute("update commands set state = @state, reason = @reason where command_id = @commandId", new { state, reason, commandId })).Within();

            var why = (await owner.ReadAsync($"/api/hosts/{hostId}/commands/{commandId}/why")).Expect(200);

            Assert.Equal((state, reason), (why.String("why.state"), why.String("why.reason")));
            Assert.All(["why.sentence", "why.since", "why.nextStep"], field => Assert.NotEmpty(why.String(field)));
        }
    }

    [Fact]
    public async Task Why_OfACommandThatWaits_TellsOfItsHostToo()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var commandId = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");

        var waiting = (await owner.ReadAsync($"/api/hosts/{hostId}/commands/{commandId}/why")).Expect(200);
        await owner.WriteAsync($"/api/hosts/{hostId}/commands/{commandId}/cancel", new { reason = "not needed" });
        var cancelled = (await owner.ReadAsync($"/api/hosts/{hostId}/commands/{commandId}/why")).Expect(200);

        Assert.Equal(("QUEUED", "UNSPECIFIED"), (waiting.String("why.state"), waiting.String("why.reason")));
        Assert.Equal("ONLINE", waiting.String("host.state"));
        Assert.Equal(("CANCELLED", "CANCEL_REQUESTED"), (cancelled.String("why.state"), cancelled.String("why.reason")));
        Assert.Equal("not needed", cancelled.String("why.detail"));
        Assert.False(cancelled.Body.TryGetProperty("host", out _));
    }

    [Fact]
    public async Task SkippedCommand_OfATypeTheNodeDoesNotKnow_SaysSo()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        using var node = hub.As(credential);
        var commandId = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).String("command.id");
        await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");

        await node.WriteAsync(
            $"/api/hosts/{hostId}/commands/{commandId}/ack", """{"action":"complete","result":{"skipped":true,"reason":"unknown_type"}}""");
        var why = await owner.ReadAsync($"/api/hosts/{hostId}/commands/{commandId}/why");

        Assert.Equal(("REJECTED", "UNKNOWN_TYPE"), (why.String("why.state"), why.String("why.reason")));
    }

    /// <summary>Gives a host a task and a chat message.</summary>
    private static async Task AddAsync(HubHost hub, string hostId, string credential)
    {
        using var node = hub.As(credential);
        (await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", new { tasks = new[] { new { id = "task", title = "t", status = "doing" } } })).Expect(200);
        using var owner = hub.As(await hub.UserTokenAsync());
        (await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = "hello" })).Expect(201);
    }

    /// <summary>Records and messages of a host that are stored.</summary>
    private static async Task<long> LeftAsync(HubHost hub, string hostId) => await hub.Store.QuerySingleOrDefaultAsync<long>(
        TeamScope.System,
        "select (select count(*) from records where host_id = @hostId) + (select count(*) from chat_messages where host_id = @hostId)",
        new { hostId }).Within();

    private async Task<HubHost> StartAsync() => await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
}

public sealed class SqliteHostEditTests(SqliteStoreFixture fixture) : HostEditTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresHostEditTests(PostgresStoreFixture fixture) : HostEditTests(fixture), IClassFixture<PostgresStoreFixture>;
