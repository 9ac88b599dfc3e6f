using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Telemetry;
using Hub.TestKit;

namespace Hub.Tests.Telemetry;

public sealed class TelemetryBoardTests
{
    private readonly ManualTimeProvider _time = new();
    private readonly TelemetryBoard _board;

    public TelemetryBoardTests() => _board = new TelemetryBoard(_time);

    [Fact]
    public void Take_OfOneHostMoreThanIsKept_ForgetsTheOneLongestUnheardOf()
    {
        for (var i = 0; i <= TelemetryBoard.ReportsMax; i++)
        {
            _board.Take($"address {i}", new IngestTelemetryRequest { HostId = $"host {i}" });
            _time.Advance(TimeSpan.FromMilliseconds(1));
        }

        Assert.Null(_board.Find("host 0"));
        Assert.NotNull(_board.Find("host 1"));
        Assert.NotNull(_board.Find($"host {TelemetryBoard.ReportsMax}"));
    }

    [Fact]
    public void Take_FromOneAddressMoreThanIsCounted_IsRefusedUntilTheNextWindow()
    {
        var report = new IngestTelemetryRequest { HostId = "host" };
        for (var i = 0; i < TelemetryBoard.AddressesMax; i++)
        {
            _board.Take($"address {i}", report);
        }

        var refusal = Assert.Throws<HubException>(() => _board.Take("one more", report));
        _board.Take("address 0", report);
        _time.Advance(refusal.RetryAfter!.Value);

        Assert.Equal(ErrorReason.RateLimited, refusal.Reason);
        _board.Take("one more", report);
    }
}
