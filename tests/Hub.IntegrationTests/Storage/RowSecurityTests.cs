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
