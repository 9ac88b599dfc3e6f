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
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        await hub.Store.WriteAsync(Store.SystemTeam, tx => tx.Execute("update links set replica_id = 'replica-killed'"));
        await hub.Store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute("insert into replicas (replica_id, started_at, renewed_at) values ('replica-killed', 0, @NowMs)", new { tx.NowMs }));

        await RenewAsync(hub);
        var before = await StateAsync(hub, hostId);
        time.Advance(TimeSpan.FromSeconds(15));
        await RenewAsync(hub);

        Assert.Equal(("LIVE", "ONLINE", "LINK"), before);
        Assert.Equal(("ENDED", "SUSPECT", "REPLICA_LOST"), await StateAsync(hub, hostId));
    }

    private static Task RenewAsync(HubHost hub) =>
        hub.Store.WriteAsync(Store.SystemTeam, tx => LinkClock.Renew(tx, hub.Service<LinkRegistry>().ReplicaId));

    private static Task<(string Link, string Host, string Reason)> StateAsync(HubHost hub, string hostId) =>
        hub.Store.ReadAsync(
            TeamScope.System,
            reader => reader.QuerySingleAsync<(string, string, string)>(
                "select l.state, h.state, h.state_reason from links l join hosts h on h.host_id = l.host_id where l.host_id = @hostId", new { hostId }));
}

public sealed class SqliteReplicaTests(SqliteStoreFixture fixture) : ReplicaTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresReplicaTests(PostgresStoreFixture fixture) : ReplicaTests(fixture), IClassFixture<PostgresStoreFixture>;
