using Dapper;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteDurabilityTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    [Fact]
    public async Task Open_FileStore_KeepsWhatItAcknowledges()
    {
        await using var store = await fixture.OpenTestStoreAsync();

        var (journal, synchronous, foreignKeys) = await store.WriteAsync(TestSchema.Team, transaction => (
            transaction.QuerySingle<string>("pragma journal_mode"),
            transaction.QuerySingle<long>("pragma synchronous"),
            transaction.QuerySingle<long>("pragma foreign_keys"))).Within();

        Assert.Equal(("wal", 2, 1), (journal, synchronous, foreignKeys));
    }

    [Fact]
    public async Task Open_JournalCannotBeWal_IsRefused()
    {
        // A database in memory has no write-ahead log.
        var refusal = await Assert.ThrowsAsync<StoreRefusedException>(
            () => fixture.OpenAsync(new StoreOptions { SqlitePath = ":memory:", Migrations = [TestSchema.First] }));

        Assert.Equal(StoreRefusal.NotDurable, refusal.Reason);
    }
}

public sealed class PostgresDurabilityTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    [Theory]
    [InlineData(false, "on")]
    [InlineData(true, "off")]
    public async Task Open_DatabaseDefaultIsOff_IsRaisedUnlessRelaxed(bool relaxed, string expected)
    {
        var options = await fixture.CreateTestDatabaseAsync() with { RelaxedDurability = relaxed };
        using (var connection = fixture.Connect(options))
        {
            connection.Execute($"alter database {connection.Database} set synchronous_commit = off");
        }
        await using var store = await fixture.OpenAsync(options);

        var setting = await store.WriteAsync(TestSchema.Team, transaction => transaction.QuerySingle<string>("show synchronous_commit")).Within();

        Assert.Equal(expected, setting);
    }
}
