using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Watch;

namespace Hub.Tests.Watch;

public sealed class WatchCountTests
{
    [Fact]
    public void Enter_OneMoreThanATeamMayHaveOpen_IsRefusedUntilOneIsClosed()
    {
        var count = new WatchCount();
        var open = Enumerable.Range(0, WatchCount.PerTeamMax).Select(_ => count.Enter("team")).ToArray();

        var refusal = Assert.Throws<HubException>(() => count.Enter("team"));
        open[0].Dispose();

        Assert.Equal(ErrorReason.WatchesMax, refusal.Reason);
        count.Enter("team").Dispose();
        count.Enter("another team").Dispose();
    }
}
