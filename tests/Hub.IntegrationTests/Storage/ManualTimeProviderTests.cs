using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class ManualTimeProviderTests
{
    private static readonly TimeSpan Second = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Delay_TimeAdvancesToIt_Completes()
    {
        var time = new ManualTimeProvider();
        var delay = Task.Delay(2 * Second, time);

        time.Advance(Second);
        Assert.False(delay.IsCompleted);
        time.Advance(Second);

        await delay.Within();
    }

    [Fact]
    public void Timers_SeveralAreDue_FireInOrderAtTheirMoments()
    {
        var time = new ManualTimeProvider();
        var start = time.GetUtcNow();
        var fired = new List<(string, TimeSpan)>();
        using var periodic = time.CreateTimer(_ => fired.Add(("periodic", time.GetUtcNow() - start)), null, Second, 2 * Second);
        using var once = time.CreateTimer(_ => fired.Add(("once", time.GetUtcNow() - start)), null, 2 * Second, Timeout.InfiniteTimeSpan);

        time.Advance(4 * Second);

        Assert.Equal([("periodic", Second), ("once", 2 * Second), ("periodic", 3 * Second)], fired);
        Assert.Equal(4 * Second, time.GetElapsedTime(0));
    }
}
