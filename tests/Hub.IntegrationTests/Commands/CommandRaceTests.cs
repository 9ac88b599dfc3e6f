using Hub.Audit;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Commands;

/// <summary>Two replicas work on one command at the same moment; on SQLite there is one writer.</summary>
public sealed class CommandRaceTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    private const string Team = "team";
    private const string Key = "key";

    /// <summary>Neither sees the other's row before it inserts its own, so only the unique index can decide.</summary>
    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 2)]
    public async Task Create_TwinsOnTwoReplicas_TheIndexAloneMakesThemOne(bool index, int commands)
    {
        using var race = new Race();
        var database = await fixture.CreateDatabaseAsync();
        await using var first = await fixture.OpenAsync(database with { FaultInjector = race.ReachFirst });
        await using var second = await fixture.OpenAsync(database with { FaultInjector = race.ReachSecond });
        var host = await EnrollAsync(first);
        if (!index)
        {
            await first.WriteAsync(Store.SystemTeam, tx => tx.Execute("drop index commands_idempotency_key"));
        }

        var (one, other) = await race.RunAsync(() => CreateAsync(first, host), () => CreateAsync(second, host), second);

        Assert.Equal(commands, new[] { one, other }.Distinct().Count());
    }

    [Fact]
    public async Task Accept_WhileAnotherReplicaCancels_GoesByTheCancel()
    {
        using var race = new Race();
        var database = await fixture.CreateDatabaseAsync();
        await using var first = await fixture.OpenAsync(database with { FaultInjector = race.ReachFirst });
        await using var second = await fixture.OpenAsync(database with { FaultInjector = race.ReachSecond });
        var host = await EnrollAsync(first);
        var id = await CreateAsync(first, host);

        var (asked, verdict) = await race.RunAsync(
            () => first.WriteAsync(Team, tx => CommandRows.Change(
                tx, rows => CommandMachine.RequestCancel(rows, rows.Find(host.HostId, id)!, "enough"))),
            () => second.WriteAsync(Team, tx => CommandRows.Change(
                tx, rows => CommandMachine.NodeAccepted(rows, host.HostId, "journal", id, attempt: 1))),
            second);

        Assert.Equal((false, Verdict.Forget), (asked, verdict));
        Assert.Equal(["QUEUED", "CANCELLED"], await first.ReadAsync(
            TeamScope.Of(Team), reader => reader.QueryAsync<string>("select state from command_timeline where command_id = @id order by step", new { id })));
    }

    internal static async Task<HostAccess> EnrollAsync(Store store)
    {
        await store.WriteAsync(Store.SystemTeam, tx => tx.Execute("insert into teams (team_id, name, created_at) values (@Team, 'team', 0)", new { Team }));
        var host = await new Enrolment(store, TimeProvider.System).EnrollAsync(Team, new NodeDescription("node", "", []), "", Actor.Operator, CancellationToken.None);
        return new HostAccess(Team, host.HostId, new Principal.ApiKey(Team, "key-1", TeamRole.Member));
    }

    private static async Task<string> CreateAsync(Store store, HostAccess host)
    {
        var (command, _) = await new CommandCreation(store, new LinkRegistry(TimeProvider.System), TimeProvider.System).CreateAsync(
            host, new CreateCommandRequest { Type = "echo" }, Key, "", CancellationToken.None);
        return command.CommandId;
    }

    /// <summary>The second replica begins its work when the first has done its own and has yet to commit.</summary>
    private sealed class Race : IDisposable
    {
        private readonly ManualResetEventSlim _committing = new();
        private readonly ManualResetEventSlim _release = new();
        private readonly ManualResetEventSlim _done = new();
        private bool _isOn;

        public void ReachFirst(WriteStep step)
        {
            if (step == WriteStep.BeforeCommit && Volatile.Read(ref _isOn))
            {
                _committing.Set();
                _release.Wait(WithinExtensions.DefaultLimit);
            }
        }

        public void ReachSecond(WriteStep step)
        {
            if (step == WriteStep.AfterJob)
            {
                _done.Set();
            }
        }

        public async Task<(T1 First, T2 Second)> RunAsync<T1, T2>(Func<Task<T1>> first, Func<Task<T2>> second, Store ofSecond)
        {
            Volatile.Write(ref _isOn, true);
            _done.Reset();
            var one = first();
            _committing.Wait(WithinExtensions.DefaultLimit);
            var other = second();
            await Polling.UntilAsync(
                async () => _done.IsSet || await PostgresStoreFixture.IsBlockedAsync(ofSecond), () => "The second neither works nor waits.");
            _release.Set();
            return (await one.Within(), await other.Within());
        }

        public void Dispose()
        {
            _committing.Dispose();
            _release.Dispose();
            _done.Dispose();
        }
    }
}
