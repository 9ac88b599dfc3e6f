using Grpc.Core;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class RetryPolicyTests
{
    private const int Seed = 4711;

    private readonly RetryPolicy _policy = new(new Random(Seed));

    [Fact]
    public void BackOff_Attempts_LieInDoublingWindows()
    {
        var backOff = new BackOff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(64), new Random(Seed));
        var at = TimeSpan.Zero;
        var windowStart = TimeSpan.Zero;
        for (var attempt = 0; attempt < 12; attempt++)
        {
            var window = TimeSpan.FromSeconds(Math.Min(64, Math.Pow(2, attempt)));
            at += backOff.Next();
            Assert.True(at >= windowStart && at < windowStart + window, $"Seed {Seed}, attempt {attempt}: {at} is outside its window.");
            windowStart += window;
        }
    }

    [Fact]
    public void BackOff_Reset_BeginsWithTheFirstWindow()
    {
        var backOff = new BackOff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(64), new Random(Seed));
        for (var attempt = 0; attempt < 5; attempt++)
        {
            backOff.Next();
        }

        backOff.Reset();
        Assert.InRange(backOff.Next(), TimeSpan.Zero, TimeSpan.FromSeconds(1));
    }

    [Fact]
    public void TakenOver_Repeated_DoublesTo15Minutes()
    {
        var waits = Enumerable.Range(0, 7).Select(_ => _policy.After(Goodbye(GoodbyeReason.TakenOver), TimeSpan.FromSeconds(1)).Wait.TotalSeconds);
        Assert.Equal([30, 60, 120, 240, 480, 900, 900], waits);
    }

    [Fact]
    public void ClonedIdentity_WaitsAsLongAsTheHubSays()
    {
        var end = new LinkEnd.Dismissed(GoodbyeReason.ClonedIdentity, TimeSpan.FromMinutes(3), "");
        Assert.Equal(TimeSpan.FromMinutes(3), _policy.After(end, TimeSpan.Zero).Wait);
    }

    [Fact]
    public void RetryAfter_BeyondAllBounds_IsBounded()
    {
        var end = new LinkEnd.Dismissed(GoodbyeReason.Overloaded, TimeSpan.FromDays(300), "");
        Assert.Equal(RetryPolicy.WaitMax, _policy.After(end, TimeSpan.Zero).Wait);
    }

    [Theory]
    [InlineData(GoodbyeReason.Revoked, true)]
    [InlineData(GoodbyeReason.Deleted, true)]
    [InlineData(GoodbyeReason.TeamSuspended, false)]
    [InlineData(GoodbyeReason.ProtocolError, false)]
    [InlineData(GoodbyeReason.ClonedIdentity, false)]
    public void Goodbye_Reason_StopsOnlyForRevokedAndDeleted(GoodbyeReason reason, bool stops) =>
        Assert.Equal(stops, _policy.After(Goodbye(reason), TimeSpan.Zero).IsStop);

    [Fact]
    public void Unauthenticated_ForEver_WaitsAtMost15MinutesPerWindow()
    {
        for (var attempt = 0; attempt < 40; attempt++)
        {
            var decision = _policy.After(new LinkEnd.Failed(StatusCode.Unauthenticated, ""), TimeSpan.Zero);
            Assert.True(decision.ClaimFirst);
            Assert.InRange(decision.Wait, TimeSpan.Zero, RetryPolicy.WaitMax);
        }
    }

    [Fact]
    public void JournalReplaced_Twice_DoesNotDialInATightLoop()
    {
        Assert.Equal(TimeSpan.Zero, _policy.After(new LinkEnd.JournalReplaced(), TimeSpan.Zero).Wait);
        Assert.True(_policy.After(new LinkEnd.JournalReplaced(), TimeSpan.Zero).Wait > TimeSpan.Zero);
    }

    private static LinkEnd.Dismissed Goodbye(GoodbyeReason reason) => new(reason, TimeSpan.Zero, "");
}
