using Dapper;
using Hub.Storage;
using Hub.TestKit;
using Npgsql;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteFencingTests(SqliteStoreFixture fixture) : FencingTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresFencingTests(PostgresStoreFixture fixture) : FencingTests(fixture), IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Fence_GroupIsOpen_AnotherReplicaCannotRaiseTheEpoch()
    {
        var options = await Fixture.CreateTestDatabaseAsync();
        await using var store = await Fixture.OpenAsync(options);
        await store.AddLinkAsync("host", 1).Within();

        var failure = await store.WriteFencedAsync(TestSchema.Team, new Fence("host", 1), _ =>
        {
            using var other = Fixture.Connect(options);
            other.Execute("set lock_timeout = '50ms'");
            return Assert.Throws<PostgresException>(() => other.Execute("update links set epoch = epoch + 1"));
        }).Within();

        Assert.Equal(PostgresErrorCodes.LockNotAvailable, failure.SqlState);
    }
}

public abstract class FencingTests(StoreFixture fixture)
{
    private const string Team = TestSchema.Team;

    protected StoreFixture Fixture { get; } = fixture;

    [Fact]
    public async Task Fence_EpochIsCurrent_Runs()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddLinkAsync("host", 3).Within();

        await FencedNote(store, "a", 3).Within();

        Assert.Equal(["a"], await store.NotesAsync());
    }

    [Theory]
    [InlineData(2)]
    [InlineData(4)]
    public async Task Fence_EpochDiffers_IsRefusedWithoutRunning(long epoch)
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddLinkAsync("host", 3).Within();

        await Assert.ThrowsAsync<LinkFencedException>(() => FencedNote(store, "a", epoch).Within());

        Assert.Empty(await store.NotesAsync());
    }

    [Fact]
    public async Task Fence_HostHasNoLink_IsRefused()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        await Assert.ThrowsAsync<LinkFencedException>(() => FencedNote(store, "a", 1).Within());
    }

    [Fact]
    public async Task Fence_TakeoverEarlierInTheGroup_RefusesTheOldAndTakesTheNew()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddLinkAsync("host", 1).Within();

        var held = await store.HoldWriterAsync();
        var before = FencedNote(store, "before", 1);
        var takeover = store.WriteAsync(Team, transaction => transaction.RaiseEpoch("host"));
        var old = FencedNote(store, "old", 1);
        var current = FencedNote(store, "current", 2);
        await held.DisposeAsync();

        Assert.Equal(2, await takeover.Within());
        await Task.WhenAll(before, current).Within();
        await Assert.ThrowsAsync<LinkFencedException>(() => old.Within());
        Assert.Equal(["before", "current"], await store.NotesAsync());
    }

    [Fact]
    public async Task Link_MovedEarlierInTheGroup_IsAsTheLastJobThatStoodLeftIt()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddLinkAsync("host", 1).Within();

        var held = await store.HoldWriterAsync();
        var first = Moving(store, 5, fails: false);
        var failing = Moving(store, 9, fails: true);
        var second = Moving(store, 7, fails: false);
        await held.DisposeAsync();

        Assert.Equal(0, await first.Within());
        await Assert.ThrowsAsync<InvalidDataException>(() => failing.Within());
        Assert.Equal(5, await second.Within());
    }

    /// <summary>Moves the link and tells where it was.</summary>
    private static Task<long> Moving(Store store, long seq, bool fails) =>
        store.WriteFencedAsync(Team, new Fence("host", 1), tx =>
        {
            var before = tx.LinkOf("host");
            tx.Moved(before with { DataSeq = seq });
            return fails ? throw new InvalidDataException() : before.DataSeq;
        });

    [Fact]
    public async Task Fence_TakeoverInTheGroupFails_OldEpochStaysGood()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddLinkAsync("host", 1).Within();

        var held = await store.HoldWriterAsync();
        var takeover = store.WriteAsync(Team, transaction =>
        {
            transaction.RaiseEpoch("host");
            throw new FormatException();
        });
        var old = FencedNote(store, "old", 1);
        await held.DisposeAsync();

        await Assert.ThrowsAsync<FormatException>(() => takeover.Within());
        await old.Within();
    }

    [Fact]
    public async Task RaiseEpoch_HostHasNoLink_ReturnsNull()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        Assert.Null(await store.WriteAsync(Team, transaction => transaction.RaiseEpoch("host")).Within());
    }

    [Fact]
    public async Task GuardEpochLock_IsOff_OldLinkWritesAfterTheTakeover()
    {
        await using var store = await Fixture.OpenTestStoreAsync(options => options with { Guards = new StoreGuards { EpochLock = false } });
        await store.AddLinkAsync("host", 1).Within();

        var held = await store.HoldWriterAsync();
        var takeover = store.WriteAsync(Team, transaction => transaction.RaiseEpoch("host"));
        var old = FencedNote(store, "old", 1);
        await held.DisposeAsync();
        await Task.WhenAll(takeover, old).Within();

        Assert.Equal(["old"], await store.NotesAsync());
    }

    private static Task FencedNote(Store store, string noteId, long epoch) =>
        store.WriteFencedAsync(Team, new Fence("host", epoch), transaction => transaction.InsertNote(noteId));
}
