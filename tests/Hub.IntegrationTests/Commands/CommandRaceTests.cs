using Hub.Audit;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Commands;

/// <summary>
/// Two replicas create a command with one key at the same moment. Neither sees the other's row before it inserts its own, so only the unique
/// index can decide; on SQLite there is one writer and its look-up would do.
/// </summary>
public sealed class IdempotencyIndexTests(PostgresStoreFixture fixture) : IClassFixture<PostgresStoreFixture>
{
    private const string Team = "team";
    private const string Key = "key";

    [Theory]
    [InlineData(true, 1)]
    [InlineData(false, 2)]
    public async Task Create_TwinsOnTwoReplicas_TheIndexAloneMakesThemOne(bool index, int commands)
    {
        var database = await fixture.CreateDatabaseAsync();
        using var committing = new ManualResetEventSlim();
        using var release = new ManualResetEventSlim();
        var holding = false;
        await using var first = await fixture.OpenAsync(database with
        {
            FaultInjector = step =>
            {
                if (step == WriteStep.BeforeCommit && Volatile.Read(ref holding))
                {
                    committing.Set();
                    release.Wait(WithinExtensions.DefaultLimit);
                }
            },
        });
        using var inserted = new ManualResetEventSlim();
        await using var second = await fixture.OpenAsync(database with
        {
            FaultInjector = step =>
            {
                if (step == WriteStep.AfterJob)
                {
                    inserted.Set();
                }
            },
        });
        var host = await EnrollAsync(first);
        if (!index)
        {
            await first.WriteAsync(Store.SystemTeam, tx => tx.Execute("drop index commands_idempotency_key"));
        }

        Volatile.Write(ref holding, true);
        inserted.Reset();
        var one = CreateAsync(first, host);
        committing.Wait(WithinExtensions.DefaultLimit);
        var other = CreateAsync(second, host);
        await Polling.UntilAsync(
            async () => inserted.IsSet || await PostgresStoreFixture.IsBlockedAsync(second), () => "The second neither inserts nor waits.");
        release.Set();
        var ids = new[] { await one.Within(), await other.Within() };

        Assert.Equal(commands, ids.Distinct().Count());
    }

    private static async Task<HostAccess> EnrollAsync(Store store)
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
}
