using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Net.Client;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.IntegrationTests.Watch;

/// <summary>Snapshot, then tail, over gRPC and as server-sent events.</summary>
public abstract class WatchTests(StoreFixture fixture)
{
    /// <summary>Minutes that pass for a watch whose token has ended; one that keeps to the clock needs one or two.</summary>
    private const int MinutesMax = 100;

    [Fact]
    public async Task Watch_WithoutACursor_ShowsASnapshotThenEveryChange()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.SyncTaskAsync("before", "todo");
        await using var watch = scene.Watch();

        var snapshot = await watch.ReadUntilAsync(WatchKind.SnapshotEnd);
        await scene.SyncTaskAsync("after", "todo");
        var change = await watch.ReadAsync();

        Assert.Contains(snapshot, item => item.Kind == WatchKind.Host && item.Host.Id == scene.HostId);
        Assert.Equal("before", Assert.Single(snapshot, item => item.Kind == WatchKind.Task).Task.Id);
        Assert.All(snapshot.SkipLast(1), item => Assert.Empty(item.Cursor));
        Assert.NotEmpty(snapshot[^1].Cursor);
        Assert.Equal((WatchKind.Task, "after", "todo"), (change.Kind, change.EntityId, change.Task.Status));
        Assert.NotEmpty(change.Cursor);
    }

    [Fact]
    public async Task Watch_MoreThanAHundredOnOneConnection_LeaveRoomForCalls()
    {
        await using var scene = await Scene.SetAsync(fixture);
        using var handler = new SocketsHttpHandler(); // Of itself it keeps to one connection.
        using var channel = GrpcChannel.ForAddress(scene.Hub.GrpcUrl, new GrpcChannelOptions { HttpHandler = handler });

        for (var i = 0; i < 120; i++)
        {
            await scene.Watch(channel: channel).ReadAsync();
        }

        using var call = new HostService.HostServiceClient(channel).ListHostsAsync(new ListHostsRequest(), scene.AsOwner);
        Assert.Equal(scene.HostId, Assert.Single((await call.ResponseAsync.Within()).Hosts).Id);
    }

    [Fact]
    public async Task Watch_WhileOthersWrite_MissesNoTask()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var writing = Task.Run(async () =>
        {
            for (var i = 0; i < 60; i++)
            {
                await scene.SyncTaskAsync($"task-{i}", "todo");
            }
        });

        await using var watch = scene.Watch();
        var seen = new HashSet<string>();
        while (seen.Count < 60)
        {
            var item = await watch.ReadAsync();
            if (item.Kind == WatchKind.Task)
            {
                seen.Add(item.EntityId);
            }
        }

        await writing.Within();
        Assert.Equal(60, seen.Count);
    }

    [Fact]
    public async Task Watch_FromACursorByGrpc_ShowsExactlyWhatCameAfterIt()
    {
        await using var scene = await Scene.SetAsync(fixture);
        string cursor;
        await using (var first = scene.Watch())
        {
            cursor = (await first.ReadUntilAsync(WatchKind.SnapshotEnd))[^1].Cursor;
        }

        await scene.SyncTaskAsync("one", "todo");
        await scene.SyncTaskAsync("two", "todo");
        await using var second = scene.Watch(request => request.Cursor = cursor);
        var (one, two) = (await second.ReadAsync(), await second.ReadAsync());
        await using var third = scene.Watch(request => request.Cursor = one.Cursor);

        Assert.Equal(("one", "two"), (one.EntityId, two.EntityId));
        Assert.Equal("two", (await third.ReadAsync()).EntityId);
    }

    [Fact]
    public async Task Watch_FromACursorWhosePageIsKept_ShowsWhatCameAfterThePageToo()
    {
        await using var scene = await Scene.SetAsync(fixture);
        string cursor;
        await using (var first = scene.Watch())
        {
            cursor = (await first.ReadUntilAsync(WatchKind.SnapshotEnd))[^1].Cursor;
            await scene.SyncTaskAsync("one", "todo");
            Assert.Equal("one", (await first.ReadAsync()).EntityId); // The page stays while the clock stands still.
        }

        await scene.UntilNobodyWatchesAsync();
        await scene.SyncTaskAsync("two", "todo");
        await using var second = scene.Watch(request => request.Cursor = cursor);

        Assert.Equal("one", (await second.ReadAsync()).EntityId);
        Assert.Equal("two", (await second.ReadAsync()).EntityId);
    }

    [Fact]
    public async Task Watch_FromTheLastEventIdOfServerSentEvents_GoesOnAfterIt()
    {
        await using var scene = await Scene.SetAsync(fixture);
        using var first = await scene.ListenAsync("/api/watch");
        var end = await first.ReadUntilAsync("SNAPSHOT_END");
        await scene.SyncTaskAsync("one", "todo");
        var one = await first.ReadAsync();
        await scene.SyncTaskAsync("two", "todo");

        using var resumed = await scene.ListenAsync("/api/watch", end.Id);
        using var later = await scene.ListenAsync("/api/watch", one.Id);

        Assert.Equal(("TASK", "one"), (one.Event, one.Data.GetProperty("entityId").GetString()));
        Assert.Equal("one", (await resumed.ReadAsync()).Data.GetProperty("entityId").GetString());
        Assert.Equal("two", (await resumed.ReadAsync()).Data.GetProperty("entityId").GetString());
        Assert.Equal("two", (await later.ReadAsync()).Data.GetProperty("entityId").GetString());
    }

    [Fact]
    public async Task Watch_FromNow_OpensAtOnceAndShowsOnlyWhatComes()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.SyncTaskAsync("old", "todo");
        using var watch = await scene.ListenAsync("/api/watch?cursor=now"); // Open, although there is nothing to show.

        await scene.SyncTaskAsync("new", "todo");

        Assert.Equal("new", (await watch.ReadAsync()).Data.GetProperty("entityId").GetString());
    }

    [Fact]
    public async Task Watch_FromACursorThatWasRemoved_IsResetAndShowsASnapshot()
    {
        await using var scene = await Scene.SetAsync(fixture);
        string cursor;
        await using (var first = scene.Watch())
        {
            cursor = (await first.ReadUntilAsync(WatchKind.SnapshotEnd))[^1].Cursor;
        }

        await scene.SyncTaskAsync("one", "todo");
        scene.Time.SetClock(scene.Time.GetUtcNow().AddDays(8));
        await scene.Hub.SweepRetentionAsync();
        await scene.RenewAsync();
        await scene.SyncTaskAsync("two", "todo");
        await using var second = scene.Watch(request => request.Cursor = cursor);
        var reset = await second.ReadAsync();
        var snapshot = await second.ReadUntilAsync(WatchKind.SnapshotEnd);

        Assert.Equal(WatchKind.Reset, reset.Kind);
        Assert.Equal(["one", "two"], snapshot.Where(item => item.Kind == WatchKind.Task).Select(item => item.EntityId).Order());
    }

    [Fact]
    public async Task Watch_FromACursorOfTheFuture_IsReset()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var watch = scene.Watch(request => request.Cursor = $"{HubHost.Team}.999999");

        Assert.Equal(WatchKind.Reset, (await watch.ReadAsync()).Kind);
    }

    [Theory]
    [InlineData("other.5")]
    [InlineData("default.-5")]
    [InlineData("nonsense")]
    public async Task Watch_FromACursorOfAnotherTeam_IsRefused(string cursor)
    {
        await using var scene = await Scene.SetAsync(fixture);

        var answer = await scene.Owner.ReadAsync($"/api/watch?cursor={cursor}");

        Assert.Equal("CURSOR_INVALID", answer.Expect(400).Reason);
    }

    [Fact]
    public async Task Ticket_OpensOneWatchWithoutAHeader()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var ticket = (await scene.Owner.WriteAsync("/api/watch/tickets", "{}")).Expect(201).String("ticket");

        using var watch = await EventStream.OpenAsync(scene.Hub.Rest, $"/api/watch?ticket={ticket}");
        await watch.ReadUntilAsync("SNAPSHOT_END");
        var again = await scene.Hub.Rest.ReadAsync($"/api/watch?ticket={ticket}");

        Assert.Equal("TICKET_INVALID", again.Expect(401).Reason);
    }

    [Fact]
    public async Task Ticket_OlderThan60Seconds_IsRefused()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var ticket = (await scene.Owner.WriteAsync("/api/watch/tickets", "{}")).String("ticket");

        scene.Time.Advance(TimeSpan.FromSeconds(60));

        (await scene.Hub.Rest.ReadAsync($"/api/watch?ticket={ticket}")).Expect(401);
    }

    [Fact]
    public async Task Ticket_OfAnApiKeyRevokedSince_IsRefused()
    {
        await using var scene = await Scene.SetAsync(fixture);
        using var script = scene.Hub.As(await scene.Hub.ApiKeyAsync());
        var ticket = (await script.WriteAsync("/api/watch/tickets", "{}")).Expect(201).String("ticket");

        await scene.Hub.Store.WriteAsync(HubHost.Team, tx => tx.Execute("update api_keys set revoked_at = @NowMs", new { tx.NowMs }));

        (await scene.Hub.Rest.ReadAsync($"/api/watch?ticket={ticket}")).Expect(401);
    }

    [Fact]
    public async Task Ephemeral_SetSeveralTimes_ShowsTheLatestPerKey()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();
        await link.SendAsync(EphemeralOf("canvas", "a", "1"));
        await link.SendAsync(EphemeralOf("canvas", "a", "2"));
        await link.SendAsync(EphemeralOf("canvas", "b", "3"));
        await link.SendAsync(RawNode.TaskBatch(1, ("fence", "todo")));
        await link.ReadUntilAsync(frame => frame.Ack is not null); // Frames of a link are taken in order up to here.

        await using var watch = scene.Watch(request => request.Kinds.Add(WatchKind.Ephemeral));
        var latest = new Dictionary<string, string>();
        while (latest.Count < 2 || latest["a"] != "2")
        {
            var item = await watch.ReadAsync();
            if (item.Kind == WatchKind.Ephemeral)
            {
                latest[item.Ephemeral.Key] = item.Ephemeral.Value.StringValue;
                Assert.Empty(item.Cursor);
                Assert.Equal(scene.HostId, item.HostId);
            }
        }

        Assert.Equal("3", latest["b"]);
    }

    [Fact]
    public async Task Ephemeral_WithAMalformedLifetime_IsShownAndDoesNotEndTheLink()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();
        var value = EphemeralOf("canvas", "a", "1");
        value.Ephemeral.Ttl = new Duration { Seconds = long.MaxValue, Nanos = -1 };

        await link.SendAsync(value);
        await link.SendAsync(RawNode.TaskBatch(1, ("fence", "todo")));

        Assert.NotNull((await link.ReadUntilAsync(frame => frame.Ack is not null || frame.Goodbye is not null)).Ack);
    }

    [Fact]
    public async Task Filter_ByHostAndKind_ShowsNothingElse()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var (otherId, otherCredential) = await scene.Hub.ClaimAsync("other");
        using var other = scene.Hub.As(otherCredential);
        await using var watch = scene.Watch(request =>
        {
            request.HostIds.Add(scene.HostId);
            request.Kinds.Add(WatchKind.Task);
        });
        var snapshot = await watch.ReadUntilAsync(WatchKind.SnapshotEnd);

        await other.WriteAsync($"/api/hosts/{otherId}/tasks/sync", """{"tasks":[{"id":"theirs","title":"t","status":"todo"}]}""");
        await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/chat", new { content = "hello" });
        await scene.SyncTaskAsync("ours", "todo");

        Assert.Single(snapshot);
        Assert.Equal("ours", (await watch.ReadAsync()).EntityId);
    }

    [Fact]
    public async Task Watch_OfAnotherTeam_IsNeverSeenAndNeverOpened()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var accounts = scene.Hub.Service<Accounts>();
        await accounts.EnsureTeamAsync("theirs", CancellationToken.None);
        var theirToken = await accounts.IssueUserTokenAsync(
            "them@example.com", "theirs", TeamRole.Owner, TimeSpan.FromHours(1), CancellationToken.None);
        using var them = scene.Hub.As(theirToken);
        await using var watch = scene.Watch();
        await watch.ReadUntilAsync(WatchKind.SnapshotEnd);
        using var theirs = await EventStream.OpenAsync(them, "/api/watch");
        await theirs.ReadUntilAsync("SNAPSHOT_END");

        var joinToken = (await them.WriteAsync("/api/hosts/register-token", "{}")).String("registerToken.joinToken");
        await scene.Hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken, name = "their host" });
        await scene.SyncTaskAsync("ours", "todo");

        Assert.Equal("ours", (await watch.ReadAsync()).EntityId);
        Assert.Equal("HOST", (await theirs.ReadAsync()).Event);
        (await them.ReadAsync($"/api/watch?team_id={HubHost.Team}")).Expect(404);
    }

    [Fact]
    public async Task Watch_OfAPersonWhoLeftTheTeam_EndsWithinAMinute()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var watch = scene.Watch();
        await watch.ReadUntilAsync(WatchKind.SnapshotEnd);
        await scene.SyncTaskAsync("seen", "todo");
        await watch.ReadAsync(); // The watch waits on the clock from here on.

        await scene.Hub.Store.WriteAsync(global::Hub.Storage.Store.SystemTeam, tx => tx.Execute("delete from team_members", new { }));
        scene.Time.Advance(TimeSpan.FromSeconds(60));
        await scene.SyncTaskAsync("unseen", "todo");

        var refusal = await Assert.ThrowsAsync<RpcException>(() => watch.ReadUntilAsync(WatchKind.SnapshotEnd));
        Assert.Equal(StatusCode.NotFound, refusal.StatusCode);
        Assert.DoesNotContain("unseen", watch.Seen);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Watch_AfterItsTokenEnded_EndsWithinAMinute(bool byTicket)
    {
        await using var scene = await Scene.SetAsync(fixture);
        var ticket = byTicket ? (await scene.Owner.WriteAsync("/api/watch/tickets", "{}")).Expect(201).String("ticket") : "";
        await using var watch = scene.Watch(request => request.Ticket = ticket);
        await watch.ReadUntilAsync(WatchKind.SnapshotEnd);

        scene.Time.SetClock(scene.Time.GetUtcNow().AddHours(2));
        var ended = Assert.ThrowsAsync<RpcException>(() => watch.ReadUntilAsync(WatchKind.SnapshotEnd));
        // The watch begins to wait at a moment of its own, so one minute may pass before it does; the next one then ends it.
        for (var minute = 0; minute < MinutesMax && !ended.IsCompleted; minute++)
        {
            scene.Time.Advance(TimeSpan.FromSeconds(60));
            await scene.SyncTaskAsync($"task-{minute}", "todo");
        }

        var refusal = await ended;
        Assert.Equal(StatusCode.Unauthenticated, refusal.StatusCode);
    }

    private static ConnectRequest EphemeralOf(string kind, string key, string value) =>
        new() { Ephemeral = new Ephemeral { Kind = kind, Key = key, Value = Value.ForString(value) } };

    /// <summary>A Hub whose clock stands still, with a host and a person.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private readonly string _credential;
        private HttpClient _node;
        private string _token;

        private Scene(HubHost hub, ManualTimeProvider time, string hostId, string credential, string token)
        {
            (Hub, Time, HostId, _credential, _token) = (hub, time, hostId, credential, token);
            (_node, Owner) = (hub.As(credential), hub.As(token));
        }

        public HubHost Hub { get; }

        public ManualTimeProvider Time { get; }

        public string HostId { get; }

        public HttpClient Owner { get; private set; }

        public static async Task<Scene> SetAsync(StoreFixture fixture)
        {
            var time = new ManualTimeProvider();
            var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
            var (hostId, credential) = await hub.ClaimAsync();
            return new Scene(hub, time, hostId, credential, await hub.UserTokenAsync());
        }

        /// <summary>A new token for the person, after the clock went past the old one.</summary>
        public async Task RenewAsync()
        {
            Owner.Dispose();
            _token = await Hub.UserTokenAsync();
            Owner = Hub.As(_token);
        }

        public async Task SyncTaskAsync(string id, string status) =>
            (await _node.WriteAsync($"/api/hosts/{HostId}/tasks/sync", new { tasks = new[] { new { id, title = id, status } } })).Expect(200);

        public async Task<RawNode> ConnectAsync()
        {
            var link = await RawNode.ConnectAsync(Hub, _credential);
            await link.ReadAsync();
            return link;
        }

        /// <summary>For calls of the person.</summary>
        public CallOptions AsOwner => HubHost.With(_token);

        public WatchStream Watch(Action<WatchRequest>? change = null, GrpcChannel? channel = null)
        {
            var request = new WatchRequest();
            change?.Invoke(request);
            return new WatchStream(new WatchService.WatchServiceClient(channel ?? Hub.Channel).Watch(request, AsOwner));
        }

        /// <summary>The Hub has noticed that every watcher went.</summary>
        public Task UntilNobodyWatchesAsync() =>
            Polling.UntilAsync(() => Task.FromResult(Hub.Store.Events.WatchedTeams().Count == 0), () => "A watch stays open.");

        public Task<EventStream> ListenAsync(string path, string? lastEventId = null) => EventStream.OpenAsync(Owner, path, lastEventId);

        public async ValueTask DisposeAsync()
        {
            _node.Dispose();
            Owner.Dispose();
            await Hub.DisposeAsync();
        }
    }

    private sealed class WatchStream(AsyncServerStreamingCall<WatchResponse> call) : IAsyncDisposable
    {
        public List<string> Seen { get; } = [];

        public async Task<WatchResponse> ReadAsync()
        {
            Assert.True(await call.ResponseStream.MoveNext(CancellationToken.None).Within(), "the watch ended");
            Seen.Add(call.ResponseStream.Current.EntityId);
            return call.ResponseStream.Current;
        }

        public async Task<IReadOnlyList<WatchResponse>> ReadUntilAsync(WatchKind kind)
        {
            var read = new List<WatchResponse>();
            while (read.Count == 0 || read[^1].Kind != kind)
            {
                read.Add(await ReadAsync());
            }

            return read;
        }

        public ValueTask DisposeAsync()
        {
            call.Dispose();
            return ValueTask.CompletedTask;
        }
    }

    private sealed record ServerSentEvent(string Id, string Event, JsonElement Data);

    private sealed class EventStream(HttpResponseMessage response, StreamReader reader) : IDisposable
    {
        public static async Task<EventStream> OpenAsync(HttpClient client, string path, string? lastEventId = null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, path);
            request.Headers.TryAddWithoutValidation("accept", "text/event-stream");
            if (lastEventId is not null)
            {
                request.Headers.TryAddWithoutValidation("last-event-id", lastEventId);
            }

            var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead).Within();
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
            return new EventStream(response, new StreamReader(await response.Content.ReadAsStreamAsync()));
        }

        /// <summary>The next event; comments that keep the connection open are skipped.</summary>
        public async Task<ServerSentEvent> ReadAsync()
        {
            var (id, name, data) = ("", "", "");
            while (await reader.ReadLineAsync().Within() is { } line)
            {
                if (line.Length == 0 && data.Length > 0)
                {
                    return new ServerSentEvent(id, name, JsonDocument.Parse(data).RootElement);
                }

                var value = line.Length > 0 ? line[(line.IndexOf(':', StringComparison.Ordinal) + 1)..].TrimStart() : "";
                (id, name, data) = line switch
                {
                    _ when line.StartsWith("id:", StringComparison.Ordinal) => (value, name, data),
                    _ when line.StartsWith("event:", StringComparison.Ordinal) => (id, value, data),
                    _ when line.StartsWith("data:", StringComparison.Ordinal) => (id, name, data + value),
                    _ => (id, name, data),
                };
            }

            throw new EndOfStreamException();
        }

        public async Task<ServerSentEvent> ReadUntilAsync(string name)
        {
            while (true)
            {
                var read = await ReadAsync();
                if (read.Event == name)
                {
                    return read;
                }
            }
        }

        public void Dispose()
        {
            reader.Dispose();
            response.Dispose();
        }
    }
}

public sealed class SqliteWatchTests(SqliteStoreFixture fixture) : WatchTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresWatchTests(PostgresStoreFixture fixture) : WatchTests(fixture), IClassFixture<PostgresStoreFixture>;
