using System.Globalization;
using Hub.TestKit;

namespace Hub.IntegrationTests.Fleet;

/// <summary>What is measured for the whole process runs alone.</summary>
[CollectionDefinition(DisableParallelization = true)]
public sealed class FleetAlone;

/// <summary>Twenty nodes over the REST surface while the network, the nodes and the Hub fail.</summary>
public abstract class FleetTests(StoreFixture fixture)
{
    /// <summary>Rounds of five seconds on the fleet's clock; set for a longer run.</summary>
    private const string RoundsKey = "HUB_TEST_FLEET_ROUNDS";

    private const int Nodes = 20;
    private const int RoundsDefault = 16;

    /// <summary>What two halves of the run may differ by: buffers that are kept once they were needed.</summary>
    private const long GrowthMax = 24L * 1024 * 1024;

    [Fact]
    public async Task Fleet_ThroughFaults_EndsWithEqualCollectionsAndFlatMemory()
    {
        var rounds = int.Parse(Environment.GetEnvironmentVariable(RoundsKey) ?? $"{RoundsDefault}", CultureInfo.InvariantCulture);
        var seed = Environment.ProcessId;
        Log($"seed {seed}, {Nodes} nodes, {rounds} rounds");
        await using var run = await FleetRun.StartAsync(fixture, Nodes, seed, Log);

        await run.RoundsAsync(rounds / 2, faulty: true);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        await run.RoundsAsync(rounds / 2, faulty: true);
        var after = GC.GetTotalMemory(forceFullCollection: true);
        await run.SettleAsync();
        await run.CompareAsync();
        Log($"{run.Calls} calls, {run.Hit} hit by faults, {run.Claims} claims, memory {before >> 20} MiB then {after >> 20} MiB");

        Assert.Empty(run.Faults);
        Assert.True(run.Hit > 0);
        Assert.InRange(after - before, long.MinValue, GrowthMax);
    }

    private static void Log(string line) => TestContext.Current.TestOutputHelper?.WriteLine(line);
}

[Collection<FleetAlone>]
public sealed class SqliteFleetTests(SqliteStoreFixture fixture) : FleetTests(fixture), IClassFixture<SqliteStoreFixture>;

[Collection<FleetAlone>]
public sealed class PostgresFleetTests(PostgresStoreFixture fixture) : FleetTests(fixture), IClassFixture<PostgresStoreFixture>;
