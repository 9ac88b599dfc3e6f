using Hub.Links;
using Hub.TestKit;

namespace Hub.Tests.Links;

public sealed class FramesApplyingTests
{
    private readonly FramesApplying _applying = new();

    [Fact]
    public async Task Begin_AsManyFramesAsMayBe_TheNextWaitsForOneToEnd()
    {
        for (var i = 0; i < FramesApplying.FramesMax; i++)
        {
            await _applying.BeginAsync(1, CancellationToken.None).Within();
        }

        await AssertNextWaitsForOneToEndAsync();
    }

    [Fact]
    public async Task Begin_AsManyBytesAsMayBe_TheNextWaitsForOneToEnd()
    {
        await _applying.BeginAsync(FramesApplying.BytesMax - 1, CancellationToken.None).Within();
        await _applying.BeginAsync(1, CancellationToken.None).Within();

        await AssertNextWaitsForOneToEndAsync();
    }

    [Fact]
    public async Task Begin_FrameLargerThanAllOfThem_PassesAlone()
    {
        await _applying.BeginAsync(FramesApplying.BytesMax + 1, CancellationToken.None).Within();

        var none = _applying.WaitUntilNoneAsync();
        Assert.False(none.IsCompleted);
        _applying.End(FramesApplying.BytesMax + 1);

        await none.Within();
    }

    private async Task AssertNextWaitsForOneToEndAsync()
    {
        var next = _applying.BeginAsync(1, CancellationToken.None);
        Assert.False(next.IsCompleted);
        _applying.End(1);

        await next.Within();
    }
}
