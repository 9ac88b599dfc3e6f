using Hub.Identity;
using Hub.IntegrationTests.Contract;
using Hub.TestKit;

namespace Hub.IntegrationTests.Orgs;

/// <summary>Organisations, teams, their people and their keys.</summary>
public abstract class OrgTests(StoreFixture fixture)
{
    [Fact]
    public async Task Org_WithTwoTeams_KeepsTheirHostsApart()
    {
        await using var hub = await StartAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var orgId = (await owner.WriteAsync("/api/orgs", new { name = "Acme" })).Expect(201).String("org.id");

        var hosts = new Dictionary<string, List<string>>();
        foreach (var name in new[] { "red", "blue" })
        {
            var teamId = (await owner.WriteAsync("/api/teams", new { orgId, name })).Expect(201).String("team.id");
            hosts[teamId] = [];
            foreach (var host in new[] { "one", "two" })
            {
                var token = (await owner.WriteAsync("/api/hosts/register-token", new { teamId })).Expect(201).String("registerToken.joinToken");
                hosts[teamId].Add((await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = token, name = host })).Expect(201).String("host.id"));
            }
        }

        foreach (var (teamId, ids) in hosts)
        {
            var listed = (await owner.ReadAsync($"/api/hosts?teamId={teamId}")).Expect(200);
            Assert.Equal(ids.Order(), listed["hosts"].EnumerateArray().Select(host => host.GetProperty("id").GetString()!).Order());
        }

        var unnamed = await owner.ReadAsync("/api/hosts");
        var teams = (await owner.ReadAsync($"/api/teams?orgId={orgId}")).Expect(200);
        Assert.Equal("TEAM_REQUIRED", unnamed.Expect(400).Reason);
        Assert.Equal(["blue", "red"], teams["teams"].EnumerateArray().Select(team => team.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Org_OfSomebodyElse_IsNotThere()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        using var member = hub.As(stage.MemberToken);
        using var guest = hub.As(stage.GuestToken);
        var team = new { orgId = stage.OrgId, name = "more" };

        Assert.Equal("ORG_NOT_FOUND", (await guest.WriteAsync("/api/teams", team)).Expect(404).Reason);
        Assert.Equal("ROLE_REQUIRED", (await member.WriteAsync("/api/teams", team)).Expect(403).Reason);
        (await owner.WriteAsync("/api/teams", team)).Expect(201);
        Assert.DoesNotContain(stage.OrgId, (await guest.ReadAsync("/api/orgs")).Expect(200).Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Invite_ForAnAddress_IsMailedAndForThatPersonOnly()
    {
        await using var mail = new MailServer();
        await using var hub = await StartAsync(settings: mail.Settings);
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        using var guest = hub.As(stage.GuestToken);
        using var stranger = hub.As(await hub.UserTokenAsync("stranger@example.com"));
        var email = (await guest.ReadAsync("/api/me")).Expect(200).String("user.email").Replace("guest", "Guest", StringComparison.Ordinal);

        var invite = (await owner.WriteAsync("/api/team/invite", new { teamId = stage.TeamId, email, role = "ADMIN" })).Expect(201);
        var letter = await mail.ReceiveAsync();
        var wrong = await stranger.WriteAsync("/api/team/invite/accept", new { token = letter.Token });
        var accepted = (await guest.WriteAsync("/api/team/invite/accept", new { token = letter.Token })).Expect(200);

        Assert.Equal((email.ToLowerInvariant(), invite.String("token")), (letter.To, letter.Token));
        Assert.Contains(invite.String("url"), letter.Text, StringComparison.Ordinal);
        Assert.Equal("INVITE_NOT_FOUND", wrong.Expect(404).Reason);
        Assert.Equal((stage.TeamId, "ADMIN"), (accepted.String("team.id"), accepted.String("team.role")));
    }

    [Fact]
    public async Task Invite_AcceptedTwice_IsGoodOnce()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var guest = hub.As(stage.GuestToken);
        using var stranger = hub.As(await hub.UserTokenAsync("stranger@example.com"));

        (await guest.WriteAsync("/api/team/invite/accept", new { token = stage.InviteToken })).Expect(200);

        Assert.Equal("INVITE_NOT_FOUND", (await stranger.WriteAsync("/api/team/invite/accept", new { token = stage.InviteToken })).Expect(404).Reason);
    }

    [Fact]
    public async Task Invite_AcceptedOnTwoReplicasAtOnce_LetsOneIn()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var one = await HubHost.StartAsync(fixture, options);
        await using var two = await HubHost.StartAsync(fixture, options);
        var stage = await Stage.SetAsync(one);

        var answers = await Task.WhenAll(new[] { one, two }.Select(async hub =>
        {
            using var person = hub.As(await hub.UserTokenAsync($"{hub.HttpUrl.Port}@example.com"));
            return await person.WriteAsync("/api/team/invite/accept", new { token = stage.InviteToken });
        }));

        Assert.Equal([200, 404], answers.Select(answer => answer.Status).Order());
    }

    [Fact]
    public async Task Invite_OfAMember_IsRefusedAndStaysGood()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var member = hub.As(stage.MemberToken);
        using var guest = hub.As(stage.GuestToken);

        Assert.Equal("MEMBER_EXISTS", (await member.WriteAsync("/api/team/invite/accept", new { token = stage.InviteToken })).Expect(409).Reason);
        (await guest.WriteAsync("/api/team/invite/accept", new { token = stage.InviteToken })).Expect(200);
    }

    [Fact]
    public async Task Invite_RevokedOrOutOfTime_IsNeitherListedNorAccepted()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        using var owner = hub.As(await hub.UserTokenAsync());
        var revoked = (await owner.WriteAsync("/api/team/invite", "{}")).Expect(201);
        var late = (await owner.WriteAsync("/api/team/invite", "{}")).Expect(201);
        Assert.Equal(2, (await owner.ReadAsync("/api/team/invites"))["invites"].GetArrayLength());

        (await owner.CallAsync(HttpMethod.Delete, $"/api/team/invites/{revoked.String("invite.id")}")).Expect(200);
        var listed = (await owner.ReadAsync("/api/team/invites")).Expect(200);
        time.SetClock(time.GetUtcNow().AddDays(7));
        using var person = hub.As(await hub.UserTokenAsync("person@example.com"));

        Assert.Equal(late.String("invite.id"), Assert.Single(listed["invites"].EnumerateArray()).GetProperty("id").GetString());
        foreach (var token in new[] { revoked.String("token"), late.String("token") })
        {
            Assert.Equal("INVITE_NOT_FOUND", (await person.WriteAsync("/api/team/invite/accept", new { token })).Expect(404).Reason);
        }

        using var later = hub.As(await hub.UserTokenAsync());
        Assert.Equal(0, (await later.ReadAsync("/api/team/invites")).Expect(200)["invites"].GetArrayLength());
    }

    [Fact]
    public async Task Role_ChangedByAnAdmin_CountsAtTheNextCall()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        using var member = hub.As(stage.MemberToken);
        var command = new { type = "echo" };
        (await member.WriteAsync($"/api/hosts/{stage.HostId}/commands", command)).Expect(201);

        await SetRoleAsync(owner, stage, stage.MemberId, "VIEWER", 200);

        Assert.Equal("ROLE_REQUIRED", (await member.WriteAsync($"/api/hosts/{stage.HostId}/commands", command)).Expect(403).Reason);
    }

    [Fact]
    public async Task Owner_IsMadeAndUnmadeByOwnersOnly()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        using var admin = hub.As(await Stage.TokenAsync(hub, stage.TeamId, "admin", TeamRole.Admin));

        await SetRoleAsync(admin, stage, stage.MemberId, "OWNER", 403);
        await SetRoleAsync(admin, stage, stage.OwnerId, "MEMBER", 403);
        (await admin.CallAsync(HttpMethod.Delete, $"/api/teams/{stage.TeamId}/members/{stage.OwnerId}")).Expect(403);
        (await admin.WriteAsync("/api/team/invite", new { teamId = stage.TeamId, role = "OWNER" })).Expect(403);
        await SetRoleAsync(owner, stage, stage.MemberId, "OWNER", 200);
        await SetRoleAsync(owner, stage, stage.OwnerId, "MEMBER", 200);
    }

    [Fact]
    public async Task LastOwner_CannotStepDownNorLeave()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);

        Assert.Equal("LAST_OWNER", (await SetRoleAsync(owner, stage, stage.OwnerId, "ADMIN", 409)).Reason);
        var leave = await owner.CallAsync(HttpMethod.Delete, $"/api/teams/{stage.TeamId}/members/{stage.OwnerId}");

        Assert.Equal("LAST_OWNER", leave.Expect(409).Reason);
    }

    [Fact]
    public async Task TwoOwners_LeavingOnTwoReplicasAtOnce_OneStays()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var one = await HubHost.StartAsync(fixture, options);
        await using var two = await HubHost.StartAsync(fixture, options);
        using var first = one.As(await one.UserTokenAsync("first@example.com"));
        using var second = two.As(await two.UserTokenAsync("second@example.com"));
        var (firstId, secondId) = ((await first.ReadAsync("/api/me")).String("user.id"), (await second.ReadAsync("/api/me")).String("user.id"));

        var answers = await Task.WhenAll(
            first.CallAsync(HttpMethod.Delete, $"/api/teams/{HubHost.Team}/members/{firstId}"),
            second.CallAsync(HttpMethod.Delete, $"/api/teams/{HubHost.Team}/members/{secondId}"));

        Assert.Equal([200, 409], answers.Select(answer => answer.Status).Order());
    }

    [Fact]
    public async Task Member_MayLeave_AndSeesTheTeamNoMore()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        using var member = hub.As(stage.MemberToken);

        (await member.CallAsync(HttpMethod.Delete, $"/api/teams/{stage.TeamId}/members/{stage.MemberId}")).Expect(200);

        (await member.ReadAsync($"/api/teams/{stage.TeamId}")).Expect(404);
        (await member.ReadAsync($"/api/hosts/{stage.HostId}")).Expect(404);
        var listed = (await owner.ReadAsync($"/api/teams/{stage.TeamId}/members")).Expect(200);
        Assert.Equal(stage.OwnerId, Assert.Single(listed["members"].EnumerateArray()).GetProperty("user").GetProperty("id").GetString());
    }

    [Fact]
    public async Task Members_ReadPageByPage_AreAllThere()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        for (var i = 0; i < 5; i++)
        {
            await Stage.TokenAsync(hub, stage.TeamId, $"more{i}", TeamRole.Viewer);
        }

        using var owner = hub.As(stage.OwnerToken);
        var seen = new List<string>();
        var token = "";
        do
        {
            var page = (await owner.ReadAsync($"/api/teams/{stage.TeamId}/members?pageSize=3&pageToken={token}")).Expect(200);
            seen.AddRange(page["members"].EnumerateArray().Select(member => member.GetProperty("user").GetProperty("email").GetString()!));
            token = page.String("nextPageToken");
        }
        while (token.Length > 0);

        Assert.Equal(7, seen.Count);
        Assert.Equal(seen.Order(StringComparer.Ordinal).Distinct(), seen);
    }

    [Fact]
    public async Task ApiKey_ShownOnce_WorksUntilItIsRevoked()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);

        var created = (await owner.WriteAsync($"/api/teams/{stage.TeamId}/keys", new { name = "script", role = "VIEWER" })).Expect(201);
        using var script = hub.As(created.String("secret"));
        (await script.ReadAsync("/api/hosts")).Expect(200);
        var tooMuch = await script.WriteAsync($"/api/hosts/{stage.HostId}/commands", new { type = "echo" });
        var people = await script.ReadAsync($"/api/teams/{stage.TeamId}/keys");
        var listed = (await owner.ReadAsync($"/api/teams/{stage.TeamId}/keys")).Expect(200);
        (await owner.CallAsync(HttpMethod.Delete, $"/api/teams/{stage.TeamId}/keys/{created.String("apiKey.id")}")).Expect(200);

        Assert.Equal("ROLE_REQUIRED", tooMuch.Expect(403).Reason);
        people.Expect(403);
        Assert.DoesNotContain(created.String("secret"), listed.Text, StringComparison.Ordinal);
        Assert.Equal(2, listed["apiKeys"].GetArrayLength());
        Assert.Equal("CREDENTIAL_INVALID", (await script.ReadAsync("/api/hosts")).Expect(401).Reason);
    }

    [Fact]
    public async Task Onboarding_StepByStep_SaysExactlyWhatComesNext()
    {
        await using var hub = await StartAsync(settings: ("HUB_SIGNUP", "open"));
        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = "new@example.com", password = Stage.Password })).Expect(201);
        using var person = hub.As(signedUp.String("session.accessToken"));
        var teamId = signedUp.String("team.id");
        var userId = signedUp.String("user.id");
        async Task<(string? Next, string Command)> NextAsync()
        {
            var status = (await person.ReadAsync("/api/onboarding")).Expect(200);
            var next = status["steps"].EnumerateArray().FirstOrDefault(step => !step.GetProperty("done").GetBoolean());
            var isDone = next.ValueKind == System.Text.Json.JsonValueKind.Undefined;
            Assert.Equal(isDone, status["done"].GetBoolean());
            return isDone ? (null, "") : (next.GetProperty("id").GetString(), next.GetProperty("command").GetString()!);
        }

        var connect = await NextAsync();
        var begun = (await person.WriteAsync("/api/connect/init", new { teamId })).Expect(201);
        var claimed = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = begun.String("registerToken.joinToken") })).Expect(201);
        var heartbeat = await NextAsync();
        using var node = hub.As(claimed.String("credential.token"));
        (await node.WriteAsync($"/api/hosts/{claimed.String("host.id")}/heartbeat", "{}")).Expect(200);
        var done = await NextAsync();

        Assert.Equal("host", connect.Next);
        Assert.Contains($"-d '{{\"teamId\":\"{teamId}\"}}' {hub.HttpUrl}api/connect/init", connect.Command, StringComparison.Ordinal);
        Assert.Equal("heartbeat", heartbeat.Next);
        Assert.Null(done.Next);
        Assert.NotEmpty(userId);
    }

    private async Task<HubHost> StartAsync(TimeProvider? time = null, params (string Key, string Value)[] settings) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time, settings);

    private static async Task<RestAnswer> SetRoleAsync(HttpClient client, Stage stage, string userId, string role, int status) =>
        (await client.CallAsync(HttpMethod.Patch, $"/api/teams/{stage.TeamId}/members/{userId}", new { role })).Expect(status);
}

public sealed class SqliteOrgTests(SqliteStoreFixture fixture) : OrgTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresOrgTests(PostgresStoreFixture fixture) : OrgTests(fixture), IClassFixture<PostgresStoreFixture>;
