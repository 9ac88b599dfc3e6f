using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteCrashTests(SqliteStoreFixture fixture) : CrashTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresCrashTests(PostgresStoreFixture fixture) : CrashTests(fixture), IClassFixture<PostgresStoreFixture>;

public abstract class CrashTests(StoreFixture fixture)
{
    private const string Team = TestSchema.Team;

    public static TheoryData<string, bool> Steps => new()
    {
        { nameof(WriteStep.BeforeJob), false },
        { nameof(WriteStep.AfterJob), false },
        { nameof(WriteStep.BeforeCommit), false },
        { nameof(WriteStep.AfterCommit), true },
    };

    [Theory]
    [MemberData(nameof(Steps))]
    public async Task Crash_AtStep_NobodyIsToldOfSuccessAndTheNextWriteWorks(string step, bool committed)
    {
        var crash = new CrashOnce(Enum.Parse<WriteStep>(step));
        await using var store = await fixture.OpenTestStoreAsync(options => options with { FaultInjector = crash.Reach });

        var held = await store.HoldWriterAsync(onCommitted: crash.Arm);
        var writes = new[] { store.AddNoteAsync("a"), store.AddNoteAsync("b") };
        await held.DisposeAsync();

        foreach (var write in writes)
        {
            await Assert.ThrowsAsync<StoreUnavailableException>(() => write.Within());
        }
        Assert.Equal(committed ? ["a", "b"] : [], await store.NotesAsync());
        await store.AddNoteAsync("c").Within();
    }

    [Fact]
    public async Task GuardAckAfterCommit_IsOff_CrashLosesWhatWasAcknowledged()
    {
        var crash = new CrashOnce(WriteStep.BeforeCommit);
        await using var store = await fixture.OpenTestStoreAsync(
            options => options with { FaultInjector = crash.Reach, Guards = new StoreGuards { AckAfterCommit = false } });

        crash.Arm();
        await store.AddNoteAsync("a").Within();
        await store.AddNoteAsync("b").Within();

        Assert.DoesNotContain("a", await store.NotesAsync());
    }

    [Fact]
    public async Task GuardPoisonSplit_IsOff_OneJobFailsAll()
    {
        await using var store = await fixture.OpenTestStoreAsync(options => options with { Guards = new StoreGuards { PoisonSplit = false } });

        var held = await store.HoldWriterAsync();
        var good = store.AddNoteAsync("a");
        var bad = store.WriteAsync(Team, _ => throw new FormatException());
        await held.DisposeAsync();

        await Assert.ThrowsAsync<FormatException>(() => bad.Within());
        await Assert.ThrowsAsync<FormatException>(() => good.Within());
        Assert.Empty(await store.NotesAsync());
    }

    /// <summary>Dies the first time it reaches the step after it was armed.</summary>
    private sealed class CrashOnce(WriteStep at)
    {
        private volatile bool _armed;

        public void Arm() => _armed = true;

        public void Reach(WriteStep step)
        {
            if (_armed && step == at)
            {
                _armed = false;
                throw new InvalidOperationException($"died at {step}");
            }
        }
    }
}
