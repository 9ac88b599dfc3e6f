using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;

namespace Hub.Identity;

/// <summary>Random bearer secrets. Only their SHA-256 is stored: 256 random bits need no slow hash.</summary>
internal static class Secret
{
    public const string HostCredentialPrefix = "hcred_";
    public const string JoinTokenPrefix = "hjoin_";
    public const string ApiKeyPrefix = "rk_live_";
    public const string WatchTicketPrefix = "hwatch_";
    public const string RefreshPrefix = "hrefresh_";
    public const string InvitePrefix = "hinvite_";
    public const string ResetPrefix = "hreset_";

    /// <summary>Longest token that is looked at; anything longer is not one of ours.</summary>
    public const int LengthMax = 4096;

    private const int RandomBytes = 32;

    public static string New(string prefix) => prefix + Base64Url.EncodeToString(RandomNumberGenerator.GetBytes(RandomBytes));

    /// <summary>Lower-case hex of the secret's SHA-256.</summary>
    public static string Hash(string secret) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(secret)));

    /// <summary>Compares in constant time.</summary>
    public static bool Matches(string secret, string storedHash) => CryptographicOperations.FixedTimeEquals(
        Encoding.ASCII.GetBytes(Hash(secret)), Encoding.ASCII.GetBytes(storedHash));
}
