using System.Security.Cryptography;
using System.Text;
using System.Buffers.Text;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.IntegrationTests.Identity;

/// <summary>Accounts in the Hub's own store: sign-up, sign-in, sessions, passwords.</summary>
public abstract class LocalIdentityTests(StoreFixture fixture)
{
    private const string Email = "you@example.com";
    private const string Password = "correct horse battery";

    [Fact]
    public async Task SignUp_OfTheFirstOne_MakesAnOwnerWithATeamAndASession()
    {
        await using var hub = await StartAsync();

        var signedUp = (await hub.Rest.WriteAsync(
            "/api/auth/signup", new { email = " You@Example.com ", password = Password, name = "You", orgName = "Acme", teamName = "Core" })).Expect(201);
        using var you = hub.As(signedUp.String("session.accessToken"));
        var me = (await you.ReadAsync("/api/me")).Expect(200);
        var teams = (await you.ReadAsync("/api/me/teams")).Expect(200);
        var orgs = (await you.ReadAsync("/api/orgs")).Expect(200);

        Assert.Equal(Email, me.String("user.email"));
        Assert.Equal("You", me.String("user.name"));
        var team = Assert.Single(teams["teams"].EnumerateArray());
        Assert.Equal(("Core", "OWNER"), (team.GetProperty("name").GetString(), team.GetProperty("role").GetString()));
        Assert.Equal("Acme", Assert.Single(orgs["orgs"].EnumerateArray()).GetProperty("name").GetString());
        Assert.Equal("bearer", signedUp.String("session.tokenType"));
        Assert.Equal("no-store", Assert.Single(signedUp.Headers.GetValues("cache-control")));
    }

    [Theory]
    [InlineData("first", true, false, true)]
    [InlineData("invite", false, false, true)]
    [InlineData("open", true, true, true)]
    public async Task SignUp_ByPolicy_LetsInWhomItMay(string policy, bool first, bool second, bool invited)
    {
        await using var hub = await StartAsync(settings: ("HUB_SIGNUP", policy));
        async Task<RestAnswer> SignUpAsync(string email, string inviteToken = "") =>
            await hub.Rest.WriteAsync("/api/auth/signup", new { email, password = Password, inviteToken });

        var answers = new[] { await SignUpAsync("a@example.com"), await SignUpAsync("b@example.com") };
        using var owner = hub.As(await hub.UserTokenAsync());
        var invite = (await owner.WriteAsync("/api/team/invite", new { role = "VIEWER" })).Expect(201);
        var guest = await SignUpAsync("c@example.com", invite.String("token"));

        Assert.Equal([first, second, invited], answers.Append(guest).Select(answer => answer.Status == 201));
        Assert.All(answers.Where(answer => answer.Status != 201), answer => Assert.Equal("SIGNUP_CLOSED", answer.Expect(403).Reason));
        Assert.Equal((HubHost.Team, "VIEWER"), (guest.String("team.id"), guest.String("team.role")));
    }

    [Fact]
    public async Task SignUp_FirstOnTwoReplicasAtOnce_LetsOneIn()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var one = await HubHost.StartAsync(fixture, options);
        await using var two = await HubHost.StartAsync(fixture, options);

        var answers = await Task.WhenAll(new[] { one, two, one, two }.Select((hub, i) =>
            hub.Rest.WriteAsync("/api/auth/signup", new { email = $"{i}@example.com", password = Password })));

        Assert.Equal([201, 403, 403, 403], answers.Select(answer => answer.Status).Order());
    }

    [Theory]
    [InlineData("you@example.com", "short", "PASSWORD_WEAK")]
    [InlineData("no address", Password, "INVALID_FIELD")]
    [InlineData("Name <you@example.com>", Password, "INVALID_FIELD")]
    [InlineData("", Password, "INVALID_FIELD")]
    public async Task SignUp_OfWhatIsNone_IsRefused(string email, string password, string reason)
    {
        await using var hub = await StartAsync();

        Assert.Equal(reason, (await hub.Rest.WriteAsync("/api/auth/signup", new { email, password })).Expect(400).Reason);
    }

    [Fact]
    public async Task SignUp_WithATakenAddress_IsRefused()
    {
        await using var hub = await StartAsync(settings: ("HUB_SIGNUP", "open"));
        await SignUpAsync(hub);

        var again = await hub.Rest.WriteAsync("/api/auth/signup", new { email = "YOU@example.com", password = Password });

        Assert.Equal("EMAIL_TAKEN", again.Expect(409).Reason);
    }

    [Fact]
    public async Task SignIn_WithAWrongPasswordOrAnUnknownAddress_IsRefusedAlike()
    {
        await using var hub = await StartAsync();
        await SignUpAsync(hub);

        var wrong = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = "another password" })).Expect(401);
        var unknown = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = "nobody@example.com", password = Password })).Expect(401);
        var right = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = "YOU@example.com", password = Password })).Expect(200);

        Assert.Equal("SIGN_IN_FAILED", wrong.Reason);
        Assert.Equal(wrong.Text, unknown.Text);
        Assert.InRange(right["session.expiresIn"].GetInt32(), 870, 900);
    }

    [Fact]
    public async Task SignIn_AfterTooManyTries_IsRefusedUntilTheWindowEnds()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        Task<RestAnswer> TryAsync() => hub.Rest.WriteAsync("/api/auth/signin", new { email = "not an address", password = Password });
        Task<RestAnswer> ForgetAsync() => hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = "nobody@example.com" });

        for (var i = 0; i < AttemptLimit.PerAddressAndAccountMax; i++)
        {
            (await ForgetAsync()).Expect(200);
            (await TryAsync()).Expect(400); // What names no account is no try.
        }

        var refused = (await ForgetAsync()).Expect(429);
        time.SetClock(time.GetUtcNow() + AttemptLimit.Window);
        var later = await ForgetAsync();

        Assert.Equal("RATE_LIMITED", refused.Reason);
        Assert.Equal($"{(int)AttemptLimit.Window.TotalSeconds}", Assert.Single(refused.Headers.GetValues("retry-after")));
        later.Expect(200);
    }

    [Fact]
    public async Task Refresh_WithAFreshToken_GoesOnAndWithAUsedOneEndsTheSession()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var session = await SignUpAsync(hub);

        var second = (await RefreshAsync(hub, session.Refresh)).Expect(200);
        time.SetClock(time.GetUtcNow().AddSeconds(11));
        var third = (await RefreshAsync(hub, second.String("session.refreshToken"))).Expect(200);
        using var you = hub.As(third.String("session.accessToken"));
        (await you.ReadAsync("/api/me")).Expect(200);
        time.SetClock(time.GetUtcNow().AddSeconds(11));
        var stolen = (await RefreshAsync(hub, session.Refresh)).Expect(401);
        var owners = (await RefreshAsync(hub, third.String("session.refreshToken"))).Expect(401);
        var access = (await you.ReadAsync("/api/me")).Expect(401);

        Assert.All([stolen, owners], answer => Assert.Equal("REFRESH_TOKEN_INVALID", answer.Reason));
        Assert.Equal("CREDENTIAL_INVALID", access.Reason); // The access token ends with its session, not only by time.
    }

    [Fact]
    public async Task Refresh_ByTwoTabsAtOnce_GivesBothASession()
    {
        await using var hub = await StartAsync();
        var session = await SignUpAsync(hub);

        var both = await Task.WhenAll(RefreshAsync(hub, session.Refresh), RefreshAsync(hub, session.Refresh));
        var after = await Task.WhenAll(both.Select(answer => RefreshAsync(hub, answer.Expect(200).String("session.refreshToken"))));

        Assert.All(after, answer => answer.Expect(200));
    }

    [Fact]
    public async Task AccessToken_AfterItsTime_IsRefusedAndTheRefreshTokenGoesOn()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var session = await SignUpAsync(hub);
        using var you = hub.As(session.Access);

        time.SetClock(time.GetUtcNow() + LocalIdentity.AccessLifetime + TimeSpan.FromSeconds(31)); // Past the leeway of clocks.
        (await you.ReadAsync("/api/me")).Expect(401);
        var refreshed = (await RefreshAsync(hub, session.Refresh)).Expect(200);

        using var again = hub.As(refreshed.String("session.accessToken"));
        (await again.ReadAsync("/api/me")).Expect(200);
    }

    [Fact]
    public async Task SignOut_EndsTheSessionAndNoOther()
    {
        await using var hub = await StartAsync();
        var first = await SignUpAsync(hub);
        var second = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password })).Expect(200);
        using var you = hub.As(first.Access);
        using var elsewhere = hub.As(second.String("session.accessToken"));

        (await you.WriteAsync("/api/auth/signout", "{}")).Expect(200);

        (await you.ReadAsync("/api/me")).Expect(401);
        (await RefreshAsync(hub, first.Refresh)).Expect(401);
        (await elsewhere.ReadAsync("/api/me")).Expect(200);
    }

    [Fact]
    public async Task PasswordReset_ByTheMailedLink_WorksOnceAndEndsEverySession()
    {
        await using var mail = new MailServer();
        await using var hub = await StartAsync(settings: mail.Settings);
        var session = await SignUpAsync(hub);

        (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = Email })).Expect(200);
        var letter = await mail.ReceiveAsync();
        (await hub.Rest.WriteAsync("/api/auth/password/reset", new { token = letter.Token, password = "another password" })).Expect(200);
        var again = await hub.Rest.WriteAsync("/api/auth/password/reset", new { token = letter.Token, password = "a third password" });

        Assert.Equal((Email, $"{hub.HttpUrl}reset-password?token={letter.Token}"), (letter.To, letter.Text.Split('\n').Single(line => line.Contains("?token="))));
        Assert.Equal("RESET_LINK_INVALID", again.Expect(400).Reason);
        (await RefreshAsync(hub, session.Refresh)).Expect(401);
        (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password })).Expect(401);
        (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = "another password" })).Expect(200);
    }

    [Fact]
    public async Task PasswordReset_ForNobody_IsAnsweredAlikeAndMailsNothing()
    {
        await using var mail = new MailServer();
        await using var hub = await StartAsync(settings: mail.Settings);
        await SignUpAsync(hub);

        var unknown = (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = "nobody@example.com" })).Expect(200);
        var known = (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = Email })).Expect(200);

        Assert.Equal(unknown.Text, known.Text);
        Assert.Equal(Email, (await mail.ReceiveAsync()).To); // Letters go in order: one to nobody would have come first.
    }

    [Fact]
    public async Task PasswordReset_AfterAnHour_IsRefused()
    {
        var time = new ManualTimeProvider();
        await using var mail = new MailServer();
        await using var hub = await StartAsync(time, mail.Settings);
        await SignUpAsync(hub);
        (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = Email })).Expect(200);
        var letter = await mail.ReceiveAsync();

        time.SetClock(time.GetUtcNow().AddHours(1));
        var late = await hub.Rest.WriteAsync("/api/auth/password/reset", new { token = letter.Token, password = "another password" });

        Assert.Equal("RESET_LINK_INVALID", late.Expect(400).Reason);
    }

    [Fact]
    public async Task Passwords_AreStoredAsSaltedHashesAndTokensAsHashes()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var hub = await HubHost.StartAsync(fixture, options);
        var session = await SignUpAsync(hub);
        using var connection = fixture.Connect(options);

        var hash = Dapper.SqlMapper.QuerySingle<string>(connection, "select password_hash from users where email = @Email", new { Email });
        var refresh = Dapper.SqlMapper.QuerySingle<string>(connection, "select token_hash from refresh_tokens");

        Assert.Matches(@"^pbkdf2-sha256\$600000\$[A-Za-z0-9+/=]{24}\$[A-Za-z0-9+/=]{44}$", hash);
        Assert.Equal(Secret.Hash(session.Refresh), refresh);
    }

    [Fact]
    public async Task Jwks_HasTheKeyThatVerifiesAccessTokens()
    {
        await using var hub = await StartAsync();
        var parts = (await SignUpAsync(hub)).Access.Split('.');

        var key = Assert.Single((await hub.Rest.ReadAsync("/.well-known/jwks.json")).Expect(200)["keys"].EnumerateArray());

        byte[] Bytes(string name) => Base64Url.DecodeFromChars(key.GetProperty(name).GetString());
        using var ec = ECDsa.Create(new ECParameters { Curve = ECCurve.NamedCurves.nistP256, Q = new ECPoint { X = Bytes("x"), Y = Bytes("y") } });
        Assert.True(ec.VerifyData(Encoding.ASCII.GetBytes($"{parts[0]}.{parts[1]}"), Base64Url.DecodeFromChars(parts[2]), HashAlgorithmName.SHA256));
        Assert.Equal(
            ("EC", "P-256", "ES256", "sig"),
            (key.GetProperty("kty").GetString(), key.GetProperty("crv").GetString(), key.GetProperty("alg").GetString(), key.GetProperty("use").GetString()));
    }

    private static Task<RestAnswer> RefreshAsync(HubHost hub, string refreshToken) => hub.Rest.WriteAsync("/api/auth/refresh", new { refreshToken });

    private static async Task<(string Access, string Refresh)> SignUpAsync(HubHost hub)
    {
        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password = Password })).Expect(201);
        return (signedUp.String("session.accessToken"), signedUp.String("session.refreshToken"));
    }

    private async Task<HubHost> StartAsync(TimeProvider? time = null, params (string Key, string Value)[] settings) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time, settings);
}

public sealed class SqliteLocalIdentityTests(SqliteStoreFixture fixture) : LocalIdentityTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresLocalIdentityTests(PostgresStoreFixture fixture) : LocalIdentityTests(fixture), IClassFixture<PostgresStoreFixture>;
