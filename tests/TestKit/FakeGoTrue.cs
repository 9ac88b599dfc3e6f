using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.TestKit;

/// <summary>
/// Supabase Auth as a Hub meets it, over HTTP: what its routes take, answer and refuse, and the tokens they issue. Accounts live in memory.
/// </summary>
public sealed class FakeGoTrue : IAsyncDisposable
{
    private const int PasswordMin = 6;
    private const int AccessSeconds = 3_600;

    /// <summary>A used refresh token is taken for a repeat this long, for a theft later.</summary>
    private static readonly TimeSpan ReuseWindow = TimeSpan.FromSeconds(10);

    private readonly WebApplication _web;
    private readonly TimeProvider _time;
    private readonly ConcurrentDictionary<string, Account> _accounts = new(StringComparer.OrdinalIgnoreCase);
    private readonly ConcurrentDictionary<string, Refresh> _refreshes = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, bool> _endedSessions = new(StringComparer.Ordinal);
    private readonly List<(string Kid, ECDsa Key)> _keys = [];

    private FakeGoTrue(WebApplication web, TimeProvider time) => (_web, _time) = (web, time);

    public const string AnonKey = "anon-key";
    public const string JwtSecret = "a shared secret of at least thirty-two characters";

    /// <summary>The project's address; Auth is below it at /auth/v1.</summary>
    public Uri Url => new(_web.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.First());

    public string Issuer => $"{Url.AbsoluteUri.TrimEnd('/')}/auth/v1";

    /// <summary>New accounts need no confirmed address. A fresh project has this off.</summary>
    public bool AutoConfirm { get; set; } = true;

    /// <summary>Signs with the shared secret and without a kid, as older projects do.</summary>
    public bool SignsWithSecret { get; set; }

    /// <summary>Answers everything with 500.</summary>
    public bool IsBroken { get; set; }

    /// <summary>How often the keys were fetched.</summary>
    public int KeyFetches { get; private set; }

    /// <summary>Addresses that asked for a link to set a new password.</summary>
    public ConcurrentQueue<string> Recoveries { get; } = new();

    /// <summary>The settings of a Hub whose accounts live here.</summary>
    public (string Key, string Value)[] Settings =>
    [
        ("AUTH_BACKEND", "supabase"), ("SUPABASE_URL", Url.ToString()), ("SUPABASE_ANON_KEY", AnonKey), ("SUPABASE_JWT_SECRET", JwtSecret),
    ];

    public static async Task<FakeGoTrue> StartAsync(TimeProvider? time = null)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1));
        var web = builder.Build();
        var fake = new FakeGoTrue(web, time ?? TimeProvider.System);
        fake.RotateKey();
        fake.Map();
        await web.StartAsync().Within();
        return fake;
    }

    /// <summary>Signs with a new key from now on; the old one stays published.</summary>
    public void RotateKey()
    {
        lock (_keys)
        {
            _keys.Add(($"key-{_keys.Count + 1}", ECDsa.Create(ECCurve.NamedCurves.nistP256)));
        }
    }

    /// <summary>An account that was made elsewhere, such as by a dashboard.</summary>
    public void AddAccount(string email, string password) => _accounts[email] = new Account(Guid.NewGuid().ToString(), email, password) { IsConfirmed = true };

    /// <summary>The address was confirmed by its link.</summary>
    public void Confirm(string email) => _accounts[email].IsConfirmed = true;

    /// <summary>An access token for an account, with what <paramref name="change"/> makes of its claims and header.</summary>
    public string Token(string email, Action<JsonObject, JsonObject>? change = null) =>
        Sign(Claims(_accounts[email], Guid.NewGuid().ToString()), change);

    /// <summary>The token that the link of a recovery mail opens a session with.</summary>
    public string RecoveryToken(string email) => Token(email);

    public async ValueTask DisposeAsync()
    {
        await _web.DisposeAsync();
        foreach (var (_, key) in _keys)
        {
            key.Dispose();
        }
    }

    private void Map()
    {
        _web.Use(async (http, next) =>
        {
            if (IsBroken)
            {
                http.Response.StatusCode = StatusCodes.Status500InternalServerError;
                return;
            }

            // The gateway in front of it.
            if (http.Request.Headers["apikey"] != AnonKey && !http.Request.Path.StartsWithSegments("/auth/v1/.well-known"))
            {
                http.Response.StatusCode = StatusCodes.Status401Unauthorized;
                await http.Response.WriteAsJsonAsync(new { message = "No API key found in request", hint = "No `apikey` request header was found." });
                return;
            }

            await next(http);
        });
        _web.MapPost("/auth/v1/signup", (Credentials given) => SignUp(given));
        _web.MapPost("/auth/v1/token", async (HttpRequest request) => await TokenAsync(request));
        _web.MapPost("/auth/v1/recover", (Credentials given) =>
        {
            Recoveries.Enqueue(given.Email ?? "");
            return Results.Json(new { });
        });
        _web.MapPut("/auth/v1/user", async (HttpRequest request) => await ChangeAsync(request));
        _web.MapPost("/auth/v1/logout", (HttpRequest request) =>
        {
            if (SessionOf(request) is not { } session)
            {
                return Error(StatusCodes.Status403Forbidden, "bad_jwt", "invalid JWT");
            }

            _endedSessions[session.Id] = true;
            return Results.NoContent();
        });
        _web.MapGet("/auth/v1/.well-known/jwks.json", () =>
        {
            KeyFetches++;
            lock (_keys)
            {
                return Results.Json(new { keys = SignsWithSecret ? [] : _keys.Select(item => PublicOf(item.Kid, item.Key)).ToArray() });
            }
        });
    }

    private IResult SignUp(Credentials given)
    {
        if (string.IsNullOrEmpty(given.Email) || string.IsNullOrEmpty(given.Password))
        {
            return Error(StatusCodes.Status422UnprocessableEntity, "validation_failed", "Signup requires a valid password");
        }

        if (given.Password.Length < PasswordMin)
        {
            return Error(StatusCodes.Status422UnprocessableEntity, "weak_password", $"Password should be at least {PasswordMin} characters.");
        }

        if (_accounts.TryGetValue(given.Email, out var known) && known.IsConfirmed)
        {
            // Who has to be confirmed by mail is not told who has an account: an invented user without identities.
            return AutoConfirm
                ? Error(StatusCodes.Status422UnprocessableEntity, "user_already_exists", "User already registered")
                : Results.Json(UserOf(new Account(Guid.NewGuid().ToString(), given.Email, ""), identities: []));
        }

        var account = new Account(Guid.NewGuid().ToString(), given.Email, given.Password) { IsConfirmed = AutoConfirm };
        _accounts[given.Email] = account;
        return Results.Json(AutoConfirm ? Open(account, Guid.NewGuid().ToString()) : UserOf(account));
    }

    private async Task<IResult> TokenAsync(HttpRequest request)
    {
        var given = await request.ReadFromJsonAsync<Credentials>() ?? new Credentials(null, null, null);
        if (request.Query["grant_type"] == "password")
        {
            if (!_accounts.TryGetValue(given.Email ?? "", out var account) || account.Password != given.Password)
            {
                return Error(StatusCodes.Status400BadRequest, "invalid_credentials", "Invalid login credentials");
            }

            return account.IsConfirmed
                ? Results.Json(Open(account, Guid.NewGuid().ToString()))
                : Error(StatusCodes.Status400BadRequest, "email_not_confirmed", "Email not confirmed");
        }

        if (!_refreshes.TryGetValue(given.RefreshToken ?? "", out var refresh))
        {
            return Error(StatusCodes.Status400BadRequest, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found");
        }

        if (_endedSessions.ContainsKey(refresh.SessionId))
        {
            return Error(StatusCodes.Status400BadRequest, "session_not_found", "Session from session_id claim in JWT does not exist");
        }

        if (refresh.UsedAt is { } used && _time.GetUtcNow() - used > ReuseWindow)
        {
            _endedSessions[refresh.SessionId] = true;
            return Error(StatusCodes.Status400BadRequest, "refresh_token_already_used", "Invalid Refresh Token: Already Used");
        }

        refresh.UsedAt ??= _time.GetUtcNow();
        return Results.Json(Open(refresh.Account, refresh.SessionId));
    }

    private async Task<IResult> ChangeAsync(HttpRequest request)
    {
        if (SessionOf(request) is not { } session)
        {
            return Error(StatusCodes.Status403Forbidden, "bad_jwt", "invalid JWT: unable to parse or verify signature");
        }

        var given = await request.ReadFromJsonAsync<Credentials>();
        if (given?.Password == session.Account.Password)
        {
            return Error(StatusCodes.Status422UnprocessableEntity, "same_password", "New password should be different from the old password.");
        }

        session.Account.Password = given?.Password ?? session.Account.Password;
        return Results.Json(UserOf(session.Account));
    }

    private (string Id, Account Account)? SessionOf(HttpRequest request)
    {
        try
        {
            var claims = JsonNode.Parse(Base64Url.DecodeFromChars(request.Headers.Authorization.ToString()["Bearer ".Length..].Split('.')[1]))!;
            var account = _accounts.Values.FirstOrDefault(known => known.Id == (string?)claims["sub"]);
            return account is null ? null : ((string)claims["session_id"]!, account);
        }
        catch (Exception e) when (e is FormatException or JsonException or IndexOutOfRangeException or ArgumentOutOfRangeException)
        {
            return null;
        }
    }

    private JsonObject Open(Account account, string sessionId)
    {
        var refresh = Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(6));
        _refreshes[refresh] = new Refresh(account, sessionId);
        return new JsonObject
        {
            ["access_token"] = Sign(Claims(account, sessionId), null),
            ["token_type"] = "bearer",
            ["expires_in"] = AccessSeconds,
            ["expires_at"] = _time.GetUtcNow().ToUnixTimeSeconds() + AccessSeconds,
            ["refresh_token"] = refresh,
            ["user"] = UserOf(account),
        };
    }

    private JsonObject Claims(Account account, string sessionId) => new()
    {
        ["iss"] = Issuer,
        ["sub"] = account.Id,
        ["aud"] = "authenticated",
        ["exp"] = _time.GetUtcNow().ToUnixTimeSeconds() + AccessSeconds,
        ["iat"] = _time.GetUtcNow().ToUnixTimeSeconds(),
        ["email"] = account.Email,
        ["phone"] = "",
        ["app_metadata"] = new JsonObject { ["provider"] = "email" },
        ["user_metadata"] = new JsonObject { ["role"] = "owner", ["team_id"] = "default" }, // What a user writes there itself counts for nothing.
        ["role"] = "authenticated",
        ["aal"] = "aal1",
        ["session_id"] = sessionId,
        ["is_anonymous"] = false,
    };

    private string Sign(JsonObject claims, Action<JsonObject, JsonObject>? change)
    {
        (string Kid, ECDsa Key) current;
        lock (_keys)
        {
            current = _keys[^1];
        }

        var header = SignsWithSecret
            ? new JsonObject { ["alg"] = "HS256", ["typ"] = "JWT" }
            : new JsonObject { ["alg"] = "ES256", ["kid"] = current.Kid, ["typ"] = "JWT" };
        change?.Invoke(claims, header);
        static string Part(JsonObject json) => Base64Url.EncodeToString(Encoding.UTF8.GetBytes(json.ToJsonString()));
        var signed = $"{Part(header)}.{Part(claims)}";
        var signature = (string?)header["alg"] switch
        {
            "HS256" when SignsWithSecret => HMACSHA256.HashData(Encoding.UTF8.GetBytes(JwtSecret), Encoding.ASCII.GetBytes(signed)),

            // The confusion of algorithms: the public key taken for a secret.
            "HS256" => HMACSHA256.HashData(current.Key.ExportSubjectPublicKeyInfo(), Encoding.ASCII.GetBytes(signed)),
            "none" => [],
            _ => current.Key.SignData(Encoding.ASCII.GetBytes(signed), HashAlgorithmName.SHA256, DSASignatureFormat.IeeeP1363FixedFieldConcatenation),
        };
        return $"{signed}.{Base64Url.EncodeToString(signature)}";
    }

    private static object PublicOf(string kid, ECDsa key)
    {
        var point = key.ExportParameters(false).Q;
        return new
        {
            kty = "EC",
            kid,
            alg = "ES256",
            use = "sig",
            key_ops = new[] { "verify" },
            crv = "P-256",
            x = Base64Url.EncodeToString(point.X),
            y = Base64Url.EncodeToString(point.Y),
        };
    }

    private static JsonObject UserOf(Account account, JsonArray? identities = null) => new()
    {
        ["id"] = account.Id,
        ["aud"] = "authenticated",
        ["role"] = "authenticated",
        ["email"] = account.Email,
        ["app_metadata"] = new JsonObject { ["provider"] = "email" },
        ["user_metadata"] = new JsonObject(),
        ["identities"] = identities ?? [new JsonObject { ["provider"] = "email", ["id"] = account.Id }],
        ["is_anonymous"] = false,
    };

    private static CodedError Error(int status, string code, string message) => new CodedError(status, code, message);

    private sealed class CodedError(int status, string code, string message) : IResult
    {
        public Task ExecuteAsync(HttpContext httpContext)
        {
            httpContext.Response.StatusCode = status;
            httpContext.Response.Headers["x-sb-error-code"] = code;
            return httpContext.Response.WriteAsJsonAsync(new { code = status, error_code = code, msg = message });
        }
    }

    private sealed record Credentials(string? Email, string? Password, [property: JsonPropertyName("refresh_token")] string? RefreshToken);

    private sealed class Account(string id, string email, string password)
    {
        public string Id { get; } = id;

        public string Email { get; } = email;

        public string Password { get; set; } = password;

        public bool IsConfirmed { get; set; }
    }

    private sealed class Refresh(Account account, string sessionId)
    {
        public Account Account { get; } = account;

        public string SessionId { get; } = sessionId;

        public DateTimeOffset? UsedAt { get; set; }
    }
}
