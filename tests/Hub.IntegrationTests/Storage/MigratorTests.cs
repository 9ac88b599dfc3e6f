using Dapper;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteMigratorTests(SqliteStoreFixture fixture) : MigratorTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresMigratorTests(PostgresStoreFixture fixture) : MigratorTests(fixture), IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Open_ExtraFails_SharedFileOfTheStepIsUndone()
    {
        var options = await Fixture.CreateDatabaseAsync();
        var broken = Second with { PostgresSql = "select nonsense" };

        await Assert.ThrowsAnyAsync<Exception>(() => Fixture.OpenAsync(options with { Migrations = [TestSchema.First, broken] }));

        await using var store = await Fixture.OpenAsync(
            options with { Migrations = [TestSchema.First, Second with { PostgresSql = "create index tags_name on tags using hash (name)" }] });
        Assert.Equal(2, store.SchemaVersion);
    }
}

public abstract class MigratorTests(StoreFixture fixture)
{
    internal static readonly Migration Second = new(2, "second", "create table tags (tag_id text primary key, name text, raw {blob})");

    protected StoreFixture Fixture { get; } = fixture;

    [Fact]
    public async Task Open_EmptyDatabase_AppliesAllAndRecordsThem()
    {
        var options = await Fixture.CreateDatabaseAsync() with { Migrations = [TestSchema.First, Second] };

        await using var store = await Fixture.OpenAsync(options);

        Assert.Equal(2, store.SchemaVersion);
        using var connection = Fixture.Connect(options);
        Assert.Equal([(1, "first"), (2, "second")], connection.Query<(long, string)>("select version, name from schema_version order by version"));
    }

    [Fact]
    public async Task Open_OlderDatabase_AppliesTheRest()
    {
        var options = await Fixture.CreateDatabaseAsync();
        await using (var old = await Fixture.OpenAsync(options with { Migrations = [TestSchema.First] }))
        {
            await old.AddNoteAsync("a").Within();
        }

        await using var store = await Fixture.OpenAsync(options with { Migrations = [TestSchema.First, Second] });

        Assert.Equal(["a"], await store.NotesAsync());
        Assert.Empty(await store.ReadAsync(TeamScope.System, reader => reader.QueryAsync<string>("select name from tags")));
    }

    [Fact]
    public async Task Open_StepFails_LeavesTheVersionBefore()
    {
        var options = await Fixture.CreateDatabaseAsync();
        var broken = Second with { Sql = "create table half (id text); nonsense" };

        await Assert.ThrowsAnyAsync<Exception>(() => Fixture.OpenAsync(options with { Migrations = [TestSchema.First, broken] }));

        await using var store = await Fixture.OpenAsync(options with { Migrations = [TestSchema.First], Migrate = false });
        Assert.Equal(1, store.SchemaVersion);
        using var connection = Fixture.Connect(options);
        Assert.ThrowsAny<Exception>(() => connection.Query("select * from half"));
    }

    [Fact]
    public async Task Open_NewerSchema_IsRefused()
    {
        var options = await Fixture.CreateDatabaseAsync();
        await using (await Fixture.OpenAsync(options with { Migrations = [TestSchema.First, Second] }))
        {
        }

        await RefusedAsync(StoreRefusal.SchemaNewer, options with { Migrations = [TestSchema.First] });
        await RefusedAsync(StoreRefusal.SchemaNewer, options with { Migrations = [TestSchema.First], Migrate = false });
    }

    [Fact]
    public async Task Open_OlderSchemaWithoutMigrating_IsRefused()
    {
        var options = await Fixture.CreateDatabaseAsync();

        await RefusedAsync(StoreRefusal.SchemaOlder, options with { Migrations = [TestSchema.First], Migrate = false });
    }

    [Fact]
    public async Task Open_NumberMissing_IsRefused()
    {
        var options = await Fixture.CreateDatabaseAsync();

        await RefusedAsync(StoreRefusal.BadMigrations, options with { Migrations = [TestSchema.First, Second with { Number = 3 }] });
    }

    [Fact]
    public async Task Open_VersionMissingInDatabase_IsRefused()
    {
        var options = await Fixture.CreateDatabaseAsync() with { Migrations = [TestSchema.First, Second] };
        await using (await Fixture.OpenAsync(options))
        {
        }
        using (var connection = Fixture.Connect(options))
        {
            connection.Execute("delete from schema_version where version = 1");
        }

        await RefusedAsync(StoreRefusal.BadMigrations, options);
    }

    [Fact]
    public async Task Open_TwoProcessesAtOnce_EachStepIsAppliedOnce()
    {
        var options = await Fixture.CreateDatabaseAsync() with
        {
            Migrations = [TestSchema.First, Second, .. Enumerable.Range(3, 10).Select(i => new Migration(i, $"step{i}", $"create table t{i} (id text)"))],
        };

        var stores = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Fixture.OpenAsync(options)));

        foreach (var store in stores)
        {
            Assert.Equal(12, store.SchemaVersion);
            await store.DisposeAsync();
        }
    }

    [Fact]
    public async Task Open_EmbeddedMigrations_Apply()
    {
        var options = await Fixture.CreateDatabaseAsync();

        await using var store = await Fixture.OpenAsync(options);

        Assert.Equal(Migration.Embedded().Count, store.SchemaVersion);
        Assert.NotEqual(0, store.SchemaVersion);
    }

    private async Task RefusedAsync(StoreRefusal reason, StoreOptions options)
    {
        var refusal = await Assert.ThrowsAsync<StoreRefusedException>(() => Fixture.OpenAsync(options));
        Assert.Equal(reason, refusal.Reason);
    }
}
