using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Mail;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Accounts in the Hub's own store.</summary>
internal sealed class LocalIdentity(
    Store store, Admission admission, Passwords passwords, UserTokens tokens, Outbox mail, PublicAddress address, TimeProvider time) : IIdentityProvider
{
    public static readonly TimeSpan AccessLifetime = TimeSpan.FromMinutes(15);

    /// <summary>A session that is used stays; one that is not ends after this.</summary>
    private static readonly TimeSpan SessionLifetime = TimeSpan.FromDays(30);

    /// <summary>Two tabs of a browser refresh with the same token at nearly the same time.</summary>
    private static readonly TimeSpan ReuseGrace = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan ResetLifetime = TimeSpan.FromHours(1);

    /// <summary>Sessions of one user; the oldest end.</summary>
    private const int SessionsMax = 100;

    /// <summary>Links to set a new password that are open at once for one user.</summary>
    private const int ResetsMax = 5;

    private const string OpenResetSql = "select user_id from password_resets where token_hash = @hash and expires_at > @now";

    public async Task<(UserRow User, string TeamId, IssuedSession? Session)> SignUpAsync(
        Newcomer newcomer, string password, CancellationToken cancellation)
    {
        Passwords.Require(password);
        await store.WriteAsync(Store.SystemTeam, tx => admission.Require(tx, newcomer), cancellation);
        var hash = await passwords.HashAsync(password, cancellation);
        return await store.WriteAsync<(UserRow, string, IssuedSession?)>(
            Store.SystemTeam,
            tx =>
            {
                var (userId, teamId) = admission.Admit(tx, newcomer with { PasswordHash = hash });
                return (new UserRow(userId, newcomer.Email, newcomer.Name), teamId, Open(tx, userId));
            },
            cancellation);
    }

    public async Task<(UserRow User, IssuedSession Session)> SignInAsync(string email, string password, CancellationToken cancellation)
    {
        var row = await store.QuerySingleOrDefaultAsync<AccountRow>(
            TeamScope.System, "select user_id, email, name, password_hash from users where email = @email", new { email }, cancellation);
        if (password.Length > Passwords.LengthMax || !await passwords.MatchesAsync(password, row?.PasswordHash, cancellation))
        {
            throw new HubException(ErrorReason.SignInFailed, "The e-mail address or the password is wrong.");
        }

        return await store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                // A password that was reset meanwhile lets nobody in.
                if (tx.QuerySingle<string?>("select password_hash from users where user_id = @UserId", new { row!.UserId }) != row.PasswordHash)
                {
                    throw new HubException(ErrorReason.SignInFailed, "The e-mail address or the password is wrong.");
                }

                AppendToTeams(tx, row.UserId, row.Email, AuditAction.SignedIn);
                return (new UserRow(row.UserId, row.Email, row.Name), Open(tx, row.UserId));
            },
            cancellation);
    }

    public async Task<IssuedSession> RefreshAsync(string refreshToken, CancellationToken cancellation)
    {
        var session = refreshToken.Length is 0 or > Secret.LengthMax ? null : await store.WriteAsync(
            Store.SystemTeam, tx => Refresh(tx, Secret.Hash(refreshToken)), cancellation);
        return session ?? throw new HubException(ErrorReason.RefreshTokenInvalid, "The session has ended: sign in again.");
    }

    public Task SignOutAsync(Principal.User user, string accessToken, CancellationToken cancellation) => store.WriteAsync(
        Store.SystemTeam,
        tx =>
        {
            if (tx.Execute(
                "update sessions set revoked_at = @NowMs where session_id = @SessionId and revoked_at is null", new { tx.NowMs, user.Token.SessionId }) == 1)
            {
                AppendToTeams(tx, user.UserId, user.Email, AuditAction.SignedOut);
            }
        },
        cancellation);

    public async Task RequestResetAsync(string email, CancellationToken cancellation)
    {
        var token = Secret.New(Secret.ResetPrefix);
        var known = await store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                var userId = tx.QuerySingleOrDefault<string>("select user_id from users where email = @email", new { email });
                if (userId is null
                    || tx.QuerySingle<long>(
                        "select count(*) from password_resets where user_id = @userId and expires_at > @NowMs", new { userId, tx.NowMs }) >= ResetsMax)
                {
                    return false;
                }

                tx.Execute(
                    "insert into password_resets (token_hash, user_id, expires_at) values (@hash, @userId, @expiresAt)",
                    new { hash = Secret.Hash(token), userId, expiresAt = tx.NowMs + (long)ResetLifetime.TotalMilliseconds });
                return true;
            },
            cancellation);
        if (known)
        {
            mail.Post(new Letter(
                email,
                "Set a new password",
                $"""
                Somebody, probably you, wants to set a new password for {email}. The link is good once, for one hour:

                {address.Url}/reset-password?token={token}

                The token by itself, for POST /api/auth/password/reset: {token}

                If it was not you, do nothing: the password stays.
                """));
        }
    }

    public async Task ResetAsync(string token, string password, CancellationToken cancellation)
    {
        Passwords.Require(password);
        var hash = Secret.Hash(token.Length > Secret.LengthMax ? "" : token);
        var holder = await store.QuerySingleOrDefaultAsync<string>(
            TeamScope.System, OpenResetSql, new { hash, now = time.NowMs() }, cancellation);
        if (holder is null)
        {
            throw ResetRefused();
        }

        var stored = await passwords.HashAsync(password, cancellation);
        await store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                var userId = tx.QuerySingleOrDefault<string>(OpenResetSql, new { hash, now = tx.NowMs }) ?? throw ResetRefused();
                var of = new { userId, stored, tx.NowMs };
                tx.Execute("delete from password_resets where user_id = @userId", of);
                tx.Execute("update users set password_hash = @stored where user_id = @userId", of);
                tx.Execute("update sessions set revoked_at = @NowMs where user_id = @userId and revoked_at is null", of);
                var email = tx.QuerySingle<string>("select email from users where user_id = @userId", of);
                AppendToTeams(tx, userId, email, AuditAction.PasswordReset);
            },
            cancellation);
    }

    /// <summary>Opens a session; the oldest ones beyond the bound end.</summary>
    private IssuedSession Open(StoreTransaction tx, string userId)
    {
        var sessionId = EntityId.New("session", time);
        tx.Execute(
            """
            delete from sessions where session_id in (
                select session_id from sessions where user_id = @userId order by created_at desc, session_id desc limit 1000 offset @keep)
            """,
            new { userId, keep = SessionsMax - 1 });
        tx.Execute(
            "insert into sessions (session_id, user_id, created_at, expires_at) values (@sessionId, @userId, @NowMs, @expiresAt)",
            new { sessionId, userId, tx.NowMs, expiresAt = tx.NowMs + (long)SessionLifetime.TotalMilliseconds });
        return Issue(tx, sessionId, userId);
    }

    private IssuedSession Issue(StoreTransaction tx, string sessionId, string userId)
    {
        var refresh = Secret.New(Secret.RefreshPrefix);
        tx.Execute(
            "insert into refresh_tokens (token_hash, session_id, created_at) values (@hash, @sessionId, @NowMs)",
            new { hash = Secret.Hash(refresh), sessionId, tx.NowMs });
        return new IssuedSession(
            tokens.Sign(userId, AccessLifetime, sessionId), refresh, tx.NowMs + (long)AccessLifetime.TotalMilliseconds);
    }

    /// <summary>
    /// Null refuses. Not by an exception: the end of a session whose token was used twice has to commit.
    /// </summary>
    private IssuedSession? Refresh(StoreTransaction tx, string hash)
    {
        var row = tx.QuerySingleOrDefault<RefreshRow>(
            $"""
            select r.used_at, s.session_id, s.user_id, s.expires_at, s.revoked_at, u.email
            from refresh_tokens r join sessions s on s.session_id = r.session_id join users u on u.user_id = s.user_id
            where r.token_hash = @hash {tx.Dialect.ForUpdate}
            """,
            new { hash });
        if (row is null || row.RevokedAt is not null || row.ExpiresAt <= tx.NowMs)
        {
            return null;
        }

        if (row.UsedAt is { } used && tx.NowMs - used > (long)ReuseGrace.TotalMilliseconds)
        {
            tx.Execute("update sessions set revoked_at = @NowMs where session_id = @SessionId", new { tx.NowMs, row.SessionId });
            AppendToTeams(tx, row.UserId, row.Email, AuditAction.RefreshReused);
            return null;
        }

        // Used tokens are kept for a session's lifetime, to tell a reuse from an unknown token; older ones are refused all the same.
        tx.Execute(
            "delete from refresh_tokens where session_id = @SessionId and used_at < @before",
            new { row.SessionId, before = tx.NowMs - (long)SessionLifetime.TotalMilliseconds });
        tx.Execute("update refresh_tokens set used_at = coalesce(used_at, @NowMs) where token_hash = @hash", new { tx.NowMs, hash });
        tx.Execute(
            "update sessions set expires_at = @expiresAt where session_id = @SessionId",
            new { expiresAt = tx.NowMs + (long)SessionLifetime.TotalMilliseconds, row.SessionId });
        return Issue(tx, row.SessionId, row.UserId);
    }

    private static void AppendToTeams(StoreTransaction tx, string userId, string email, string action)
    {
        foreach (var teamId in tx.Query<string>("select team_id from team_members where user_id = @userId", new { userId }))
        {
            AuditLog.Append(tx, teamId, new Actor("user", email), action, userId);
        }
    }

    private static HubException ResetRefused() => new(
        ErrorReason.ResetLinkInvalid, "The link is not known, was used, or is older than an hour: ask for a new one (POST /api/auth/password/forgot).");

    private sealed record AccountRow(string UserId, string Email, string Name, string? PasswordHash);

    private sealed record RefreshRow
    {
        public long? UsedAt { get; init; }
        public required string SessionId { get; init; }
        public required string UserId { get; init; }
        public required string Email { get; init; }
        public long ExpiresAt { get; init; }
        public long? RevokedAt { get; init; }
    }
}
