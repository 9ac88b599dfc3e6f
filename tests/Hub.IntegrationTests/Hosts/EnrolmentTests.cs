using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>`POST /api/hosts/enroll`: hosts made by scripts with an API key.</summary>
public abstract class EnrolmentTests(StoreFixture fixture)
{
    private const string Enroll = "/api/hosts/enroll";

    [Fact]
    public async Task Enroll_WithAnApiKey_GivesAHostItsCredential()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var script = hub.As(await hub.ApiKeyAsync());

        var enrolled = (await script.WriteAsync(Enroll, new { name = "vm-1", hostType = "vm" })).Expect(201);

        var hostId = enrolled.String("host.id");
        using var node = hub.As(enrolled.String("credential.token"));
        Assert.Equal("vm-1", (await node.ReadAsync($"/api/hosts/{hostId}")).Expect(200).String("host.name"));
        (await node.WriteAsync($"/api/hosts/{hostId}/heartbeat", """{"status":"online"}""")).Expect(200);
        Assert.Equal("ONLINE", (await script.ReadAsync($"/api/hosts/{hostId}")).Expect(200).String("host.state"));
        Assert.Equal("no-store", enrolled.Headers.CacheControl?.ToString());
    }

    [Fact]
    public async Task Enroll_Repeated_IsTheSameHostWithAFreshCredential()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var script = hub.As(await hub.ApiKeyAsync());
        var first = await script.WriteAsync(Enroll, new { name = "vm-1", idempotencyKey = "vm-1" });

        var again = await script.WriteAsync(Enroll, new { name = "vm-1", idempotencyKey = "vm-1" });
        var other = await script.WriteAsync(Enroll, new { name = "vm-1", idempotencyKey = "vm-2" });

        Assert.Equal(first.Expect(201).String("host.id"), again.Expect(201).String("host.id"));
        Assert.NotEqual(first.String("credential.token"), again.String("credential.token"));
        Assert.NotEqual(first.String("host.id"), other.Expect(201).String("host.id"));
    }

    [Fact]
    public async Task Enroll_WithoutAKey_IsRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var anonymous = await hub.Rest.WriteAsync(Enroll, new { name = "vm-1" });
        var byNode = await node.WriteAsync(Enroll, new { name = "vm-1" });

        Assert.Equal(401, anonymous.Status);
        Assert.InRange(byNode.Status, 400, 499);
    }
}

public sealed class SqliteEnrolmentTests(SqliteStoreFixture fixture) : EnrolmentTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresEnrolmentTests(PostgresStoreFixture fixture) : EnrolmentTests(fixture), IClassFixture<PostgresStoreFixture>;
