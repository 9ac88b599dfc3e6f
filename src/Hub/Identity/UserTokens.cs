using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Hub.Contracts.V1;
using Microsoft.Extensions.Caching.Memory;

namespace Hub.Identity;

/// <summary>What a checked token says.</summary>
/// <param name="UserId">Whom it speaks for.</param>
/// <param name="SessionId">The session it ends with; null where it ends by time alone.</param>
/// <param name="GoodUntil">When it ends, with the leeway for clocks; null where that is not known.</param>
internal sealed record UserToken(string UserId, string? SessionId = null, DateTimeOffset? GoodUntil = null);

/// <summary>
/// Signs and checks the Hub's own user tokens: JWTs with ES256 (RFC 7519, RFC 7518 §3.4). One key, one issuer, one audience, one type:
/// a token of any other ring is not a user, whatever it says.
/// </summary>
internal sealed class UserTokens(ECDsa key, TimeProvider time) : IDisposable
{
    public static readonly TimeSpan LifetimeDefault = TimeSpan.FromDays(30);

    private const string Issuer = "hub";
    private const string Audience = "hub-users";
    private const string Type = "hub-user+jwt";
    private const string Algorithm = "ES256";

    /// <summary>Tokens remembered as checked.</summary>
    internal const int CheckedMax = 10_000;

    private static readonly TimeSpan ClockSkew = TimeSpan.FromSeconds(30);

    // By their hashes. What a token says never changes, and to check its signature costs more than most reads.
    private readonly MemoryCache _checked = new(new MemoryCacheOptions { SizeLimit = CheckedMax });

    private readonly string _keyId = Base64Url.EncodeToString(SHA256.HashData(key.ExportSubjectPublicKeyInfo()).AsSpan(0, 12));

    /// <summary>Signs with the key in <paramref name="path"/>, which is made, readable by its owner only, if it does not exist.</summary>
    public static UserTokens FromFile(string path, TimeProvider time)
    {
        if (!File.Exists(path))
        {
            CreateKeyFile(path);
        }

        return FromPem(File.ReadAllText(path), time);
    }

    /// <exception cref="CryptographicException">The text is no P-256 private key.</exception>
    public static UserTokens FromPem(string pem, TimeProvider time)
    {
        var key = ECDsa.Create();
        try
        {
            key.ImportFromPem(pem);
            return key.KeySize == 256 ? new UserTokens(key, time) : throw new CryptographicException("The key is not on P-256.");
        }
        catch (Exception e) when (e is ArgumentException or CryptographicException)
        {
            key.Dispose();
            throw e as CryptographicException ?? new CryptographicException(e.Message, e);
        }
    }

    /// <summary>The key that checks the tokens, for others.</summary>
    public SigningKey PublicKey
    {
        get
        {
            var point = key.ExportParameters(includePrivateParameters: false).Q;
            return new()
            {
                Kty = "EC",
                Crv = "P-256",
                X = Base64Url.EncodeToString(point.X),
                Y = Base64Url.EncodeToString(point.Y),
                Kid = _keyId,
                Alg = Algorithm,
                Use = "sig",
            };
        }
    }

    /// <param name="userId">Whom the token speaks for.</param>
    /// <param name="lifetime">How long.</param>
    /// <param name="sessionId">The session it ends with; null for a token that ends by time alone.</param>
    public string Sign(string userId, TimeSpan lifetime, string? sessionId = null)
    {
        var now = time.GetUtcNow();
        var header = JsonSerializer.SerializeToUtf8Bytes(new Dictionary<string, string>
        {
            ["alg"] = Algorithm,
            ["typ"] = Type,
            ["kid"] = _keyId,
        });
        var content = new Dictionary<string, object>
        {
            ["iss"] = Issuer,
            ["aud"] = Audience,
            ["sub"] = userId,
            ["iat"] = now.ToUnixTimeSeconds(),
            ["exp"] = (now + lifetime).ToUnixTimeSeconds(),
        };
        if (sessionId is not null)
        {
            content["sid"] = sessionId;
        }

        var claims = JsonSerializer.SerializeToUtf8Bytes(content);
        var signed = $"{Base64Url.EncodeToString(header)}.{Base64Url.EncodeToString(claims)}";
        var signature = key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation);
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>What a token says, or null if it is not one of ours or out of time.</summary>
    public UserToken? Check(string token)
    {
        var hash = Secret.Hash(token);
        if (_checked.TryGetValue(hash, out UserToken? known))
        {
            return time.GetUtcNow() < known!.GoodUntil ? known : null;
        }

        if (Verify(token) is not { GoodUntil: { } goodUntil } verified)
        {
            return null;
        }

        _checked.Set(hash, verified, new MemoryCacheEntryOptions { Size = 1, AbsoluteExpiration = goodUntil });
        return verified;
    }

    public void Dispose()
    {
        _checked.Dispose();
        key.Dispose();
    }

    private UserToken? Verify(string token)
    {
        var parts = token.Split('.');
        if (parts.Length != 3)
        {
            return null;
        }

        try
        {
            using var header = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[0]));
            if (!Is(header, "alg", Algorithm) || !Is(header, "typ", Type) || !Is(header, "kid", _keyId)
                || !key.VerifyData(
                    Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]),
                    HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation))
            {
                return null;
            }

            using var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[1]));
            var expires = DateTimeOffset.FromUnixTimeSeconds(claims.RootElement.GetProperty("exp").GetInt64());
            return Is(claims, "iss", Issuer) && Is(claims, "aud", Audience) && time.GetUtcNow() < expires + ClockSkew
                && claims.RootElement.GetProperty("sub").GetString() is { } userId
                ? new UserToken(userId, claims.RootElement.TryGetProperty("sid", out var session) ? session.GetString() : null, expires + ClockSkew)
                : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or KeyNotFoundException or InvalidOperationException
            or CryptographicException or ArgumentOutOfRangeException)
        {
            return null; // Text that only looks like a token.
        }
    }

    private static bool Is(JsonDocument document, string name, string value) =>
        document.RootElement.TryGetProperty(name, out var found) && found.ValueKind == JsonValueKind.String && found.ValueEquals(value);

    private static void CreateKeyFile(string path)
    {
        using var fresh = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var options = new FileStreamOptions { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
        {
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
        }

        // Written beside and moved into place, so that a second process never reads half a key; the first one to move wins.
        var draft = $"{path}.{Guid.NewGuid():N}";
        using (var writer = new StreamWriter(draft, options))
        {
            writer.Write(fresh.ExportPkcs8PrivateKeyPem());
        }

        try
        {
            File.Move(draft, path, overwrite: false);
        }
        catch (IOException) when (File.Exists(path))
        {
            File.Delete(draft);
        }
    }
}
