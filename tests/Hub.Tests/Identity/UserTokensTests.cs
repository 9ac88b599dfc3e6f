using System.Security.Cryptography;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.Tests.Identity;

public sealed class UserTokensTests : IDisposable
{
    private readonly ManualTimeProvider _time = new();
    private readonly UserTokens _tokens;

    public UserTokensTests() => _tokens = NewTokens();

    [Fact]
    public void Token_CheckedBefore_EndsAtItsTime()
    {
        var token = _tokens.Sign("user", TimeSpan.FromMinutes(10), "session");

        Assert.Equal(("user", "session"), (_tokens.Check(token)!.UserId, _tokens.Check(token)!.SessionId));
        _time.Advance(TimeSpan.FromMinutes(11));

        Assert.Null(_tokens.Check(token));
    }

    [Fact]
    public void Token_ThatDiffersFromAGoodOne_IsCheckedForItself()
    {
        var token = _tokens.Sign("user", TimeSpan.FromMinutes(10));
        Assert.NotNull(_tokens.Check(token));
        using var others = NewTokens();

        Assert.Null(_tokens.Check(token[..^2] + (token[^2] == 'A' ? "BA" : "AA")));
        Assert.Null(_tokens.Check(token + "."));
        Assert.Null(others.Check(token));
        Assert.NotNull(_tokens.Check(token));
    }

    [Fact]
    public void Tokens_MoreThanAreRemembered_AreAllTaken()
    {
        var tokens = Enumerable.Range(0, UserTokens.CheckedMax + 10).Select(i => _tokens.Sign($"user-{i}", TimeSpan.FromHours(1))).ToArray();

        Assert.All(tokens, token => Assert.NotNull(_tokens.Check(token)));
        Assert.Equal("user-0", _tokens.Check(tokens[0])!.UserId);
        Assert.Equal($"user-{tokens.Length - 1}", _tokens.Check(tokens[^1])!.UserId);
    }

    public void Dispose() => _tokens.Dispose();

    private UserTokens NewTokens()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        return UserTokens.FromPem(key.ExportPkcs8PrivateKeyPem(), _time);
    }
}
