using System.Globalization;
using System.Security.Cryptography;
using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Identity;

/// <summary>Hashes and checks passwords: PBKDF2 with HMAC-SHA-256, each with its own salt and its count of rounds beside it.</summary>
internal sealed class Passwords : IDisposable
{
    public const int LengthMin = 10;

    /// <summary>Longer text would only cost time.</summary>
    public const int LengthMax = 128;

    private const string Scheme = "pbkdf2-sha256";
    private const int Rounds = 600_000;
    private const int SaltBytes = 16;
    private const int HashBytes = 32;

    /// <summary>Hashes at work at once: each takes a core for about a fifth of a second, and the Hub has more to do.</summary>
    public const int AtOnceMax = 2;

    private readonly SemaphoreSlim _slots = new(AtOnceMax);

    /// <exception cref="HubException">PASSWORD_WEAK.</exception>
    public static void Require(string password)
    {
        if (password.Length is < LengthMin or > LengthMax)
        {
            throw new HubException(
                ErrorReason.PasswordWeak, $"A password has {LengthMin} to {LengthMax} characters.", ("min", $"{LengthMin}"), ("max", $"{LengthMax}"));
        }
    }

    public Task<string> HashAsync(string password, CancellationToken cancellation) => InSlotAsync(
        () =>
        {
            var salt = RandomNumberGenerator.GetBytes(SaltBytes);
            var hash = Rfc2898DeriveBytes.Pbkdf2(password, salt, Rounds, HashAlgorithmName.SHA256, HashBytes);
            return $"{Scheme}${Rounds}${Convert.ToBase64String(salt)}${Convert.ToBase64String(hash)}";
        },
        cancellation);

    /// <summary>Compares in constant time. Without a stored hash it takes as long and says no, so that nobody learns who has an account.</summary>
    public Task<bool> MatchesAsync(string password, string? stored, CancellationToken cancellation) => InSlotAsync(
        () =>
        {
            var parts = stored?.Split('$');
            var rounds = parts is null ? Rounds : int.Parse(parts[1], CultureInfo.InvariantCulture);
            var salt = parts is null ? new byte[SaltBytes] : Convert.FromBase64String(parts[2]);
            var expected = parts is null ? new byte[HashBytes] : Convert.FromBase64String(parts[3]);
            var hash = Rfc2898DeriveBytes.Pbkdf2(password, salt, rounds, HashAlgorithmName.SHA256, HashBytes);
            return CryptographicOperations.FixedTimeEquals(hash, expected) && parts is not null;
        },
        cancellation);

    public void Dispose() => _slots.Dispose();

    private async Task<T> InSlotAsync<T>(Func<T> work, CancellationToken cancellation)
    {
        await _slots.WaitAsync(cancellation);
        try
        {
            return await Task.Run(work, CancellationToken.None);
        }
        finally
        {
            _slots.Release();
        }
    }
}
