using Hub.Limits;
using Hub.TestKit;

namespace Hub.Tests.Limits;

public sealed class RateMeterTests
{
    private readonly ManualTimeProvider _time = new();

    [Fact]
    public void TryTake_WholeAllowanceAndOneMore_IsRefusedWithLimitUseAndReset()
    {
        var meter = new RateMeter(60, TimeSpan.FromMinutes(1), _time);
        for (var i = 0; i < 60; i++)
        {
            Assert.Null(meter.TryTake("a"));
        }

        var excess = meter.TryTake("a")!.Value;

        Assert.Equal((60, 60), (excess.Limit, excess.Use));
        Assert.Equal(TimeSpan.FromSeconds(1), excess.RetryAfter);
        Assert.Equal(TimeSpan.FromMinutes(1), excess.Reset);
        Assert.Null(meter.TryTake("b"));
    }

    [Fact]
    public void TryTake_AfterTheTimeItNamed_IsGranted()
    {
        var meter = new RateMeter(7, TimeSpan.FromSeconds(1), _time);
        Assert.Null(meter.TryTake("a", 7));
        var excess = meter.TryTake("a", 3)!.Value;

        _time.Advance(excess.RetryAfter);

        Assert.Null(meter.TryTake("a", 3));
    }

    [Fact]
    public void TryTake_LongAfter_HasSavedUpOneWindowOnly()
    {
        var meter = new RateMeter(10, TimeSpan.FromSeconds(1), _time);
        Assert.Null(meter.TryTake("a"));
        _time.Advance(TimeSpan.FromHours(1));

        Assert.Null(meter.TryTake("a", 10));
        Assert.NotNull(meter.TryTake("a"));
    }

    [Fact]
    public void Spend_MoreThanTheAllowance_WaitsUntilItIsPaidBack()
    {
        var meter = new RateMeter(100, TimeSpan.FromSeconds(1), _time);

        Assert.Equal(TimeSpan.Zero, meter.Spend("a", 100));
        Assert.Equal(TimeSpan.FromSeconds(2), meter.Spend("a", 200));
        _time.Advance(TimeSpan.FromSeconds(2.5));
        Assert.Equal(TimeSpan.Zero, meter.Spend("a", 50));
    }

    [Fact]
    public void Limit_OfZero_IsNone()
    {
        var meter = new RateMeter(0, TimeSpan.FromSeconds(1), _time);

        Assert.Equal(TimeSpan.Zero, meter.Spend("a", long.MaxValue));
        Assert.Null(meter.TryTake("a", long.MaxValue));
        Assert.Equal(0, meter.Entries);
    }

    [Fact]
    public void Entries_OfKeysThatCameOnce_GoWhenTheyAreIdle()
    {
        var meter = new RateMeter(1, TimeSpan.FromSeconds(1), _time);
        for (var i = 0; i < 100_000; i++)
        {
            meter.TryTake($"key-{i}");
            if (i % 1_000 == 0)
            {
                _time.Advance(TimeSpan.FromSeconds(1));
            }
        }

        Assert.InRange(meter.Entries, 1, 5_000);
    }
}
