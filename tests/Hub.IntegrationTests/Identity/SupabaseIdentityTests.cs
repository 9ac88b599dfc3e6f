using System.Text.Json.Nodes;
using Hub.TestKit;

namespace Hub.IntegrationTests.Identity;

/// <summary>Accounts at Supabase Auth: the same routes, its passwords and tokens, the Hub's teams.</summary>
public abstract class SupabaseIdentityTests(StoreFixture fixture)
{
    private const string Email = "you@example.com";
    private const string Password = "correct horse battery";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SignUp_AndSignIn_GoThroughTheProvider(bool signsWithSecret)
    {
        await using var auth = await FakeGoTrue.StartAsync();
        auth.SignsWithSecret = signsWithSecret;
        await using var hub = await StartAsync(auth);

        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password = Password, teamName = "Core" })).Expect(201);
        var signedIn = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password })).Expect(200);
        using var you = hub.As(signedIn.String("session.accessToken"));
        var me = (await you.ReadAsync("/api/me")).Expect(200);

        Assert.Equal((Email, signedUp.String("user.id")), (me.String("user.email"), me.String("user.id")));
        var team = Assert.Single(me["teams"].EnumerateArray()); // What the token's user_metadata claims counts for nothing.
        Assert.Equal(("Core", "OWNER"), (team.GetProperty("name").GetString(), team.GetProperty("role").GetString()));
    }

    [Fact]
    public async Task SignUp_ThatHasToBeConfirmed_GivesNoSessionUntilItIs()
    {
        await using var auth = await FakeGoTrue.StartAsync();
        auth.AutoConfirm = false;
        await using var hub = await StartAsync(auth);

        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password = Password })).Expect(201);
        var early = await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password });
        auth.Confirm(Email);
        var confirmed = (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password })).Expect(200);

        Assert.False(signedUp.Body.TryGetProperty("session", out var session) && session.ValueKind == System.Text.Json.JsonValueKind.Object);
        Assert.Equal("SIGN_IN_FAILED", early.Expect(401).Reason);
        Assert.Equal(signedUp.String("user.id"), confirmed.String("user.id"));
    }

    [Theory]
    [InlineData(true, Password, 201, "")]
    [InlineData(true, "another password", 409, "EMAIL_TAKEN")]
    [InlineData(false, Password, 201, "")]
    [InlineData(false, "another password", 409, "EMAIL_TAKEN")]
    public async Task SignUp_WithAnAccountThatTheProviderHasAlready_NeedsItsPassword(bool autoConfirm, string password, int status, string reason)
    {
        await using var auth = await FakeGoTrue.StartAsync();
        auth.AutoConfirm = autoConfirm;
        auth.AddAccount(Email, Password);
        await using var hub = await StartAsync(auth);

        var answer = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password })).Expect(status);

        Assert.Equal(reason, status == 201 ? "" : answer.Reason);
    }

    [Fact]
    public async Task SignIn_OfAStranger_FollowsTheHubsPolicy()
    {
        await using var auth = await FakeGoTrue.StartAsync();
        auth.AddAccount("first@example.com", Password);
        auth.AddAccount("second@example.com", Password);
        await using var hub = await StartAsync(auth);

        (await hub.Rest.WriteAsync("/api/auth/signin", new { email = "first@example.com", password = Password })).Expect(200);
        var second = await hub.Rest.WriteAsync("/api/auth/signin", new { email = "second@example.com", password = Password });
        using var bearer = hub.As(auth.Token("second@example.com"));

        Assert.Equal("SIGNUP_CLOSED", second.Expect(403).Reason);
        Assert.Equal("SIGNUP_CLOSED", (await bearer.ReadAsync("/api/me")).Expect(403).Reason);
    }

    [Theory]
    [InlineData("short", 400, "PASSWORD_WEAK")]
    [InlineData("", 400, "INVALID_FIELD")]
    public async Task SignUp_WithAPasswordTheProviderRefuses_SaysWhy(string password, int status, string reason)
    {
        await using var auth = await FakeGoTrue.StartAsync();
        await using var hub = await StartAsync(auth);

        Assert.Equal(reason, (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password })).Expect(status).Reason);
    }

    [Fact]
    public async Task Refresh_WithAUsedToken_EndsTheFamily()
    {
        var time = new ManualTimeProvider();
        await using var auth = await FakeGoTrue.StartAsync(time);
        await using var hub = await StartAsync(auth, time);
        var first = (await SignUpAsync(hub)).String("session.refreshToken");
        Task<RestAnswer> RefreshAsync(string refreshToken) => hub.Rest.WriteAsync("/api/auth/refresh", new { refreshToken });

        var second = (await RefreshAsync(first)).Expect(200).String("session.refreshToken");
        time.SetClock(time.GetUtcNow().AddSeconds(11));
        var reused = await RefreshAsync(first);
        var family = await RefreshAsync(second);

        Assert.All([reused, family], answer => Assert.Equal("REFRESH_TOKEN_INVALID", answer.Expect(401).Reason));
    }

    [Fact]
    public async Task PasswordReset_GoesThroughTheProvider()
    {
        await using var auth = await FakeGoTrue.StartAsync();
        await using var hub = await StartAsync(auth);
        var session = await SignUpAsync(hub);

        (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = Email })).Expect(200);
        var token = auth.RecoveryToken(Assert.Single(auth.Recoveries));
        var same = await hub.Rest.WriteAsync("/api/auth/password/reset", new { token, password = Password });
        (await hub.Rest.WriteAsync("/api/auth/password/reset", new { token, password = "another password" })).Expect(200);
        var wrong = await hub.Rest.WriteAsync("/api/auth/password/reset", new { token = "nonsense", password = "a third password" });

        Assert.Equal("PASSWORD_WEAK", same.Expect(400).Reason);
        Assert.Equal("RESET_LINK_INVALID", wrong.Expect(400).Reason);
        (await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = "another password" })).Expect(200);
        Assert.NotEmpty(session.String("session.accessToken"));
    }

    [Fact]
    public async Task SignOut_EndsTheProvidersSession()
    {
        await using var auth = await FakeGoTrue.StartAsync();
        await using var hub = await StartAsync(auth);
        var session = await SignUpAsync(hub);
        using var you = hub.As(session.String("session.accessToken"));

        (await you.WriteAsync("/api/auth/signout", "{}")).Expect(200);

        var refreshed = await hub.Rest.WriteAsync("/api/auth/refresh", new { refreshToken = session.String("session.refreshToken") });
        Assert.Equal("REFRESH_TOKEN_INVALID", refreshed.Expect(401).Reason);
    }

    [Theory]
    [InlineData("header", "alg", "none")]
    [InlineData("header", "alg", "HS256")]
    [InlineData("header", "alg", "RS256")]
    [InlineData("header", "kid", "another")]
    [InlineData("claims", "iss", "https://elsewhere.example.com/auth/v1")]
    [InlineData("claims", "aud", "anon")]
    [InlineData("claims", "role", "anon")]
    [InlineData("claims", "role", "service_role")]
    [InlineData("claims", "exp", "past")]
    [InlineData("claims", "sub", "")]
    public async Task Token_ThatIsNotQuiteRight_IsNobody(string part, string name, string value)
    {
        await using var auth = await FakeGoTrue.StartAsync();
        await using var hub = await StartAsync(auth);
        await SignUpAsync(hub);
        using var good = hub.As(auth.Token(Email));
        using var bad = hub.As(auth.Token(Email, (claims, header) =>
            (part == "header" ? header : claims)[name] = value == "past" ? JsonValue.Create(1) : JsonValue.Create(value)));

        (await good.ReadAsync("/api/me")).Expect(200);
        Assert.Equal("CREDENTIAL_INVALID", (await bad.ReadAsync("/api/me")).Expect(401).Reason);
    }

    [Fact]
    public async Task Keys_AreFetchedForAnUnknownKidAtMostEvery30Seconds()
    {
        var time = new ManualTimeProvider();
        await using var auth = await FakeGoTrue.StartAsync(time);
        await using var hub = await StartAsync(auth, time);
        var session = await SignUpAsync(hub);
        using var old = hub.As(session.String("session.accessToken"));
        (await old.ReadAsync("/api/me")).Expect(200);
        var before = auth.KeyFetches;

        auth.RotateKey();
        using var fresh = hub.As(auth.Token(Email));
        (await fresh.ReadAsync("/api/me")).Expect(401); // Fetched a moment ago.
        time.SetClock(time.GetUtcNow().AddSeconds(30));
        (await fresh.ReadAsync("/api/me")).Expect(200);
        (await old.ReadAsync("/api/me")).Expect(200); // The old key still counts.

        Assert.Equal(before + 1, auth.KeyFetches);
    }

    [Fact]
    public async Task Provider_ThatDoesNotAnswer_IsUnavailableAndNeverAWrongPassword()
    {
        await using var auth = await FakeGoTrue.StartAsync();
        await using var hub = await StartAsync(auth);
        auth.IsBroken = true;

        var signIn = await hub.Rest.WriteAsync("/api/auth/signin", new { email = Email, password = Password });
        auth.IsBroken = false;
        auth.AddAccount(Email, Password);
        var token = auth.Token(Email);
        auth.IsBroken = true;
        using var bearer = hub.As(token);

        Assert.Equal("IDENTITY_PROVIDER_UNAVAILABLE", signIn.Expect(503).Reason);
        Assert.Equal("IDENTITY_PROVIDER_UNAVAILABLE", (await bearer.ReadAsync("/api/me")).Expect(503).Reason);
    }

    private static async Task<RestAnswer> SignUpAsync(HubHost hub) =>
        (await hub.Rest.WriteAsync("/api/auth/signup", new { email = Email, password = Password })).Expect(201);

    private async Task<HubHost> StartAsync(FakeGoTrue auth, TimeProvider? time = null) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time, auth.Settings);
}

public sealed class SqliteSupabaseIdentityTests(SqliteStoreFixture fixture) : SupabaseIdentityTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresSupabaseIdentityTests(PostgresStoreFixture fixture) : SupabaseIdentityTests(fixture), IClassFixture<PostgresStoreFixture>;
