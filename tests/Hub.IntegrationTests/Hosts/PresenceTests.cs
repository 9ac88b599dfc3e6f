using Dapper;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>Whether a host is in contact, by the Hub's clock, which moves only when a test says so.</summary>
public abstract class PresenceTests(StoreFixture fixture)
{
    [Fact]
    public async Task RestNode_ThatFallsSilent_IsSuspectAfter60SecondsAndOfflineAfter90()
    {
        await using var scene = await Scene.SetAsync(fixture);
        var started = scene.Time.GetUtcNow();

        var online = await scene.HostAsync();
        var almost = await scene.HostAsync(after: 59);
        var suspect = await scene.HostAsync(after: 1);
        var still = await scene.HostAsync(after: 29);
        var offline = await scene.HostAsync(after: 1);

        Assert.Equal(("ONLINE", "REST", started), online);
        Assert.Equal(("ONLINE", "REST", started), almost);
        Assert.Equal(("SUSPECT", "SILENT", started.AddSeconds(60)), suspect);
        Assert.Equal(suspect, still);
        Assert.Equal(("OFFLINE", "SILENT", started.AddSeconds(90)), offline);
    }

    [Fact]
    public async Task RestNode_WithALongPeriod_IsGivenThreeOfThem()
    {
        await using var scene = await Scene.SetAsync(fixture);
        for (var i = 0; i < 3; i++)
        {
            await scene.HostAsync(after: 50);
            await scene.HeartbeatAsync();
        }

        var suspect = await scene.HostAsync(after: 149);
        var offline = await scene.HostAsync(after: 1);

        Assert.Equal("SUSPECT", suspect.State);
        Assert.Equal("OFFLINE", offline.State);
    }

    [Fact]
    public async Task RestNode_ThatComesBack_IsOnlineAtOnce()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.HostAsync(after: 600);
        await scene.HeartbeatAsync();

        Assert.Equal(("ONLINE", "REST", scene.Time.GetUtcNow()), await scene.HostAsync());
    }

    [Fact]
    public async Task Link_ThatFallsSilent_IsSuspectAfterOneAndAHalfIntervals()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();
        var opened = scene.Time.GetUtcNow();

        var online = await scene.HostAsync();
        var almost = await scene.HostAsync(after: 37);
        var suspect = await scene.HostAsync(after: 1);

        Assert.Equal(("ONLINE", "LINK"), (online.State, online.Reason));
        Assert.Equal("ONLINE", almost.State);
        Assert.Equal(("SUSPECT", "SILENT", opened.AddSeconds(38)), suspect);
    }

    [Fact]
    public async Task Link_WithNothingToCarry_HasTheNodeHearOfTheHubEvery15Seconds()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();

        for (var heard = 0; heard < 3; heard++)
        {
            scene.Time.Advance(TimeSpan.FromSeconds(15));
            await link.ReadUntilAsync(frame => frame.FrameCase == ConnectResponse.FrameOneofCase.Heartbeat);
        }
    }

    [Fact]
    public async Task Link_SilentFor2Point5Intervals_IsOfflineAndToldGoodbye()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();

        var offline = await scene.HostAsync(after: 63);
        scene.Time.Advance(TimeSpan.FromSeconds(63)); // The link's own clock is the monotonic one.
        var last = (await link.ReadUntilEndAsync())[^1];

        Assert.Equal("OFFLINE", offline.State);
        Assert.Equal(GoodbyeReason.Silent, last.Goodbye.Reason);
    }

    [Fact]
    public async Task Link_ThatFallsSilentWhileTheStoreIsOut_IsSuspectAtOnceAndInTheStoreWhenItIsBack()
    {
        var isOut = false;
        const string SuspectHosts = "select count(*) from hosts where state = 'SUSPECT'";
        var options = (await fixture.CreateDatabaseAsync()) with
        {
            FaultInjector = _ =>
            {
                if (Volatile.Read(ref isOut))
                {
                    throw new IOException("out");
                }
            },
        };
        await using var scene = await Scene.SetAsync(fixture, options);
        await using var link = await scene.ConnectAsync();
        var opened = scene.Time.GetUtcNow();

        Volatile.Write(ref isOut, true);
        var meanwhile = await scene.HostAsync(after: 38);
        var storedMeanwhile = scene.Scalar(SuspectHosts);
        Volatile.Write(ref isOut, false);
        var suspect = await scene.HostAsync(after: 5);

        Assert.Equal(("SUSPECT", "SILENT", opened.AddSeconds(38)), meanwhile);
        Assert.Equal(0, storedMeanwhile);
        Assert.Equal(meanwhile, suspect);
        Assert.Equal(1, scene.Scalar(SuspectHosts));
    }

    [Fact]
    public async Task Link_ThatEnds_IsSuspectWithItsReasonThenOffline()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using (var link = await scene.ConnectAsync())
        {
            await link.CompleteAsync();
            await link.ReadUntilEndAsync();
        }

        var suspect = await scene.HostAsync();
        var offline = await scene.HostAsync(after: 63);

        Assert.Equal(("SUSPECT", "LINK_ENDED"), (suspect.State, suspect.Reason));
        Assert.Equal(("OFFLINE", "LINK_ENDED"), (offline.State, offline.Reason));
    }

    [Theory]
    [InlineData(38, "SUSPECT")]
    [InlineData(63, "OFFLINE")]
    public async Task Link_ThatEndsAfterItFellSilent_LeavesItsHostAsItIs(int silentSeconds, string state)
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var link = await scene.ConnectAsync();

        var silent = await scene.HostAsync(after: silentSeconds);
        await link.CompleteAsync();
        await link.ReadUntilEndAsync();

        Assert.Equal((state, "SILENT"), (silent.State, silent.Reason));
        Assert.Equal(silent, await scene.HostAsync());
    }

    [Fact]
    public async Task Heartbeats_EveryFewSeconds_CostOneRowWritePerMinute()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.HostAsync(after: 61); // What the claim left is written.
        await scene.HeartbeatAsync();
        await scene.Hub.SweepPresenceAsync();

        var written = new List<long>();
        for (var i = 0; i < 30; i++)
        {
            scene.Time.SetClock(scene.Time.GetUtcNow().AddSeconds(4));
            await scene.HeartbeatAsync();
            await scene.Hub.SweepPresenceAsync();
            written.Add(scene.Scalar("select last_seen_at from hosts"));
        }

        Assert.InRange(written.Distinct().Count(), 1, 3);
        Assert.Equal("ONLINE", (await scene.HostAsync()).State);
    }

    [Fact]
    public async Task Heartbeats_OfAHostThatStaysOnline_AreNoEvents()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.HeartbeatAsync();
        var before = scene.Scalar("select count(*) from events");

        for (var i = 0; i < 10; i++)
        {
            scene.Time.SetClock(scene.Time.GetUtcNow().AddSeconds(20));
            await scene.HeartbeatAsync();
            await scene.Hub.SweepPresenceAsync();
        }

        Assert.Equal(before, scene.Scalar("select count(*) from events"));
    }

    [Fact]
    public async Task Link_ThatOpened_IsNoEventAgainWithTheNextSweep()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var node = await scene.ConnectAsync("node");
        var before = scene.Scalar("select count(*) from events");

        await scene.Hub.SweepPresenceAsync();

        Assert.Equal(before, scene.Scalar("select count(*) from events"));
    }

    [Fact]
    public async Task Hub_ThatRestarts_TellsOfNoHostBeforeItsStateChanges()
    {
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync();
        await using (var first = await HubHost.StartAsync(fixture, options, time))
        {
            await first.ClaimAsync();
            await first.SweepPresenceAsync();
        }

        using var connection = fixture.Connect(options);
        const string numberAndSince = "select event_seq, state_since from team_counters cross join hosts";
        var before = connection.QuerySingle<(long, long)>(numberAndSince);
        time.SetClock(time.GetUtcNow().AddMinutes(30));
        await using var second = await HubHost.StartAsync(fixture, options, time);

        await second.SweepPresenceAsync();

        Assert.Equal(before, connection.QuerySingle<(long, long)>(numberAndSince));
    }

    [Fact]
    public async Task Hosts_ThatFallSilentTogether_AreWrittenWithOneCommit()
    {
        const int hosts = 20;
        var time = new ManualTimeProvider();
        var commits = 0;
        var options = await fixture.CreateDatabaseAsync() with { FaultInjector = step => Interlocked.Add(ref commits, step == WriteStep.AfterCommit ? 1 : 0) };
        await using var hub = await HubHost.StartAsync(fixture, options, time);
        for (var i = 0; i < hosts; i++)
        {
            await hub.ClaimAsync();
        }

        await hub.SweepPresenceAsync();
        time.SetClock(time.GetUtcNow().AddSeconds(60));
        var before = Volatile.Read(ref commits);
        await hub.SweepPresenceAsync();

        using var connection = fixture.Connect(options);
        Assert.Equal(hosts, connection.QuerySingle<long>("select count(*) from hosts where state = 'SUSPECT'"));
        Assert.InRange(Volatile.Read(ref commits) - before, 1, 2); // The states, and the contacts of the last minute.
    }

    [Fact]
    public async Task Probe_WithAPersonsToken_DoesNotCountAsContact()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await scene.HostAsync(after: 90);

        var probe = (await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/heartbeat", """{"agents":[{"id":"smoke"}]}""")).Expect(200);

        Assert.Equal("offline", probe.String("host.status"));
        Assert.Equal("OFFLINE", (await scene.HostAsync()).State);
        Assert.Equal(0, (await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}"))["host.agents"].GetArrayLength());
    }

    [Fact]
    public async Task Hub_ThatRestarts_GivesHostsTheirTimeToComeBack()
    {
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync();
        string hostId;
        await using (var first = await HubHost.StartAsync(fixture, options, time))
        {
            (hostId, _) = await first.ClaimAsync();
        }

        time.SetClock(time.GetUtcNow().AddMinutes(30));
        await using var second = await HubHost.StartAsync(fixture, options, time);
        using var owner = second.As(await second.UserTokenAsync());
        var adopted = (await owner.ReadAsync($"/api/hosts/{hostId}")).String("host.status");
        time.SetClock(time.GetUtcNow().AddSeconds(90));
        await second.SweepPresenceAsync();

        Assert.Equal("online", adopted);
        Assert.Equal("offline", (await owner.ReadAsync($"/api/hosts/{hostId}")).String("host.status"));
    }

    [Fact]
    public async Task ClonedIdentity_TwoNodesThatAlternate_TheYoungerIsRefusedUntilReleased()
    {
        await using var scene = await Scene.SetAsync(fixture);
        for (var i = 0; i < 5; i++)
        {
            await using var node = await scene.ConnectAsync(i % 2 == 0 ? "elder" : "younger");
        }

        await using var younger = await RawNode.ConnectAsync(scene.Hub, scene.Credential, "younger");
        var goodbye = (await younger.ReadAsync()).Goodbye;
        var flagged = await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}");
        await using var elder = await scene.ConnectAsync("elder");
        var released = (await scene.Owner.WriteAsync($"/api/hosts/{scene.HostId}/release", "{}")).Expect(200);
        await using var welcome = await scene.ConnectAsync("younger");

        Assert.Equal(GoodbyeReason.ClonedIdentity, goodbye.Reason);
        Assert.Equal(TimeSpan.FromMinutes(15), goodbye.RetryAfter.ToTimeSpan());
        var refusal = await Assert.ThrowsAsync<RpcException>(younger.ReadAsync);
        Assert.Equal(StatusCode.FailedPrecondition, refusal.StatusCode);
        Assert.True(flagged["host.clonedIdentity"].GetBoolean());
        Assert.False(released["host.clonedIdentity"].GetBoolean());
    }

    [Fact]
    public async Task ClonedIdentity_TheElderSilentFor5Minutes_TheYoungerIsAdmitted()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using (var elder = await scene.QuarantineAsync())
        {
            await elder.CompleteAsync();
            await elder.ReadUntilEndAsync();
        }

        scene.Time.SetClock(scene.Time.GetUtcNow().AddSeconds(301));

        await using var admitted = await scene.ConnectAsync("younger");
    }

    [Fact]
    public async Task ClonedIdentity_TheYoungerStaysAwayAsTold_StaysInQuarantine()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var elder = await scene.QuarantineAsync();

        scene.Time.SetClock(scene.Time.GetUtcNow().AddMinutes(15));
        await scene.Hub.SweepQuarantinesAsync();

        Assert.True(await scene.IsClonedAsync());
        await using var younger = await RawNode.ConnectAsync(scene.Hub, scene.Credential, "younger");
        Assert.Equal(GoodbyeReason.ClonedIdentity, (await younger.ReadAsync()).Goodbye.Reason);
    }

    [Fact]
    public async Task ClonedIdentity_TheYoungerSilent5MinutesLongerThanTold_EndsAndIsShownSo()
    {
        await using var scene = await Scene.SetAsync(fixture);
        await using var elder = await scene.QuarantineAsync();

        scene.Time.SetClock(scene.Time.GetUtcNow().AddMinutes(20).AddSeconds(1));
        await scene.Hub.SweepQuarantinesAsync();

        Assert.False(await scene.IsClonedAsync());
    }

    [Fact]
    public async Task ClonedIdentity_OfAHubThatStartedSince_EndsWithTheNextHello()
    {
        var options = await fixture.CreateDatabaseAsync();
        string credential, hostId;
        await using (var scene = await Scene.SetAsync(fixture, options))
        {
            await using var elder = await scene.QuarantineAsync();
            (hostId, credential) = (scene.HostId, scene.Credential);
        }

        await using var hub = await HubHost.StartAsync(fixture, options);
        using var owner = hub.As(await hub.UserTokenAsync());
        var before = await owner.ReadAsync($"/api/hosts/{hostId}");
        await using var node = await RawNode.ConnectAsync(hub, credential, "elder");
        Assert.NotNull((await node.ReadAsync()).Welcome);
        var after = await owner.ReadAsync($"/api/hosts/{hostId}");

        Assert.True(before["host.clonedIdentity"].GetBoolean());
        Assert.False(after["host.clonedIdentity"].GetBoolean());
    }

    [Fact]
    public async Task Restarts_OfOneNode_AreNeverTakenForAClone()
    {
        await using var scene = await Scene.SetAsync(fixture);

        for (var i = 0; i < 12; i++)
        {
            await using var node = await scene.ConnectAsync($"start-{i}");
        }
    }

    /// <summary>A Hub whose clock stands still, with a host in contact by REST.</summary>
    private sealed class Scene(HubHost hub, ManualTimeProvider time, string hostId, string credential, HttpClient owner, Func<string, long> scalar)
        : IAsyncDisposable
    {
        private readonly HttpClient _node = hub.As(credential);

        public HubHost Hub => hub;

        public ManualTimeProvider Time => time;

        public string HostId => hostId;

        public string Credential => credential;

        public HttpClient Owner => owner;

        public static async Task<Scene> SetAsync(StoreFixture fixture, StoreOptions? given = null)
        {
            var time = new ManualTimeProvider();
            var options = given ?? await fixture.CreateDatabaseAsync();
            var hub = await HubHost.StartAsync(fixture, options, time);
            var (hostId, credential) = await hub.ClaimAsync();
            long Scalar(string sql)
            {
                using var connection = fixture.Connect(options);
                using var command = connection.CreateCommand();
                command.CommandText = sql;
                return Convert.ToInt64(command.ExecuteScalar(), null);
            }

            return new Scene(hub, time, hostId, credential, hub.As(await hub.UserTokenAsync()), Scalar);
        }

        /// <summary>What a connection beside the Hub reads.</summary>
        public long Scalar(string sql) => scalar(sql);

        public async Task<RawNode> ConnectAsync(string instanceId = "instance")
        {
            var node = await RawNode.ConnectAsync(hub, credential, instanceId);
            Assert.NotNull((await node.ReadAsync()).Welcome);
            return node;
        }

        /// <summary>Two nodes alternate until the younger one is kept out.</summary>
        /// <returns>The link of the elder one.</returns>
        public async Task<RawNode> QuarantineAsync()
        {
            for (var i = 0; i < 5; i++)
            {
                await using var node = await ConnectAsync(i % 2 == 0 ? "elder" : "younger");
            }

            await using (var refused = await RawNode.ConnectAsync(hub, credential, "younger"))
            {
                Assert.NotNull((await refused.ReadAsync()).Goodbye);
            }

            return await ConnectAsync("elder");
        }

        public async Task<bool> IsClonedAsync() => (await owner.ReadAsync($"/api/hosts/{hostId}"))["host.clonedIdentity"].GetBoolean();

        public async Task HeartbeatAsync() =>
            (await _node.WriteAsync($"/api/hosts/{hostId}/heartbeat", """{"contractVersion":"host-heartbeat.v1","agents":[],"activeTasks":[]}""")).Expect(200);

        /// <summary>State, reason and since, after so many seconds more.</summary>
        public async Task<(string State, string Reason, DateTimeOffset Since)> HostAsync(int after = 0)
        {
            time.SetClock(time.GetUtcNow().AddSeconds(after)); // Not the Hub's timers: nothing sweeps beside the test.
            await hub.SweepPresenceAsync();
            var host = (await owner.ReadAsync($"/api/hosts/{hostId}"))["host"];
            return (
                host.GetProperty("state").GetString()!, host.GetProperty("stateReason").GetString()!,
                host.GetProperty("stateSince").GetDateTimeOffset());
        }

        public async ValueTask DisposeAsync()
        {
            _node.Dispose();
            owner.Dispose();
            await hub.DisposeAsync();
        }
    }
}

public sealed class SqlitePresenceTests(SqliteStoreFixture fixture) : PresenceTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresPresenceTests(PostgresStoreFixture fixture) : PresenceTests(fixture), IClassFixture<PostgresStoreFixture>;
