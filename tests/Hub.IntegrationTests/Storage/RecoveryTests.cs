using Dapper;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

/// <summary>Has a server of its own, which it stops.</summary>
public sealed class RecoveryTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Write_SessionIsTerminatedInsideAJob_GroupIsGivenBackAndTheNextWorks()
    {
        var options = await fixture.CreateTestDatabaseAsync();
        await using var store = await fixture.OpenAsync(options);

        var held = await store.HoldWriterAsync();
        var before = store.AddNoteAsync("before");
        var terminated = store.WriteAsync(TestSchema.Team, transaction =>
        {
            var pid = transaction.QuerySingle<int>("select pg_backend_pid()");
            using var other = fixture.Connect(options);
            other.Execute("select pg_terminate_backend(@pid, 10000)", new { pid });
            transaction.InsertNote("lost");
        });
        await held.DisposeAsync();

        await Assert.ThrowsAsync<StoreUnavailableException>(() => before.Within());
        await Assert.ThrowsAsync<StoreUnavailableException>(() => terminated.Within());
        await store.AddNoteAsync("after").Within();
        Assert.Equal(["after"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_LockIsHeldElsewhere_IsGivenBackAndTheGroupGoesOn()
    {
        var options = await fixture.CreateTestDatabaseAsync();
        await using var store = await fixture.OpenAsync(options);
        await store.AddNoteAsync("a").Within();
        using var other = fixture.Connect(options);
        using var locking = other.BeginTransaction();
        other.Execute("select * from notes for update", transaction: locking);

        var held = await store.HoldWriterAsync();
        var locked = store.WriteAsync(TestSchema.Team, transaction => transaction.Execute("set local lock_timeout = '50ms'; update notes set size = 1"));
        var free = store.AddNoteAsync("b");
        await held.DisposeAsync();

        await Assert.ThrowsAsync<StoreUnavailableException>(() => locked.Within());
        await free.Within();
    }

    [Fact]
    public async Task Store_ServerIsKilledAndStartedAgain_KeepsWhatWasAcknowledgedAndGoesOn()
    {
        await using var server = await PostgresServer.StartNewAsync();
        var options = new StoreOptions
        {
            Backend = StoreBackend.Postgres,
            ConnectionString = await server.CreateDatabaseAsync(),
            Migrations = [TestSchema.First],
        };
        await using var store = await fixture.OpenAsync(options);
        await store.AddNoteAsync("acknowledged").Within();

        await server.KillAsync();
        await Assert.ThrowsAsync<StoreUnavailableException>(() => store.AddNoteAsync("down").Within());
        await Assert.ThrowsAsync<StoreUnavailableException>(() => store.NotesAsync().Within());
        await server.StartAsync();

        await UntilAvailableAsync(() => store.AddNoteAsync("after")).Within();
        await UntilAvailableAsync(async () => Assert.Equal(["acknowledged", "after"], await store.NotesAsync())).Within();

        using var watch = store.Events.Watch(TestSchema.Team);
        await EventTests.AppendAsync(store, TestSchema.Team, "a").Within();
        await watch.WaitAsync(0, CancellationToken.None).Within();
    }

    /// <summary>Repeats as the Hub's callers do; the Writer's back-off paces it.</summary>
    private static async Task UntilAvailableAsync(Func<Task> attempt)
    {
        while (true)
        {
            try
            {
                await attempt();
                return;
            }
            catch (StoreUnavailableException)
            {
                await Task.Yield();
            }
        }
    }
}
