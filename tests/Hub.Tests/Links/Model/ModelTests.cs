using System.Collections.Concurrent;
using System.Globalization;
using Hub.Storage;

namespace Hub.Tests.Links.Model;

/// <summary>
/// Random lives of a Hub and its nodes over an unreliable network, with crashes, takeovers and disks that are lost, restored or copied. An
/// oracle outside the Hub finds no acknowledged loss, no second start of one attempt, no terminal state changed. MODEL_SEED=n lives one.
/// </summary>
public sealed class ModelTests(LifeTemplate template, ITestOutputHelper output) : IClassFixture<LifeTemplate>
{
    private const int Seeds = 320;

    private const int ParallelLives = 2;

    [Fact]
    public async Task Hub_RandomLives_KeepsEveryPromise()
    {
        var first = 1;
        var count = Seeds;
        if (Environment.GetEnvironmentVariable("MODEL_SEED") is { Length: > 0 } only)
        {
            (first, count) = (int.Parse(only, CultureInfo.InvariantCulture), 1);
        }
        else if (Environment.GetEnvironmentVariable("MODEL_SEEDS") is { Length: > 0 } many)
        {
            count = int.Parse(many, CultureInfo.InvariantCulture);
        }

        var broken = new ConcurrentDictionary<int, string>();
        await Parallel.ForEachAsync(
            Enumerable.Range(first, count),
            new ParallelOptions { MaxDegreeOfParallelism = ParallelLives },
            async (seed, _) =>
            {
                if (await Life.LiveAsync(new LifeOptions(seed, new StoreGuards()), template) is { } found)
                {
                    broken[seed] = found;
                }
            });

        output.WriteLine($"seeds {first} to {first + count - 1}: {count - broken.Count} lives kept every promise, {broken.Count} broke one");
        Assert.True(broken.IsEmpty, string.Join("\n\n", broken.OrderBy(life => life.Key).Take(1).Select(life => life.Value)));
    }
}
