using System.Security.Cryptography;
using System.Text;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;

namespace Hub.Identity;

/// <summary>
/// Seals what the Hub has to read back, with AES-256-GCM under HUB_SECRETS_KEY. What a value is for is bound to it: moved to another row
/// it does not open.
/// </summary>
internal sealed class SecretBox(HubSettings settings)
{
    public const int KeyBytes = 32;

    private static readonly int NonceBytes = AesGcm.NonceByteSizes.MaxSize;
    private static readonly int TagBytes = AesGcm.TagByteSizes.MaxSize;

    /// <returns>Base64 of nonce, tag and ciphertext.</returns>
    /// <exception cref="HubException">SECRETS_KEY_MISSING.</exception>
    public string Seal(string purpose, string text)
    {
        var key = settings.SecretsKey ?? throw new HubException(
            ErrorReason.SecretsKeyMissing, $"The operator has to set {HubSettings.SecretsKeyKey} first: base64 of {KeyBytes} random bytes.");
        var plain = Encoding.UTF8.GetBytes(text);
        var box = new byte[NonceBytes + TagBytes + plain.Length];
        var nonce = box.AsSpan(0, NonceBytes);
        RandomNumberGenerator.Fill(nonce);
        using var aes = new AesGcm(key, TagBytes);
        aes.Encrypt(
            nonce, plain, box.AsSpan(NonceBytes + TagBytes), box.AsSpan(NonceBytes, TagBytes), Encoding.UTF8.GetBytes(purpose));
        return Convert.ToBase64String(box);
    }

    /// <summary>What was sealed for this purpose, or null: sealed with another key, for another purpose, or changed.</summary>
    public string? Open(string purpose, string sealedText)
    {
        if (settings.SecretsKey is not { } key)
        {
            return null;
        }

        var box = Convert.FromBase64String(sealedText);
        var plain = new byte[box.Length - NonceBytes - TagBytes];
        using var aes = new AesGcm(key, TagBytes);
        try
        {
            aes.Decrypt(
                box.AsSpan(0, NonceBytes), box.AsSpan(NonceBytes + TagBytes), box.AsSpan(NonceBytes, TagBytes), plain,
                Encoding.UTF8.GetBytes(purpose));
            return Encoding.UTF8.GetString(plain);
        }
        catch (AuthenticationTagMismatchException)
        {
            return null;
        }
    }
}
