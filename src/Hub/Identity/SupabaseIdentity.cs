using System.Net.Http.Headers;
using System.Text.Json;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Accounts at Supabase Auth: the same routes, its passwords and tokens, the Hub's teams.</summary>
internal sealed class SupabaseIdentity(
    SupabaseSettings settings, HttpClient http, Store store, Admission admission, Authenticator authenticator) : IIdentityProvider
{
    /// <summary>Larger answers are none of an Auth service.</summary>
    private const int AnswerBytesMax = 1024 * 1024;

    /// <summary>Code of the refusal of an address that has an account.</summary>
    private const string EmailExists = "email_exists";

    private static readonly TimeSpan CallWithin = TimeSpan.FromSeconds(10);

    public async Task<(UserRow User, string TeamId, IssuedSession? Session)> SignUpAsync(
        Newcomer newcomer, string password, CancellationToken cancellation)
    {
        await store.WriteAsync(Store.SystemTeam, tx => admission.Require(tx, newcomer), cancellation);
        var (externalId, session) = await RegisterAsync(newcomer.Email, password, cancellation);
        var (userId, teamId) = await store.WriteAsync(
            Store.SystemTeam, tx => admission.Admit(tx, newcomer with { ExternalId = externalId }), cancellation);
        return (new UserRow(userId, newcomer.Email, newcomer.Name), teamId, session);
    }

    public async Task<(UserRow User, IssuedSession Session)> SignInAsync(string email, string password, CancellationToken cancellation)
    {
        using var answer = await CallAsync(HttpMethod.Post, "/token?grant_type=password", new { email, password }, null, cancellation);
        var user = answer.RootElement.GetProperty("user");
        var external = new ExternalUser(user.GetProperty("id").GetString()!, user.GetProperty("email").GetString()!.ToLowerInvariant());
        var known = await authenticator.ExternalAsync(external, cancellation);
        return (new UserRow(known.UserId, known.Email, known.FullName), SessionOf(answer.RootElement));
    }

    public async Task<IssuedSession> RefreshAsync(string refreshToken, CancellationToken cancellation)
    {
        using var answer = await CallAsync(
            HttpMethod.Post, "/token?grant_type=refresh_token", new { refresh_token = refreshToken }, null, cancellation);
        return SessionOf(answer.RootElement);
    }

    public async Task SignOutAsync(Principal.User user, string accessToken, CancellationToken cancellation)
    {
        using var answer = await CallAsync(HttpMethod.Post, "/logout?scope=local", new { }, accessToken, cancellation);
    }

    public async Task RequestResetAsync(string email, CancellationToken cancellation)
    {
        using var answer = await CallAsync(HttpMethod.Post, "/recover", new { email }, null, cancellation);
    }

    /// <param name="token">Access token of the session that the mailed link opened.</param>
    /// <param name="password">The new password.</param>
    /// <param name="cancellation">Ends the wait.</param>
    public async Task ResetAsync(string token, string password, CancellationToken cancellation)
    {
        using var answer = await CallAsync(HttpMethod.Put, "/user", new { password }, token, cancellation);
    }

    /// <summary>
    /// Makes the account, or takes the one that the provider has already: it may serve other applications too, and an invited person may be
    /// known there. The password says whose it is.
    /// </summary>
    private async Task<(string ExternalId, IssuedSession? Session)> RegisterAsync(string email, string password, CancellationToken cancellation)
    {
        try
        {
            using var answer = await CallAsync(HttpMethod.Post, "/signup", new { email, password }, null, cancellation);
            var root = answer.RootElement;
            if (root.TryGetProperty("access_token", out _))
            {
                return (root.GetProperty("user").GetProperty("id").GetString()!, SessionOf(root));
            }

            // For an address that has an account the service invents a user, without identities, so that nobody learns of it.
            if (!root.TryGetProperty("identities", out var identities) || identities.ValueKind != JsonValueKind.Array || identities.GetArrayLength() > 0)
            {
                return (root.GetProperty("id").GetString()!, null);
            }
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.EmailTaken)
        {
            // Known there; see below.
        }

        try
        {
            using var known = await CallAsync(HttpMethod.Post, "/token?grant_type=password", new { email, password }, null, cancellation);
            return (known.RootElement.GetProperty("user").GetProperty("id").GetString()!, SessionOf(known.RootElement));
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.SignInFailed)
        {
            throw Refusal(EmailExists);
        }
    }

    private async Task<JsonDocument> CallAsync(HttpMethod method, string path, object body, string? bearer, CancellationToken cancellation)
    {
        using var within = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        within.CancelAfter(CallWithin);
        try
        {
            using var request = new HttpRequestMessage(method, new Uri(settings.AuthUrl + path)) { Content = JsonContent.Create(body) };
            request.Headers.Add("apikey", settings.AnonKey);
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", bearer ?? settings.AnonKey);
            using var response = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, within.Token);
            await response.Content.LoadIntoBufferAsync(AnswerBytesMax, within.Token);
            var bytes = await response.Content.ReadAsByteArrayAsync(within.Token);
            var answer = JsonDocument.Parse(bytes.Length == 0 ? "{}"u8.ToArray() : bytes);
            if (response.IsSuccessStatusCode)
            {
                return answer;
            }

            using (answer)
            {
                throw Refusal(CodeOf(answer.RootElement));
            }
        }
        catch (Exception e) when (e is HttpRequestException or JsonException or InvalidOperationException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw Refusal("");
        }
    }

    /// <summary>The error's code, in whichever of its three forms the service wrote it.</summary>
    private static string CodeOf(JsonElement error)
    {
        foreach (var name in (ReadOnlySpan<string>)["error_code", "code", "error"])
        {
            if (error.ValueKind == JsonValueKind.Object && error.TryGetProperty(name, out var code) && code.ValueKind == JsonValueKind.String)
            {
                return code.GetString()!;
            }
        }

        return "";
    }

    private static HubException Refusal(string code) => code switch
    {
        "user_already_exists" or EmailExists => new(ErrorReason.EmailTaken, "There is an account with this e-mail address: sign in."),
        "weak_password" or "same_password" => new(ErrorReason.PasswordWeak, "The identity provider wants a stronger, new password."),
        "signup_disabled" => new(ErrorReason.SignupClosed, "The identity provider takes no sign-ups."),
        "validation_failed" => HubException.InvalidField("email", "The identity provider does not take this e-mail address or password."),
        "invalid_credentials" or "invalid_grant" or "email_not_confirmed" or "user_banned" =>
            new(ErrorReason.SignInFailed, "The e-mail address or the password is wrong, or the address is not confirmed yet.", ("code", code)),
        "refresh_token_not_found" or "refresh_token_already_used" or "session_not_found" or "session_expired" =>
            new(ErrorReason.RefreshTokenInvalid, "The session has ended: sign in again.", ("code", code)),
        "bad_jwt" or "no_authorization" => new(ErrorReason.ResetLinkInvalid, "The link is not known, was used, or is too old: ask for a new one."),
        "over_request_rate_limit" or "over_email_send_rate_limit" => new(ErrorReason.RateLimited, "Too many tries; wait a while.")
        {
            RetryAfter = TimeSpan.FromMinutes(1),
        },
        _ => new(ErrorReason.IdentityProviderUnavailable, "The identity provider did not answer as it should; try again."),
    };

    private static IssuedSession SessionOf(JsonElement session) => new(
        session.GetProperty("access_token").GetString()!,
        session.GetProperty("refresh_token").GetString()!,
        session.GetProperty("expires_at").GetInt64() * 1_000);
}
