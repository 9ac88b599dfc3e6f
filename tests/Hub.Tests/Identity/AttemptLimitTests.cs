using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.Tests.Identity;

public sealed class AttemptLimitTests
{
    private readonly ManualTimeProvider _time = new();
    private readonly AttemptLimit _limit;

    public AttemptLimitTests() => _limit = new AttemptLimit(_time);

    [Fact]
    public void Take_AnAccountFromManyAddresses_IsRefusedForEveryAddress()
    {
        for (var i = 0; i < AttemptLimit.PerAccountMax; i++)
        {
            _limit.Take($"address {i}", "account");
        }

        AssertRefused("another address", "account", AttemptLimit.PerAccountMax);
        _limit.Take("another address", "another account");
    }

    [Fact]
    public void Take_ManyAccountsFromOneAddress_IsRefusedForEveryAccount()
    {
        for (var i = 0; i < AttemptLimit.PerAddressMax; i++)
        {
            _limit.Take("address", $"account {i}");
        }

        AssertRefused("address", "another account", AttemptLimit.PerAddressMax);
        _limit.Take("another address", "another account");
    }

    [Fact]
    public void Take_MoreCountsThanAreKept_ForgetsTheOldest()
    {
        for (var i = 0; i < AttemptLimit.PerAddressAndAccountMax; i++)
        {
            _limit.Take("address", "account");
        }

        AssertRefused("address", "account", AttemptLimit.PerAddressAndAccountMax);
        for (var i = 0; i < AttemptLimit.CountsMax; i++)
        {
            _limit.Take($"address {i}", $"account {i}");
        }

        _limit.Take("address", "account");
    }

    private void AssertRefused(string address, string account, int limit)
    {
        var refusal = Assert.Throws<HubException>(() => _limit.Take(address, account));
        Assert.Equal(ErrorReason.RateLimited, refusal.Reason);
        Assert.Contains(("limit", $"{limit}"), refusal.Metadata);
        Assert.Equal(AttemptLimit.Window, refusal.RetryAfter);
    }
}
