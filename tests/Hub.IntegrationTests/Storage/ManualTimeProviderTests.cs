using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class ManualTimeProviderTests
{
    private static readonly TimeSpan second = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Delay_TimeAdvancesToIt_Completes()
    {
        var time = new ManualTimeProvider();
        var delay = Task.Delay(2 * second, time);

        time.Advance(second);
        Assert.False(delay.IsCompleted);
        time.Advance(second);

        await delay.Within();
    }

    [Fact]
    public void Timers_SeveralAreDue_FireInOrderAtTheirMoments()
    {
        var time = new ManualTimeProvider();
        var start = time.GetUtcNow();
        var fired = new List<(string, TimeSpan)>();
        using var periodic = time.CreateTimer(_ => fired.Add(("periodic", time.GetUtcNow() - start)), null, second, 2 * second);
        using var once = time.CreateTimer(_ => fired.Add(("once", time.GetUtcNow() - start)), null, 2 * second, Timeout.InfiniteTimeSpan);

        time.Advance(4 * second);

        Assert.Equal([("periodic", second), ("once", 2 * second), ("periodic", 3 * second)], fired);
        Assert.Equal(4 * second, time.GetElapsedTime(0));
    }
}
