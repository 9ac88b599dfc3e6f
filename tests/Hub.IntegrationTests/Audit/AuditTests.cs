using System.Net;
using System.Text;
using System.Text.Json;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.IntegrationTests.Contract;
using Hub.Storage;
using Hub.TestKit;
using Npgsql;

namespace Hub.IntegrationTests.Audit;

/// <summary>Who did what in a team: written with the act, shown page by page, exported whole.</summary>
public abstract class AuditTests(StoreFixture fixture)
{
    private const string Password = "correct horse battery";

    [Fact]
    public async Task EveryKindOfAct_IsWrittenDownWithItsActor()
    {
        await using var hub = await StartAsync();
        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = "you@example.com", password = Password })).Expect(201);
        using var you = hub.As(signedUp.String("session.accessToken"));
        var teamId = signedUp.String("team.id");
        (await hub.Rest.WriteAsync("/api/auth/signin", new { email = "you@example.com", password = Password })).Expect(200);
        var joinToken = (await you.WriteAsync("/api/hosts/register-token", "{}")).Expect(201).String("registerToken.joinToken");
        var hostId = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(201).String("host.id");
        var commandId = (await you.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo", requires_approval = true })).Expect(201).String("command.id");
        (await you.WriteAsync($"/api/hosts/{hostId}/commands/{commandId}/decide", new { approve = true })).Expect(200);
        (await you.WriteAsync($"/api/hosts/{hostId}/commands/{commandId}/cancel", "{}")).Expect(200);
        var keyId = (await you.WriteAsync($"/api/teams/{teamId}/keys", new { name = "script" })).Expect(201).String("apiKey.id");
        (await you.CallAsync(HttpMethod.Delete, $"/api/teams/{teamId}/keys/{keyId}")).Expect(200);
        (await you.CallAsync(HttpMethod.Patch, $"/api/teams/{teamId}", new { name = "renamed" })).Expect(200);
        (await you.WriteAsync($"/api/hosts/{hostId}/revoke-credential", "{}")).Expect(200);

        var entries = (await you.ReadAsync("/api/audit")).Expect(200)["entries"].EnumerateArray().ToArray();

        Assert.Equal(
            [
                "api_key.created", "api_key.revoked", "command.cancelled", "command.created", "command.decided", "credential.revoked", "host.claimed",
                "join_token.created", "join_token.created", "team.created", "team.renamed", "user.signed_in", "user.signed_up",
            ],
            entries.Select(entry => entry.GetProperty("action").GetString()!).Order(StringComparer.Ordinal));
        Assert.All(entries, entry => Assert.Equal(
            entry.GetProperty("action").GetString() == "host.claimed" ? ("join_token", "join token") : ("user", "you@example.com"),
            (entry.GetProperty("actorKind").GetString()!, entry.GetProperty("actor").GetString()!)));
        Assert.DoesNotContain(joinToken, JsonSerializer.Serialize(entries), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("update audit_log set detail = 'changed'")]
    [InlineData("delete from audit_log")]
    public async Task Entry_ChangedOrRemovedByTheHub_IsRefusedByTheStore(string statement)
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        var before = (await owner.ReadAsync("/api/audit")).Expect(200).Text;

        var refusal = await Record.ExceptionAsync(() => hub.Store.WriteAsync(stage.TeamId, tx => { tx.Execute(statement); }).Within());

        Assert.True(refusal is ConstraintException or PostgresException, $"{refusal}");
        Assert.Equal(before, (await owner.ReadAsync("/api/audit")).Expect(200).Text);
    }

    [Fact]
    public async Task List_ByFilter_ShowsWhatFits()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var stage = await Stage.SetAsync(hub);
        time.SetClock(time.GetUtcNow().AddMinutes(1));
        using var owner = hub.As(stage.OwnerToken);
        (await owner.WriteAsync($"/api/hosts/{stage.HostId}/commands", new { type = "echo" })).Expect(201);
        var from = Uri.EscapeDataString(time.GetUtcNow().ToString("O"));
        async Task<string[]> ActionsAsync(string query) =>
            [.. (await owner.ReadAsync($"/api/audit?{query}")).Expect(200)["entries"].EnumerateArray().Select(entry => entry.GetProperty("action").GetString()!)];

        Assert.Equal(["join_token.created", "join_token.created"], await ActionsAsync("action=join_token.created"));
        Assert.Equal(["api_key.created"], await ActionsAsync("action=api_key."));
        Assert.Equal(["command.created", "host.claimed"], await ActionsAsync($"hostId={stage.HostId}"));
        Assert.Equal(["command.created"], await ActionsAsync($"from={from}"));
        Assert.DoesNotContain("command.created", await ActionsAsync($"before={from}"));
        Assert.Equal(["api_key.created"], await ActionsAsync("actor=operator"));
    }

    [Fact]
    public async Task List_PageByPage_ShowsEachEntryOnceLatestFirst()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var owner = hub.As(stage.OwnerToken);
        for (var i = 0; i < 5; i++)
        {
            (await owner.WriteAsync("/api/hosts/register-token", "{}")).Expect(201);
        }

        var ids = new List<string>();
        var token = "";
        do
        {
            var page = (await owner.ReadAsync($"/api/audit?action=join_token.&pageSize=3&pageToken={token}")).Expect(200);
            ids.AddRange(page["entries"].EnumerateArray().Select(entry => entry.GetProperty("id").GetString()!));
            token = page.String("nextPageToken");
        }
        while (token.Length > 0);

        Assert.Equal(7, ids.Count);
        Assert.Equal(ids.OrderDescending(StringComparer.Ordinal).Distinct(), ids);
    }

    [Fact]
    public async Task Export_AsLines_HasEveryEntryOldestFirst()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        await hub.Store.WriteAsync(stage.TeamId, tx =>
        {
            for (var i = 0; i < 1_200; i++) // More than the export reads at once.
            {
                AuditLog.Append(tx, stage.TeamId, Actor.Operator, "test.act", $"{i:D4}");
            }
        }).Within();
        using var owner = hub.As(stage.OwnerToken);

        using var response = await owner.GetAsync($"/api/audit/export?teamId={stage.TeamId}&action=test.act").Within();
        var lines = (await response.Content.ReadAsStringAsync().Within()).Split('\n', StringSplitOptions.RemoveEmptyEntries);

        Assert.Equal("application/x-ndjson", response.Content.Headers.ContentType!.ToString());
        var entries = lines.Select(line => JsonDocument.Parse(line).RootElement).ToArray();
        Assert.Equal(
            Enumerable.Range(0, 1_200).Select(i => $"{i:D4}"), entries.Select(entry => entry.GetProperty("subject").GetString()!).Order(StringComparer.Ordinal));
        var times = entries.Select(entry => entry.GetProperty("at").GetString()!).ToArray(); // Entries of one moment have no order among them.
        Assert.Equal(times.Order(StringComparer.Ordinal), times);
    }

    [Fact]
    public async Task Export_AsCsv_QuotesAndDefusesCells()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        await hub.Store.WriteAsync(stage.TeamId, tx =>
        {
            AuditLog.Append(tx, stage.TeamId, Actor.Operator, "test.act", "=1+1", detail: "a \"b\", c");
        }).Within();
        using var owner = hub.As(stage.OwnerToken);

        using var response = await owner.GetAsync($"/api/audit/export?teamId={stage.TeamId}&action=test.act&format=CSV").Within();
        var lines = (await response.Content.ReadAsStringAsync().Within()).Split("\r\n");

        Assert.Equal("text/csv; charset=utf-8", response.Content.Headers.ContentType!.ToString());
        Assert.Equal("id,at,actor_kind,actor,action,subject,host_id,detail", lines[0]);
        Assert.EndsWith(",operator,operator,test.act,'=1+1,,\"a \"\"b\"\", c\"", lines[1], StringComparison.Ordinal);
        Assert.Equal("", Assert.Single(lines[2..]));
    }

    [Fact]
    public async Task SuspendedTeam_IsToldSoEverywhereUntilItIsResumed()
    {
        await using var hub = await StartAsync();
        var stage = await Stage.SetAsync(hub);
        using var admin = new HttpClient { BaseAddress = hub.AdminUrl };
        using var owner = hub.As(stage.OwnerToken);
        using var node = hub.As(stage.Credential);
        using var key = hub.As(stage.Key);
        await using var link = await stage.ConnectAsync(hub);

        using var suspended = await admin.PostAsync($"/admin/teams/{stage.TeamId}/suspend", JsonContent(new { reason = "unpaid" })).Within();
        var goodbye = await link.ReadUntilAsync(frame => frame.Goodbye is not null);
        var refusals = new[]
        {
            await owner.ReadAsync($"/api/hosts/{stage.HostId}"), await node.ReadAsync($"/api/hosts/{stage.HostId}"), await key.ReadAsync("/api/hosts"),
        };
        var teams = (await owner.ReadAsync("/api/me/teams")).Expect(200);
        using var outside = await hub.Rest.PostAsync($"/admin/teams/{stage.TeamId}/resume", JsonContent(new { })).Within();
        using var resumed = await admin.PostAsync($"/admin/teams/{stage.TeamId}/resume", JsonContent(new { })).Within();

        Assert.Equal(HttpStatusCode.NoContent, suspended.StatusCode);
        Assert.Equal(GoodbyeReason.TeamSuspended, goodbye.Goodbye.Reason);
        Assert.All(refusals, refusal => Assert.Equal("TEAM_SUSPENDED", refusal.Expect(402).Reason));
        Assert.Contains("suspendedAt", teams.Text, StringComparison.Ordinal); // Its people see what happened.
        Assert.Equal(HttpStatusCode.NotFound, outside.StatusCode); // The public listener has no such thing.
        Assert.Equal(HttpStatusCode.NoContent, resumed.StatusCode);
        (await node.ReadAsync($"/api/hosts/{stage.HostId}")).Expect(200);
        var actions = (await owner.ReadAsync("/api/audit?actor=operator&action=team.")).Expect(200)["entries"].EnumerateArray()
            .Select(entry => entry.GetProperty("action").GetString());
        Assert.Equal(["team.resumed", "team.suspended"], actions);
    }

    private static StringContent JsonContent(object body) => new(JsonSerializer.Serialize(body), Encoding.UTF8, "application/json");

    private async Task<HubHost> StartAsync(TimeProvider? time = null) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
}

public sealed class SqliteAuditTests(SqliteStoreFixture fixture) : AuditTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresAuditTests(PostgresStoreFixture fixture) : AuditTests(fixture), IClassFixture<PostgresStoreFixture>;
