using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

/// <summary>Bulk jobs behind urgent ones.</summary>
public abstract class BulkTests(StoreFixture fixture)
{
    private const string Team = "team";
    private const int BulkJobs = 200;

    [Fact]
    public async Task Write_WhileBulkWaits_GoesFirstAndBulkIsDoneInOrder()
    {
        using var firstGroup = new ManualResetEventSlim();
        await using var store = await fixture.OpenAsync(await fixture.CreateDatabaseAsync());
        var fence = await LinkAsync(store);
        var order = new List<string>(); // Only the writer's thread adds.
        var blocking = store.WriteAsync(Team, _ => firstGroup.Wait(WithinExtensions.DefaultLimit));

        var bulk = Enumerable.Range(0, BulkJobs)
            .Select(i => store.WriteBulkAsync(Team, fence, tx => Note(tx, order, $"bulk {i}"))).ToArray();
        var urgent = store.WriteAsync(Team, tx => Note(tx, order, "urgent"));
        firstGroup.Set();
        await Task.WhenAll([blocking, urgent, .. bulk]).Within();

        Assert.Equal(["urgent", .. Enumerable.Range(0, BulkJobs).Select(i => $"bulk {i}")], order);
    }

    private static bool Note(StoreTransaction tx, List<string> order, string what)
    {
        tx.OnCommitted(() => order.Add(what));
        return true;
    }

    private static async Task<Fence> LinkAsync(Store store)
    {
        await store.WriteAsync(Store.SystemTeam, tx => tx.Execute("insert into teams (team_id, name, created_at) values ('team', 'team', 0)"));
        await store.WriteAsync(
            Team,
            tx =>
            {
                tx.Execute(
                    """
                    insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason,
                        state_since, heartbeat, node_status, created_at)
                    values ('host', 'team', '', '', '', '', '', '', '', '', 0, '', '', 0)
                    """);
                tx.Execute(
                    """
                    insert into links (host_id, team_id, epoch, journal_id, journal_epoch, instance_id, link_id, replica_id, state, protocol,
                        command_types, connected_at, commands_seq, chat_seq, data_seq, bulk_seq, chat_down_seq, chat_down_acked)
                    values ('host', 'team', 1, '', 0, '', '', '', '', 0, '', 0, 0, 0, 0, 0, 0, 0)
                    """);
            });
        return new Fence("host", 1);
    }
}

public sealed class SqliteBulkTests(SqliteStoreFixture fixture) : BulkTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresBulkTests(PostgresStoreFixture fixture) : BulkTests(fixture), IClassFixture<PostgresStoreFixture>;
