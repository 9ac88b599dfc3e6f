using System.Buffers.Text;
using System.Collections.Frozen;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Identity;

/// <summary>Who a Supabase token speaks for. Nothing else in it counts: roles and teams are the Hub's own.</summary>
/// <param name="ExternalId">Its id for the user.</param>
/// <param name="Email">In lower case.</param>
/// <param name="GoodUntil">When the token ends, with the leeway for clocks; null for somebody who just signed in.</param>
internal sealed record ExternalUser(string ExternalId, string Email, DateTimeOffset? GoodUntil = null);

/// <summary>
/// Checks access tokens of Supabase Auth. The key is chosen by kid and its own algorithm is demanded: HS256 only ever meets the shared secret,
/// ES256 and RS256 only ever a public key, so no public key can serve as a secret.
/// </summary>
internal sealed class SupabaseTokens(SupabaseSettings settings, HttpClient http, TimeProvider time) : IDisposable
{
    private const string Audience = "authenticated";
    private const int KeysMax = 20;

    /// <summary>A token with an unknown kid makes the Hub look for new keys, this often at most.</summary>
    private static readonly TimeSpan RefetchAfter = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan FetchWithin = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan ClockSkew = TimeSpan.FromSeconds(30);

    private readonly SemaphoreSlim _fetching = new(1);
    private FrozenDictionary<string, PublicKey> _keys = FrozenDictionary<string, PublicKey>.Empty;
    private DateTimeOffset _fetchedAt = DateTimeOffset.MinValue;

    /// <summary>The user a token speaks for, or null if it is none of this ring or out of time.</summary>
    /// <exception cref="HubException">IDENTITY_PROVIDER_UNAVAILABLE: the keys could not be fetched.</exception>
    public async Task<ExternalUser?> CheckAsync(string token, CancellationToken cancellation)
    {
        var parts = token.Split('.');
        if (parts.Length != 3)
        {
            return null;
        }

        try
        {
            using var header = JsonDocument.Parse(Base64Url.DecodeFromChars(parts[0]));
            var signed = Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}");
            var signature = Base64Url.DecodeFromChars(parts[2]);
            var kid = Text(header.RootElement, "kid");
            var isSigned = Text(header.RootElement, "alg") switch
            {
                "HS256" => settings.JwtSecret is { } secret
                    && CryptographicOperations.FixedTimeEquals(HMACSHA256.HashData(Encoding.UTF8.GetBytes(secret), signed), signature),
                "ES256" or "RS256" when kid is not null =>
                    await FindAsync(kid, cancellation) is { } key && key.Algorithm == Text(header.RootElement, "alg") && key.Verifies(signed, signature),
                _ => false,
            };
            return isSigned ? UserOf(parts[1]) : null;
        }
        catch (Exception e) when (e is FormatException or JsonException or KeyNotFoundException or InvalidOperationException
            or CryptographicException or ArgumentOutOfRangeException)
        {
            return null; // Text that only looks like a token.
        }
    }

    public void Dispose()
    {
        _fetching.Dispose();
        Forget();
    }

    private ExternalUser? UserOf(string part)
    {
        using var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(part));
        var root = claims.RootElement;
        var expires = DateTimeOffset.FromUnixTimeSeconds(root.GetProperty("exp").GetInt64());
        var isOurs = Text(root, "iss") == settings.AuthUrl && Text(root, "aud") == Audience && Text(root, "role") == Audience
            && time.GetUtcNow() < expires + ClockSkew;
        return isOurs && Text(root, "sub") is { Length: > 0 } id && Text(root, "email") is { Length: > 0 } email
            ? new ExternalUser(id, email.ToLowerInvariant(), expires + ClockSkew)
            : null;
    }

    private async Task<PublicKey?> FindAsync(string kid, CancellationToken cancellation)
    {
        if (_keys.TryGetValue(kid, out var known))
        {
            return known;
        }

        await _fetching.WaitAsync(cancellation);
        try
        {
            if (!_keys.ContainsKey(kid) && time.GetUtcNow() - _fetchedAt >= RefetchAfter)
            {
                await FetchAsync(cancellation);
            }
        }
        finally
        {
            _fetching.Release();
        }

        return _keys.GetValueOrDefault(kid);
    }

    private async Task FetchAsync(CancellationToken cancellation)
    {
        using var within = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        within.CancelAfter(FetchWithin);
        try
        {
            using var document = JsonDocument.Parse(await http.GetByteArrayAsync(new Uri($"{settings.AuthUrl}/.well-known/jwks.json"), within.Token));
            var fetched = new Dictionary<string, PublicKey>(_keys, StringComparer.Ordinal);
            foreach (var item in document.RootElement.GetProperty("keys").EnumerateArray().Take(KeysMax))
            {
                if (Text(item, "kid") is { } kid && !fetched.ContainsKey(kid) && PublicKey.Of(item) is { } key)
                {
                    fetched[kid] = key;
                }
            }

            // Old keys stay, for the tokens that they signed; a provider that changes them without end does not fill the memory.
            _keys = fetched.TakeLast(KeysMax).ToFrozenDictionary(StringComparer.Ordinal);
            _fetchedAt = time.GetUtcNow();
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or KeyNotFoundException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw new HubException(ErrorReason.IdentityProviderUnavailable, "The identity provider's keys cannot be read at the moment; try again.");
        }
    }

    private void Forget()
    {
        foreach (var key in _keys.Values)
        {
            key.Dispose();
        }
    }

    private static string? Text(JsonElement element, string name) =>
        element.TryGetProperty(name, out var found) && found.ValueKind == JsonValueKind.String ? found.GetString() : null;

    /// <summary>A public key that verifies by its own algorithm only.</summary>
    private sealed record PublicKey(string Algorithm, AsymmetricAlgorithm Key) : IDisposable
    {
        public static PublicKey? Of(JsonElement key)
        {
            if (Text(key, "kty") == "EC" && Text(key, "crv") == "P-256")
            {
                var point = new ECPoint { X = Bytes(key, "x"), Y = Bytes(key, "y") };
                return new PublicKey("ES256", ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = point }));
            }

            return Text(key, "kty") == "RSA"
                ? new PublicKey("RS256", RSA.Create(new RSAParameters { Modulus = Bytes(key, "n"), Exponent = Bytes(key, "e") }))
                : null;
        }

        public bool Verifies(byte[] signed, byte[] signature) => Key switch
        {
            ECDsa ec => ec.VerifyData(signed, signature, HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation),
            RSA rsa => rsa.VerifyData(signed, signature, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1),
            _ => false,
        };

        public void Dispose() => Key.Dispose();

        private static byte[] Bytes(JsonElement key, string name) => Base64Url.DecodeFromChars(Text(key, name));
    }
}
