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
        var hasBegun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var blocking = store.WriteAsync(Team, _ =>
        {
            hasBegun.TrySetResult();
            return firstGroup.Wait(WithinExtensions.DefaultLimit);
        });
        await hasBegun.Task.Within(); // Or what comes next would be of the same group.

        var bulk = Enumerable.Range(0, BulkJobs)
            .Select(i => store.WriteBulkAsync(Team, fence, tx => Note(tx, order, $"bulk {i}"))).ToArray();
        var urgent = store.WriteAsync(Team, tx => Note(tx, order, "urgent"));
        firstGroup.Set();
        await Task.WhenAll([blocking, urgent, .. bulk]).Within();

        Assert.Equal(["urgent", .. Enumerable.Range(0, BulkJobs).Select(i => $"bulk {i}")], order);
    }

    [Fact]
    public async Task Write_WhileBulkOfAnotherTeamRuns_WaitsForTheRunningJobAlone()
    {
        var time = new ManualTimeProvider();
        var order = new List<string>();
        await using var store = await OpenAsync(order, time);
        var fence = await LinkAsync(store);
        Task urgent = Task.CompletedTask;
        var flood = await FloodAsync(store, time, fence, order, TimeSpan.FromMilliseconds(30), onFirst: () =>
            urgent = store.WriteAsync("other", tx => Note(tx, order, "urgent")));
        await Task.WhenAll([urgent, .. flood]).Within();

        Assert.Equal(["commit", "commit", "bulk 0", "commit", "urgent", "bulk 1", "commit", "bulk 2", "commit", "bulk 3"], order);
    }

    [Fact]
    public async Task Write_BulkOfOneTeamAlone_SharesACommit()
    {
        var time = new ManualTimeProvider();
        var order = new List<string>();
        await using var store = await OpenAsync(order, time);
        var flood = await FloodAsync(store, time, await LinkAsync(store), order, TimeSpan.FromMilliseconds(10), onFirst: () => { });
        await Task.WhenAll(flood).Within();

        Assert.Equal(["commit", "commit", "bulk 0", "bulk 1", "bulk 2", "bulk 3"], order);
    }

    /// <summary>A store with one writer, whose commits are noted.</summary>
    private async Task<Store> OpenAsync(List<string> order, TimeProvider time) => await fixture.OpenAsync(
        await fixture.CreateDatabaseAsync() with
        {
            WriterCount = 1,
            FaultInjector = step =>
            {
                if (step == WriteStep.AfterCommit)
                {
                    order.Add("commit");
                }
            },
        },
        time);

    /// <summary>Four bulk jobs that wait together, each of which takes its time; the first commit is that of what they wait for.</summary>
    private static async Task<Task[]> FloodAsync(Store store, ManualTimeProvider time, Fence fence, List<string> order, TimeSpan takes, Action onFirst)
    {
        using var queued = new ManualResetEventSlim();
        var began = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var blocking = store.WriteAsync(Team, _ =>
        {
            began.SetResult();
            queued.Wait(WithinExtensions.DefaultLimit);
            time.Advance(TimeSpan.FromSeconds(1)); // What was written before is no longer in the way.
            order.Clear();
        });
        await began.Task.Within();
        var flood = Enumerable.Range(0, 4).Select(Task (i) => store.WriteBulkAsync(Team, fence, tx =>
        {
            time.Advance(takes);
            if (i == 0)
            {
                onFirst();
            }

            return Note(tx, order, $"bulk {i}");
        })).ToArray();
        queued.Set();
        await blocking.Within();
        return flood;
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
