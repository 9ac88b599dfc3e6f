using Hub.Links;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Links;

/// <summary>What another replica sees of a process that was killed.</summary>
public abstract class ReplicaTests(StoreFixture fixture)
{
    [Fact]
    public async Task Renew_AReplicaSilentFor15Seconds_EndsItsLinksAndSuspectsItsHosts()
    {
        await using var scene = await SetAsync();
        var (time, hub, hostId) = (scene.Time, scene.Hub, scene.HostId);
        await hub.Store.WriteAsync(Store.SystemTeam, tx => tx.Execute("update links set replica_id = 'replica-killed'"));
        await hub.Store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute("insert into replicas (replica_id, started_at, renewed_at) values ('replica-killed', 0, @NowMs)", new { tx.NowMs }));

        await RenewAsync(hub);
        var before = await StateAsync(hub, hostId);
        time.SetClock(time.GetUtcNow().AddSeconds(15)); // No timer fires: the Hub's own presence stays out of it.
        await RenewAsync(hub);

        Assert.Equal(("LIVE", "ONLINE", "LINK"), before);
        Assert.Equal(("ENDED", "SUSPECT", "REPLICA_LOST"), await StateAsync(hub, hostId));
    }

    [Fact]
    public async Task Renew_OfAReplicaThatWasTakenForLost_AssertsItsLiveLinksAgain()
    {
        await using var scene = await SetAsync();
        var (time, hub, hostId) = (scene.Time, scene.Hub, scene.HostId);
        await LoseAsync(hub, time);
        var lost = await StateAsync(hub, hostId);

        await hub.RenewReplicaAsync();

        Assert.Equal(("ENDED", "SUSPECT", "REPLICA_LOST"), lost);
        Assert.Equal(("LIVE", "ONLINE", "LINK"), await StateAsync(hub, hostId));
    }

    [Fact]
    public async Task Renew_OfAReplicaWithMoreLinksThanOneJobAsserts_AssertsAll()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var nodes = new List<RawNode>();
        for (var i = 0; i <= LinkClock.AssertedLinksMax; i++)
        {
            var node = await RawNode.ConnectAsync(hub, (await hub.ClaimAsync($"node-{i}")).Credential);
            await node.ReadAsync();
            nodes.Add(node);
        }

        await LoseAsync(hub, time);
        var lost = await LiveAsync(hub);
        await hub.RenewReplicaAsync();

        Assert.Equal(0, lost);
        Assert.Equal(nodes.Count, await LiveAsync(hub));
        foreach (var node in nodes)
        {
            await node.DisposeAsync();
        }
    }

    [Fact]
    public async Task Renew_OfAReplicaThatWasTakenForLost_LeavesAHostThatDialledElsewhere()
    {
        await using var scene = await SetAsync();
        var (time, hub, hostId) = (scene.Time, scene.Hub, scene.HostId);
        await LoseAsync(hub, time);
        await hub.Store.WriteAsync(HubHost.Team, tx => tx.RaiseEpoch(hostId));

        await hub.RenewReplicaAsync();

        Assert.Equal(("ENDED", "SUSPECT", "REPLICA_LOST"), await StateAsync(hub, hostId));
    }

    [Fact]
    public async Task Renew_AfterTheStoreWasAwayForAll_GivesTheOthersTheirTimeFirst()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        await hub.Store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute("insert into replicas (replica_id, started_at, renewed_at) values ('replica-other', 0, @NowMs)", new { tx.NowMs }));
        Task<bool> KnowsOtherAsync() => hub.Store.ReadAsync(
            TeamScope.System, reader => reader.QuerySingleAsync<bool>("select exists(select 1 from replicas where replica_id = 'replica-other')"));

        time.SetClock(time.GetUtcNow().AddSeconds(60)); // No timer fires: nobody has renewed.
        await hub.RenewReplicaAsync();
        var first = await KnowsOtherAsync();
        time.SetClock(time.GetUtcNow().AddSeconds(10));
        await hub.RenewReplicaAsync();
        var second = await KnowsOtherAsync();
        time.SetClock(time.GetUtcNow().AddSeconds(5));
        await hub.RenewReplicaAsync();

        Assert.True(first);
        Assert.True(second);
        Assert.False(await KnowsOtherAsync());
    }

    private static Task<long> LiveAsync(HubHost hub) => hub.Store.ReadAsync(
        TeamScope.System, reader => reader.QuerySingleAsync<long>("select count(*) from links where state = 'LIVE'")).Within();

    private async Task<Scene> SetAsync()
    {
        var time = new ManualTimeProvider();
        var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        return new Scene(time, hub, hostId, node);
    }

    /// <summary>What another replica does when this one has stood still for too long.</summary>
    private static async Task LoseAsync(HubHost hub, ManualTimeProvider time)
    {
        time.SetClock(time.GetUtcNow().AddSeconds(15));
        await hub.Store.WriteAsync(Store.SystemTeam, tx => LinkClock.Renew(tx, "replica-other", judgeOthers: true));
    }

    private static Task<bool> RenewAsync(HubHost hub) =>
        hub.Store.WriteAsync(Store.SystemTeam, tx => LinkClock.Renew(tx, hub.Service<LinkRegistry>().ReplicaId, judgeOthers: true));

    private static Task<(string Link, string Host, string Reason)> StateAsync(HubHost hub, string hostId) =>
        hub.Store.ReadAsync(
            TeamScope.System,
            reader => reader.QuerySingleAsync<(string, string, string)>(
                "select l.state, h.state, h.state_reason from links l join hosts h on h.host_id = l.host_id where l.host_id = @hostId", new { hostId }));

    /// <summary>A Hub whose clock stands still, with one live link.</summary>
    private sealed record Scene(ManualTimeProvider Time, HubHost Hub, string HostId, RawNode Node) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Node.DisposeAsync();
            await Hub.DisposeAsync();
        }
    }
}

public sealed class SqliteReplicaTests(SqliteStoreFixture fixture) : ReplicaTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresReplicaTests(PostgresStoreFixture fixture) : ReplicaTests(fixture), IClassFixture<PostgresStoreFixture>;
