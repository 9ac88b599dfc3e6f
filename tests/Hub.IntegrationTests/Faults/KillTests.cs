using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Faults;

/// <summary>Real processes, really killed.</summary>
public abstract class KillTests(StoreFixture fixture)
{
    private const int KillsOfEach = 3;

    /// <summary>Commands created before the next kill: enough that something is always in the middle.</summary>
    private const int LoadBetween = 40;

    [Fact]
    public async Task HubAndNode_KilledThreeTimesEachUnderLoad_LoseNothingAndRunNothingTwice()
    {
        var seed = Environment.ProcessId;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        var directory = Directory.CreateTempSubdirectory("hub-kill-").FullName;
        await using var hub = await HubProcess.StartAsync(directory, await fixture.CreateDatabaseAsync());
        var nodes = new List<NodeProcess>();
        for (var i = 0; i < 2; i++)
        {
            nodes.Add(new NodeProcess(hub.GrpcUrl, await hub.TokenAsync("join"), Path.Combine(directory, $"node-{i}")));
        }

        using var owner = hub.As(await hub.TokenAsync("user", "--email", "owner@example.com"));
        try
        {
            await using var run = new KillRun(hub, nodes, owner, seed);
            await run.StartAsync();
            for (var i = 0; i < KillsOfEach; i++)
            {
                await run.KillOnceAsync(killHub: true, LoadBetween);
                await run.KillOnceAsync(killHub: false, LoadBetween);
            }

            await run.CheckAsync();

            Assert.Empty(run.Faults);
        }
        finally
        {
            foreach (var node in nodes)
            {
                await node.DisposeAsync();
            }
        }

        Directory.Delete(directory, recursive: true);
    }
}

public sealed class SqliteKillTests(SqliteStoreFixture fixture) : KillTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresKillTests(PostgresStoreFixture fixture) : KillTests(fixture), IClassFixture<PostgresStoreFixture>;
