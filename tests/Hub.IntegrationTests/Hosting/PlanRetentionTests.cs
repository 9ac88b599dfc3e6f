using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosting;

/// <summary>How long history is kept is the plan's say; what still has to reach a node, and the audit log, outlive every plan.</summary>
public abstract class PlanRetentionTests(StoreFixture fixture)
{
    private const string Password = "correct horse battery";

    [Theory]
    [InlineData("free", 30)]
    [InlineData("pro", 90)]
    [InlineData("team", null)]
    public async Task Sweep_OfATeam_RemovesWhatItsPlanNoLongerKeeps(string plan, int? days)
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time, ("HUB_PLAN", plan));
        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email = "you@example.com", password = Password })).Expect(201);
        using var you = hub.As(signedUp.String("session.accessToken"));
        var joinToken = (await you.WriteAsync("/api/hosts/register-token", "{}")).Expect(201).String("registerToken.joinToken");
        var claimed = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(201);
        var hostId = claimed.String("host.id");
        using var node = hub.As(claimed.String("credential.token"));
        (await node.WriteAsync($"/api/hosts/{hostId}/chat/sync", """{"messages":[{"id":"said","from":"f","content":"c","timestamp":7}]}""")).Expect(200);
        (await you.WriteAsync($"/api/hosts/{hostId}/chat", new { content = "not fetched yet" })).Expect(201);
        var commandId = (await you.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" })).Expect(201).String("command.id");
        (await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending")).Expect(200);
        (await node.WriteAsync($"/api/hosts/{hostId}/commands/{commandId}/ack", new { action = "complete" })).Expect(200);
        var kept = TimeSpan.FromDays(days ?? 3_650);

        time.SetClock(time.GetUtcNow() + kept - TimeSpan.FromMinutes(1));
        await hub.SweepRetentionAsync();
        var before = await CountAsync(hub, hostId);
        time.SetClock(time.GetUtcNow() + TimeSpan.FromMinutes(1));
        await hub.SweepRetentionAsync();
        var after = await CountAsync(hub, hostId);

        Assert.Equal((2, 1), before);
        Assert.Equal(days is null ? (2, 1) : (1, 0), after);
        using var back = hub.As((await hub.Rest.WriteAsync("/api/auth/signin", new { email = "you@example.com", password = Password })).String("session.accessToken"));
        Assert.Equal(
            "command.created", Assert.Single((await back.ReadAsync("/api/audit?action=command.")).Expect(200)["entries"].EnumerateArray())
                .GetProperty("action").GetString());
    }

    [Fact]
    public async Task Sweep_OfSessionsAndLinksPastTheirTime_RemovesThem()
    {
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync();
        await using var mail = new MailServer();
        await using var hub = await HubHost.StartAsync(fixture, options, time, mail.Settings);
        (await hub.Rest.WriteAsync("/api/auth/signup", new { email = "you@example.com", password = Password })).Expect(201);
        (await hub.Rest.WriteAsync("/api/auth/password/forgot", new { email = "you@example.com" })).Expect(200);
        await mail.ReceiveAsync();

        time.SetClock(time.GetUtcNow().AddDays(30));
        await hub.SweepRetentionAsync();

        using var connection = fixture.Connect(options);
        foreach (var table in new[] { "sessions", "refresh_tokens", "password_resets" })
        {
            Assert.Equal(0, Dapper.SqlMapper.QuerySingle<long>(connection, $"select count(*) from {table}"));
        }
    }

    private static async Task<(int Messages, int Commands)> CountAsync(HubHost hub, string hostId) => await hub.Store.ReadAsync(
        TeamScope.System,
        async reader => (
            (int)await reader.QuerySingleAsync<long>("select count(*) from chat_messages where host_id = @hostId", new { hostId }),
            (int)await reader.QuerySingleAsync<long>("select count(*) from commands where host_id = @hostId", new { hostId }))).Within();
}

public sealed class SqlitePlanRetentionTests(SqliteStoreFixture fixture) : PlanRetentionTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresPlanRetentionTests(PostgresStoreFixture fixture) : PlanRetentionTests(fixture), IClassFixture<PostgresStoreFixture>;
