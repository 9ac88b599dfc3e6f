using Dapper;
using Hub.Commands;
using Hub.Hosting;
using Hub.Hosts;
using Hub.Records;
using Hub.Runs;
using Hub.Storage;
using Hub.TestKit;
using Hub.Watch;

namespace Hub.IntegrationTests.Storage;

/// <summary>Statements over tables that grow find their rows by the index that was made for them.</summary>
public abstract class IndexTests(StoreFixture fixture)
{
    private static readonly Dictionary<string, (string Sql, string Index)> Statements = new()
    {
        ["records"] = (RecordPages.PageSql(RecordFilter.None), "records_host_version"),
        ["records by status"] = (RecordPages.PageSql(new RecordFilter(Status: "s")), "records_status"),
        ["records by agent"] = (RecordPages.PageSql(new RecordFilter(Agent: "a")), "records_agent"),
        ["records of a parent"] = (RecordPages.PageSql(new RecordFilter(ParentId: "p")), "records_parent"),
        ["the latest records of a team"] = (WatchFeed.LatestRecordsSql, "records_history"),
        ["the latest messages of a team"] = (WatchFeed.LatestChatSql, "chat_messages_team"),
        ["open conflicts of a team"] = (WatchFeed.OpenConflictsSql, "sync_conflicts_open"),
        ["records past their time"] = (PlanRetention.RecordsSql, "records_history"),
        ["approvals nobody names"] = (RunApprovals.StaleSql, "records_polled"),
        ["chat that waits for a link"] = (CommandClock.ChatSql, "links_chat"),
        ["a host's activity"] = (HostDirectory.ActivitySql, "events_host"),
    };

    protected StoreFixture Fixture { get; } = fixture;

    public static TheoryData<string> Lists => [.. Statements.Keys];

    [Theory]
    [MemberData(nameof(Lists))]
    public async Task Statement_OverATableThatGrows_ReadsByItsIndex(string list)
    {
        var options = await Fixture.CreateDatabaseAsync();
        await using var store = await Fixture.OpenAsync(options);
        var (sql, index) = Statements[list];

        Assert.Contains($"{index} ", $"{await ExplainAsync(options, sql)} ", StringComparison.Ordinal);
    }

    /// <summary>How the engine goes about a statement; PostgreSQL reads small tables whole unless it is told that it cannot.</summary>
    private protected async Task<string> ExplainAsync(StoreOptions options, string sql)
    {
        await using var connection = Fixture.Connect(options);
        var isSqlite = options.Backend == StoreBackend.Sqlite;
        if (!isSqlite)
        {
            await connection.ExecuteAsync("set enable_seqscan = off");
        }

        var rows = await connection.QueryAsync(
            $"explain {(isSqlite ? "query plan" : "")} {sql}",
            new
            {
                hostId = "h",
                teamId = "t",
                RecordCollections.Tasks.Name,
                Plan = "free",
                Status = "s",
                Agent = "a",
                ParentId = "p",
                version = 1L,
                id = "i",
                before = 1L,
                now = 1L,
                replicaId = "r",
                limit = 1,
            });
        return string.Join('\n', rows.Select(row => string.Join(' ', ((IDictionary<string, object>)row).Values)));
    }
}

public sealed class SqliteIndexTests(SqliteStoreFixture fixture) : IndexTests(fixture), IClassFixture<SqliteStoreFixture>
{
    /// <summary>PostgreSQL chooses by its statistics, whatever the order of the tables.</summary>
    [Theory]
    [InlineData("commands_accept_by")]
    [InlineData("commands_cancel_by")]
    public async Task CommandsThatWaitForALink_AreReadByTheirIndexes(string index)
    {
        var options = await Fixture.CreateDatabaseAsync();
        await using var store = await Fixture.OpenAsync(options);

        Assert.Contains($"{index} ", await ExplainAsync(options, CommandClock.WaitingSql), StringComparison.Ordinal);
    }
}

public sealed class PostgresIndexTests(PostgresStoreFixture fixture) : IndexTests(fixture), IClassFixture<PostgresStoreFixture>;
