using Dapper;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

/// <summary>A store from before records said whether they are history has them say so, and keeps its events.</summary>
public abstract class HistoryMigrationTests(StoreFixture fixture)
{
    private const int Before = 10;

    [Fact]
    public async Task Open_OlderStore_MarksWhatIsHistoryAndKeepsEvents()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using (var old = await fixture.OpenAsync(options with { Migrations = [.. Migration.Embedded().Take(Before)] }))
        {
            await old.WriteAsync(Store.SystemTeam, Fill).Within();
        }

        await using var store = await fixture.OpenAsync(options with { Migrations = Migration.Embedded() });

        using var connection = fixture.Connect(options);
        var marked = connection.Query<(string Collection, string Status)>("select collection, status from records where is_history = 1").ToHashSet();
        Assert.Equal(
            [.. Records().Where(record => IsHistory(record.Collection, record.Status)).Order()],
            marked.Select(record => (record.Collection, record.Status)).Order());
        Assert.Equal(
            [(1, "host", "first"), (2, null, "second")],
            connection.Query<(long, string?, string)>("select seq, host_id, entity_id from events order by seq"));
    }

    private static void Fill(StoreTransaction tx)
    {
        tx.Execute("insert into teams (team_id, name, created_at) values ('team', 'n', 1)");
        tx.Execute(
            """
            insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason, state_since,
                heartbeat, node_status, created_at)
            values ('host', 'team', 'n', '', '', '', '', '', 'NEW', 'UNSPECIFIED', 1, '', '', 1)
            """);
        var stored = Records().Select(record => (record.Collection, record.Status, DeletedAt: (long?)null));
        foreach (var (collection, status, deletedAt) in stored.Append(("tasks", "done", 1)))
        {
            tx.Execute(
                """
                insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
                    parent_id, body, body_hash, changed_at, deleted_at)
                values ('team', 'host', @collection, @id, 1, '', 0, 'node', '', @status, '', '', '', @body, '', 1, @deletedAt)
                """,
                new { collection, id = $"{status} {deletedAt}", status, body = Array.Empty<byte>(), deletedAt });
        }

        tx.Execute(
            """
            insert into events (team_id, seq, kind, host_id, entity_id, version, at)
            values ('team', 1, 'TASK_CHANGED', 'host', 'first', 1, 1), ('team', 2, 'FEEDBACK', null, 'second', 1, 2)
            """);
    }

    /// <summary>One record of each collection in each status that any of them calls history, and in one that none does.</summary>
    private static IEnumerable<(string Collection, string Status)> Records() =>
        from collection in RecordCollections.All
        from status in RecordCollections.All.SelectMany(other => other.HistoryIn ?? []).Append("open").Distinct()
        select (collection.Name, status);

    private static bool IsHistory(string collection, string status) =>
        RecordCollections.Named(collection).HistoryIn is { } statuses && (statuses.Count == 0 || statuses.Contains(status));
}

public sealed class SqliteHistoryMigrationTests(SqliteStoreFixture fixture) : HistoryMigrationTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresHistoryMigrationTests(PostgresStoreFixture fixture) : HistoryMigrationTests(fixture), IClassFixture<PostgresStoreFixture>;
