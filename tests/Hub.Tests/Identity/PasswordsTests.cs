using Hub.Identity;
using Hub.TestKit;

namespace Hub.Tests.Identity;

public sealed class PasswordsTests
{
    private const string Password = "correct horse battery";

    [Fact]
    public async Task Hash_MoreThanAreAtWorkAtOnce_WaitAndAreHashed()
    {
        using var passwords = new Passwords();

        var hashes = await Task.WhenAll(
            Enumerable.Range(0, 2 * Passwords.AtOnceMax).Select(_ => passwords.HashAsync(Password, CancellationToken.None))).Within();

        Assert.Equal(hashes.Length, hashes.Distinct().Count());
        Assert.True(await passwords.MatchesAsync(Password, hashes[^1], CancellationToken.None).Within());
        Assert.False(await passwords.MatchesAsync(Password + "!", hashes[^1], CancellationToken.None).Within());
    }
}
