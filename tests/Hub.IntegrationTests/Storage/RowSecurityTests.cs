using Dapper;
using Hub.Storage;
using Hub.TestKit;
using Npgsql;

namespace Hub.IntegrationTests.Storage;

public sealed class RowSecurityTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Read_WithoutWhere_SeesOnlyItsTeams()
    {
        await using var store = await OpenWithNotesAsync();

        Assert.Equal(["a"], await SeenAsync(store, TeamScope.Of("team-a")));
        Assert.Equal(["a", "c"], await SeenAsync(store, TeamScope.Of(["team-a", "team-c"])));
        Assert.Equal(["a", "b", "c"], await SeenAsync(store, TeamScope.System));
        Assert.Empty(await SeenAsync(store, TeamScope.Of("team-x")));
        Assert.Empty(await SeenAsync(store, TeamScope.Of([])));
    }

    [Fact]
    public async Task Query_WithoutWhere_SeesOnlyItsTeamsAndLeavesNothingToTheNext()
    {
        await using var store = await OpenWithNotesAsync(await fixture.CreateTestDatabaseAsync() with { ReadersMax = 1 });

        Assert.Equal(["a"], await QueriedAsync(TeamScope.Of("team-a")));
        Assert.Equal(["a", "b", "c"], await QueriedAsync(TeamScope.System));
        Assert.Equal(["b"], await QueriedAsync(TeamScope.Of("team-b")));
        await Assert.ThrowsAsync<StoreUnavailableException>(
            () => store.QueryAsync<string>(TeamScope.Of("team-a"), "update notes set size = 5 returning note_id").Within());
        Assert.Equal(["c"], await QueriedAsync(TeamScope.Of("team-c")));

        Task<IReadOnlyList<string>> QueriedAsync(TeamScope scope) =>
            store.QueryAsync<string>(scope, "select note_id from notes order by note_id").Within();
    }

    [Fact]
    public async Task Write_JobsOfSeveralTeamsInOneGroup_EachSeesOnlyItsOwn()
    {
        await using var store = await OpenWithNotesAsync();

        var held = await store.HoldWriterAsync();
        var seen = new[] { "team-a", "team-b", Store.SystemTeam, "team-c" }.Select(team =>
            store.WriteAsync(team, transaction => string.Concat(transaction.Query<string>("select note_id from notes order by 1")))).ToArray();
        await held.DisposeAsync();

        Assert.Equal(["a", "b", "abc", "c"], await Task.WhenAll(seen).Within());
    }

    [Fact]
    public async Task Write_RowOfAnotherTeam_IsRefused()
    {
        await using var store = await OpenWithNotesAsync();

        var refusal = await Assert.ThrowsAsync<PostgresException>(
            () => store.WriteAsync("team-a", transaction => transaction.InsertNote("x", "team-b")).Within());

        Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, refusal.SqlState);
    }

    [Fact]
    public async Task Write_UpdateWithoutWhere_ChangesOnlyItsTeam()
    {
        await using var store = await OpenWithNotesAsync();

        Assert.Equal(1, await store.WriteAsync("team-a", transaction => transaction.Execute("update notes set size = 5")).Within());
    }

    [Fact]
    public async Task Write_AfterAFailedJobOfAnotherTeam_ScopeIsItsOwn()
    {
        await using var store = await OpenWithNotesAsync();

        var held = await store.HoldWriterAsync();
        var failing = store.WriteAsync("team-b", _ => throw new FormatException());
        var seen = store.WriteAsync("team-a", transaction => transaction.Query<string>("select note_id from notes"));
        await held.DisposeAsync();

        await Assert.ThrowsAsync<FormatException>(() => failing.Within());
        Assert.Equal(["a"], await seen.Within());
    }

    [Fact]
    public async Task Open_EmbeddedSchema_EveryTeamTableIsSecured()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var store = await fixture.OpenAsync(options);
        using var connection = fixture.Connect(options);

        Assert.Empty(connection.Query<string>(
            """
            select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'team_id'
            where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and not (c.relrowsecurity and c.relforcerowsecurity)
            """));
    }

    [Fact]
    public async Task Open_SchemaWithAnEarlierPolicy_ReplacesIt()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using (await fixture.OpenAsync(options))
        {
        }

        using var connection = fixture.Connect(options);
        connection.Execute(
            $"drop policy {PostgresEngine.Policy} on hosts; create policy hub_team on hosts to {PostgresEngine.Role} using (team_id = current_setting('hub.team_ids', true))");
        await using var store = await fixture.OpenAsync(options);

        Assert.Equal(
            [PostgresEngine.Policy, "hub_system"],
            connection.Query<string>("select polname from pg_policy where polrelid = 'hosts'::regclass").OrderDescending(StringComparer.Ordinal));
    }

    [Fact]
    public async Task EveryTeamTable_ReadWithoutWhereAndForeignInsert_StayWithinTheTeam()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var store = await fixture.OpenAsync(options);
        using var connection = fixture.Connect(options);
        var tables = connection.Query<string>(
            """
            select c.relname from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'team_id' and not a.attisdropped
            where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p') order by c.relname
            """).AsList();
        Assert.Contains("audit_log", tables);

        // A row of two teams in every table: unnamed columns get a value of their type, foreign keys are not what is shown here.
        connection.Execute("set session_replication_role = replica");
        foreach (var (table, team) in tables.SelectMany(table => new[] { (table, "team-a"), (table, "team-b") }))
        {
            connection.Execute(InsertSql(connection, table, team));
        }

        var faults = new List<string>();
        foreach (var table in tables)
        {
            var seen = await store.ReadAsync(
                TeamScope.Of("team-a"), reader => reader.QueryAsync<string>($"select distinct team_id from {table}")).Within();
            if (!seen.SequenceEqual(["team-a"]))
            {
                faults.Add($"{table}: a read of team-a saw {string.Join(", ", seen)}");
            }

            var insert = InsertSql(connection, table, "team-b", "foreign");
            var refusal = await Record.ExceptionAsync(() => store.WriteAsync("team-a", tx => { tx.Execute(insert); }).Within());
            if (refusal is not PostgresException { SqlState: PostgresErrorCodes.InsufficientPrivilege })
            {
                faults.Add($"{table}: an insert of another team's row gave {refusal?.Message ?? "success"}");
            }
        }

        Assert.Empty(faults);
    }

    [Theory]
    [InlineData("update audit_log set detail = 'changed'")]
    [InlineData("delete from audit_log")]
    public async Task AuditLog_UpdateOrDelete_IsRefused(string statement)
    {
        await using var store = await fixture.OpenAsync(await fixture.CreateDatabaseAsync());

        var refusal = await Assert.ThrowsAsync<PostgresException>(() => store.WriteAsync("team-a", tx => { tx.Execute(statement); }).Within());

        Assert.Equal(PostgresErrorCodes.InsufficientPrivilege, refusal.SqlState);
    }

    [Fact]
    public async Task Open_OwnerIsNoSuperuser_SystemSeesAllAndTeamsTheirOwn()
    {
        var options = await fixture.CreateTestDatabaseAsync();
        using (var connection = fixture.Connect(options))
        {
            connection.Execute($"create role \"owner of {connection.Database}\" login createrole nosuperuser nobypassrls");
            connection.Execute($"alter database {connection.Database} owner to \"owner of {connection.Database}\"");
            connection.Execute($"alter schema public owner to \"owner of {connection.Database}\"");
            options = options with
            {
                ConnectionString = new NpgsqlConnectionStringBuilder(options.ConnectionString) { Username = $"owner of {connection.Database}" }.ConnectionString,
            };
        }
        await using var store = await OpenWithNotesAsync(options);

        Assert.Equal(["a"], await SeenAsync(store, TeamScope.Of("team-a")));
        Assert.Equal(["a", "b", "c"], await SeenAsync(store, TeamScope.System));
    }

    /// <summary>A row of a table with a value of its type in every column that must have one.</summary>
    private static string InsertSql(System.Data.Common.DbConnection connection, string table, string team, string? tag = null)
    {
        var columns = connection.Query<(string Name, string Type)>(
            """
            select column_name, data_type from information_schema.columns
            where table_schema = 'public' and table_name = @table and (is_nullable = 'NO' or column_name = 'team_id') order by ordinal_position
            """,
            new { table }).AsList();
        var values = columns.Select(column => column switch
        {
            { Name: "team_id" } => $"'{team}'",
            { Type: "bigint" or "integer" } => "1",
            { Type: "boolean" } => "false",
            { Type: "bytea" } => "''::bytea",
            _ => $"'{tag ?? team}'",
        });
        return $"insert into {table} ({string.Join(", ", columns.Select(column => column.Name))}) values ({string.Join(", ", values)})";
    }

    private static Task<IReadOnlyList<string>> SeenAsync(Store store, TeamScope scope) =>
        store.ReadAsync(scope, reader => reader.QueryAsync<string>("select note_id from notes order by note_id")).Within();

    private async Task<Store> OpenWithNotesAsync(StoreOptions? options = null)
    {
        var store = await fixture.OpenAsync(options ?? await fixture.CreateTestDatabaseAsync());
        await store.AddNoteAsync("a", "team-a").Within();
        await store.AddNoteAsync("b", "team-b").Within();
        await store.AddNoteAsync("c", "team-c").Within();
        return store;
    }
}
