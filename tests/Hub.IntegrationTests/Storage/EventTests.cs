using System.Globalization;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteEventTests(SqliteStoreFixture fixture) : EventTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresEventTests(PostgresStoreFixture fixture) : EventTests(fixture), IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Watch_AnotherReplicaCommits_IsWoken()
    {
        var options = await Fixture.CreateTestDatabaseAsync();
        await using var here = await Fixture.OpenAsync(options);
        await using var there = await Fixture.OpenAsync(options);
        using var watch = here.Events.Watch(Team);

        await AppendAsync(there, Team, "a").Within();

        await watch.WaitAsync(0, CancellationToken.None).Within();
        Assert.Single(await ReadAsync(here, Team, 0));
    }

    [Fact]
    public async Task Watch_ListenIsDown_PollWakes()
    {
        var options = await Fixture.CreateTestDatabaseAsync();
        await using var here = await Fixture.OpenAsync(options with { ListenConnectionString = "Host=127.0.0.1;Port=1;Username=nobody" });
        await using var there = await Fixture.OpenAsync(options);
        using var watch = here.Events.Watch(Team);

        await AppendAsync(there, Team, "a").Within();

        await watch.WaitAsync(0, CancellationToken.None).Within();
    }

    [Fact]
    public async Task Append_TwoReplicasWriteAndTail_EachWatcherSeesEveryNumberInOrder()
    {
        const int writesEach = 100;
        var options = await Fixture.CreateTestDatabaseAsync();
        await using var here = await Fixture.OpenAsync(options);
        await using var there = await Fixture.OpenAsync(options);
        var tails = new[] { TailAsync(here, Team, 2 * writesEach), TailAsync(there, Team, 2 * writesEach) };

        await Task.WhenAll(new[] { here, there }.SelectMany(store =>
            Enumerable.Range(0, writesEach).Select(i => AppendAsync(store, Team, i.ToString(CultureInfo.InvariantCulture))))).Within();

        foreach (var tail in tails)
        {
            Assert.Equal(Enumerable.Range(1, 2 * writesEach).Select(i => (long)i), await tail.Within());
        }
    }
}

public abstract class EventTests(StoreFixture fixture)
{
    protected const string Team = TestSchema.Team;

    protected StoreFixture Fixture { get; } = fixture;

    [Fact]
    public async Task Append_SeveralJobsAndTeams_NumbersAreContiguousPerTeam()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var writes = new[]
        {
            AppendAsync(store, Team, "a1", "a2"),
            store.WriteAsync(Store.SystemTeam, transaction =>
            {
                transaction.AppendEvent("team-b", "note", null, "b1", 1);
                transaction.AppendEvent(Team, "note", "host", "a3", 1);
            }),
        };
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();
        await AppendAsync(store, Team, "a4").Within();

        Assert.Equal([(1, "a1"), (2, "a2"), (3, "a3"), (4, "a4")], await ReadAsync(store, Team, 0));
        Assert.Equal([(1, "b1")], await ReadAsync(store, "team-b", 0));
    }

    [Fact]
    public async Task Append_JobFails_LeavesNoGap()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        await AppendAsync(store, Team, "a").Within();
        await Assert.ThrowsAsync<FormatException>(() => store.WriteAsync(Team, transaction =>
        {
            transaction.AppendEvent(Team, "note", null, "lost", 1);
            throw new FormatException();
        }).Within());
        await AppendAsync(store, Team, "b").Within();

        Assert.Equal([(1, "a"), (2, "b")], await ReadAsync(store, Team, 0));
    }

    [Fact]
    public async Task Append_MoreThanAJobMay_IsRefused()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        await Assert.ThrowsAsync<InvalidOperationException>(() => store.WriteAsync(Team, transaction =>
        {
            for (var i = 0; i <= StoreTransaction.EventsPerJobMax; i++)
            {
                transaction.AppendEvent(Team, "note", null, "a", i);
            }
        }).Within());
    }

    [Fact]
    public async Task Watch_CommitBetweenReadAndWait_IsNotMissed()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        using var watch = store.Events.Watch(Team);

        var read = await ReadAsync(store, Team, 0).Within();
        await AppendAsync(store, Team, "a").Within();

        Assert.Empty(read);
        await watch.WaitAsync(0, CancellationToken.None).Within();
    }

    [Fact]
    public async Task Watch_NothingNewer_WaitsUntilCancelled()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        using var watch = store.Events.Watch(Team);
        using var cancel = new CancellationTokenSource();
        await AppendAsync(store, Team, "a").Within();

        var wait = watch.WaitAsync(1, cancel.Token);

        Assert.False(wait.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait.Within());
    }

    [Fact]
    public async Task Watch_AnotherTeamCommits_IsNotWoken()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        using var watch = store.Events.Watch(Team);
        using var cancel = new CancellationTokenSource();

        var wait = watch.WaitAsync(0, cancel.Token);
        await AppendAsync(store, "team-b", "b").Within();

        Assert.False(wait.IsCompleted);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait.Within());
    }

    [Fact]
    public async Task Watch_LastOfATeamEnds_NothingIsKept()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        using (store.Events.Watch(Team))
        using (store.Events.Watch(Team))
        {
            Assert.Equal([Team], store.Events.WatchedTeams());
        }

        Assert.Empty(store.Events.WatchedTeams());
    }

    [Fact]
    public async Task Watch_ManyWatchersTailManyWrites_EachSeesEveryNumberInOrder()
    {
        const int writes = 200;
        await using var store = await Fixture.OpenTestStoreAsync();
        var tails = Enumerable.Range(0, 20).Select(_ => TailAsync(store, Team, writes)).ToArray();

        await Task.WhenAll(Enumerable.Range(0, writes).Select(i => AppendAsync(store, Team, $"n{i}"))).Within();

        foreach (var tail in tails)
        {
            Assert.Equal(Enumerable.Range(1, writes).Select(i => (long)i), await tail.Within());
        }
    }

    internal static Task AppendAsync(Store store, string team, params string[] entities) => store.WriteAsync(team, transaction =>
    {
        foreach (var entity in entities)
        {
            transaction.AppendEvent(team, "note", null, entity, 1);
        }
    });

    internal static Task<IReadOnlyList<(long Seq, string Entity)>> ReadAsync(Store store, string team, long after) => store.ReadAsync(
        TeamScope.Of(team),
        reader => reader.QueryAsync<(long, string)>(
            "select seq, entity_id from events where team_id = @team and seq > @after order by seq", new { team, after }));

    /// <summary>Follows the team as a dashboard does, until the number is reached.</summary>
    internal static async Task<IReadOnlyList<long>> TailAsync(Store store, string team, long until)
    {
        using var watch = store.Events.Watch(team);
        var seen = new List<long>();
        for (var cursor = 0L; cursor < until; cursor = seen.LastOrDefault())
        {
            await watch.WaitAsync(cursor, CancellationToken.None);
            seen.AddRange((await ReadAsync(store, team, cursor)).Select(e => e.Seq));
        }
        return seen;
    }
}
