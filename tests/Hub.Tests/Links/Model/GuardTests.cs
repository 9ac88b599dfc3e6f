using Hub.Storage;

namespace Hub.Tests.Links.Model;

/// <summary>
/// Each guard proves itself: with it switched off the same random lives break a promise. The unique index of idempotency keys is proven
/// where it matters, between two replicas on PostgreSQL (IdempotencyIndexTests).
/// </summary>
public sealed class GuardTests(LifeTemplate template, ITestOutputHelper output) : IClassFixture<LifeTemplate>
{
    /// <summary>The lives of <see cref="ModelTests"/>, of which every one keeps its promises with all guards on.</summary>
    private const int SeedsMax = 320;

    [Theory]
    [InlineData(nameof(StoreGuards.EpochLock))]
    [InlineData(nameof(StoreGuards.RepeatCheck))]
    [InlineData(nameof(StoreGuards.BaseVersion))]
    [InlineData(nameof(StoreGuards.PoisonSplit))]
    [InlineData(nameof(StoreGuards.AckAfterCommit))]
    public async Task Hub_WithoutAGuard_BreaksAPromise(string guard)
    {
        var guards = Without(guard);
        for (var seed = 1; seed <= SeedsMax; seed++)
        {
            if (await Life.LiveAsync(new LifeOptions(seed, guards), template) is { IsPromise: true } broken)
            {
                output.WriteLine($"Without {guard}: {broken.Text.Split('\n')[0]}");
                return;
            }
        }

        Assert.Fail($"Without {guard} {SeedsMax} lives kept every promise: either it is not needed, or the model lacks the adversary.");
    }

    private static StoreGuards Without(string guard) => guard switch
    {
        nameof(StoreGuards.EpochLock) => new StoreGuards { EpochLock = false },
        nameof(StoreGuards.RepeatCheck) => new StoreGuards { RepeatCheck = false },
        nameof(StoreGuards.BaseVersion) => new StoreGuards { BaseVersion = false },
        nameof(StoreGuards.PoisonSplit) => new StoreGuards { PoisonSplit = false },
        nameof(StoreGuards.AckAfterCommit) => new StoreGuards { AckAfterCommit = false },
        _ => throw new ArgumentOutOfRangeException(nameof(guard), guard, "There is no such guard."),
    };
}
