using Hub.Canvas;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.TestKit;

namespace Hub.Tests.Canvas;

public sealed class CanvasQueriesTests
{
    [Fact]
    public void Add_OneQueryMoreThanMayWaitForAHost_IsRefusedUntilOneIsTaken()
    {
        var queries = new CanvasQueries(new ManualTimeProvider());
        for (var i = 0; i < CanvasQueries.PerHostMax; i++)
        {
            queries.Add("host", new CanvasQuery { QueryId = $"{i}" }, idempotencyKey: null);
        }

        var refusal = Assert.Throws<HubException>(() => queries.Add("host", new CanvasQuery { QueryId = "one more" }, idempotencyKey: null));
        queries.Take("host", new HashSet<string> { "0" });
        queries.Add("host", new CanvasQuery { QueryId = "one more" }, idempotencyKey: null);

        Assert.Equal(ErrorReason.ItemsMax, refusal.Reason);
        Assert.Equal(CanvasQueries.PerHostMax, queries.Read("host").Count);
    }
}
