using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Faults;

/// <summary>Real processes, really killed.</summary>
public abstract class KillTests(bool postgres)
{
    private const int KillsOfEach = 3;
    private const int Nodes = 2;

    /// <summary>Commands created before the next kill: enough that something is always in the middle.</summary>
    private const int CommandsBetween = 40;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);

    [Fact]
    public async Task Everything_KilledThreeTimesEachUnderLoad_LosesNothingAndRunsNothingTwice()
    {
        var seed = Environment.ProcessId;
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await using var scene = await KillScene.StartAsync(postgres, Nodes);
        await using var run = new KillRun(scene, seed, Pace);
        await run.StartAsync();
        for (var i = 0; i < KillsOfEach; i++)
        {
            foreach (var target in scene.Targets)
            {
                await run.KillOnceAsync(target, CommandsBetween);
            }
        }

        await run.CheckAsync();

        Assert.Empty(run.Faults);
        Assert.True(run.Started > KillsOfEach * CommandsBetween);
    }
}

public sealed class SqliteKillTests() : KillTests(postgres: false);

public sealed class PostgresKillTests() : KillTests(postgres: true);
