using Hub.Hosts;
using Hub.TestKit;

namespace Hub.Tests.Hosts;

public sealed class ClaimRepeatsTests
{
    private readonly ManualTimeProvider _time = new();
    private readonly ClaimRepeats _repeats;
    private int _claims;

    public ClaimRepeatsTests() => _repeats = new ClaimRepeats(_time);

    [Fact]
    public async Task Get_TwiceWithinTheTime_IsOneClaim()
    {
        var first = await ClaimAsync("token");
        _time.Advance(ClaimRepeats.Within - TimeSpan.FromTicks(1));

        Assert.Same(first, await ClaimAsync("token"));
        Assert.Equal(1, _claims);
    }

    [Fact]
    public async Task Get_AfterTheTime_ClaimsAgain()
    {
        await ClaimAsync("token");
        _time.Advance(ClaimRepeats.Within);

        await ClaimAsync("token");

        Assert.Equal(2, _claims);
    }

    [Fact]
    public async Task Get_Refused_IsForgotten()
    {
        await Assert.ThrowsAsync<InvalidOperationException>(
            () => _repeats.GetAsync("token", () => Task.FromException<EnrolledHost>(new InvalidOperationException()), CancellationToken.None));

        await ClaimAsync("token");

        Assert.Equal(1, _claims);
    }

    [Fact]
    public async Task Get_MoreThanAreRemembered_ForgetsTheOldest()
    {
        for (var i = 0; i <= ClaimRepeats.ClaimsMax; i++)
        {
            await ClaimAsync($"token {i}");
        }

        await ClaimAsync("token 1");
        Assert.Equal(ClaimRepeats.ClaimsMax + 1, _claims);
        await ClaimAsync("token 0");
        Assert.Equal(ClaimRepeats.ClaimsMax + 2, _claims);
    }

    private Task<EnrolledHost> ClaimAsync(string hash) => _repeats.GetAsync(
        hash,
        () =>
        {
            _claims++;
            return Task.FromResult(new EnrolledHost("team", $"host {_claims}", "credential"));
        },
        CancellationToken.None);
}
