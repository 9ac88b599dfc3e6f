using Hub.Storage;
using Hub.TestKit;

namespace Hub.Tests.Storage;

public sealed class EventSignalTests
{
    private readonly ManualTimeProvider _time = new();
    private readonly EventSignal _signal;

    public EventSignalTests() => _signal = new EventSignal(_time);

    [Fact]
    public async Task Publish_AfterAPause_WakesAtOnce()
    {
        using var watch = _signal.Watch("team");

        for (var seq = 1; seq <= 3; seq++)
        {
            var waiting = watch.WaitAsync(seq - 1, CancellationToken.None);
            Assert.False(waiting.IsCompleted);
            _signal.Publish("team", seq);
            Assert.Equal(seq, await waiting.Within());
            _time.Advance(EventSignal.WakeInterval);
        }
    }

    [Fact]
    public async Task Publish_SoonAfterAnother_WakesAllForTheSameNumberAfterTheInterval()
    {
        using var early = _signal.Watch("team");
        using var late = _signal.Watch("team");
        _signal.Publish("team", 1);

        var first = early.WaitAsync(1, CancellationToken.None);
        _signal.Publish("team", 2);
        _signal.Publish("team", 5);
        var second = late.WaitAsync(1, CancellationToken.None);
        _time.Advance(EventSignal.WakeInterval - TimeSpan.FromTicks(1));
        Assert.False(first.IsCompleted || second.IsCompleted);

        _time.Advance(TimeSpan.FromTicks(1));
        Assert.All(await Task.WhenAll(first, second).Within(), woken => Assert.Equal(5, woken));
    }

    [Fact]
    public async Task Publish_OfAnotherTeamOrAnOlderNumber_WakesNobody()
    {
        using var watch = _signal.Watch("team");
        using var other = _signal.Watch("other");
        _signal.Publish("team", 7);
        _time.Advance(EventSignal.WakeInterval);

        var waiting = watch.WaitAsync(7, CancellationToken.None);
        _signal.Publish("other", 8);
        _signal.Publish("team", 6);
        _signal.Publish("team", 7);
        _time.Advance(EventSignal.WakeInterval);

        Assert.False(waiting.IsCompleted);
        Assert.Equal(7, await watch.WaitAsync(6, CancellationToken.None).Within());
    }
}
