using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>What a node fetches to set itself up.</summary>
public abstract class HostConfigTests(StoreFixture fixture)
{
    private static readonly object Encrypted = new { ciphertext = "Y2lwaGVy", iv = "aXY=", authTag = "dGFn" };

    [Fact]
    public async Task Config_OfANewHost_IsCompleteAndNever404()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var config = (await node.ReadAsync($"/api/hosts/{hostId}/config")).Expect(200);
        var secrets = (await node.ReadAsync($"/api/hosts/{hostId}/secrets")).Expect(200);
        var webhooks = (await node.ReadAsync($"/api/hosts/{hostId}/webhooks")).Expect(200);

        Assert.Equal(HubHost.Team, config.String("team.id"));
        Assert.Equal(HubHost.Team, config.String("team.name"));
        Assert.Empty(config["settings"].EnumerateObject());
        Assert.All([config["webhooks"], secrets["secrets"], webhooks["webhooks"]], list => Assert.Equal(0, list.GetArrayLength()));
    }

    [Fact]
    public async Task Config_FetchedByTheNode_CountsAsReported()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/properties/config", """{"value":{"model":"a","depth":{"max":2}}}""");

        await owner.ReadAsync($"/api/hosts/{hostId}/config");
        var readByAPerson = await owner.ReadAsync($"/api/hosts/{hostId}");
        var fetched = await node.ReadAsync($"/api/hosts/{hostId}/config");
        var readByTheNode = await owner.ReadAsync($"/api/hosts/{hostId}");

        Assert.False(readByAPerson["host.converged"].GetBoolean());
        Assert.Equal(2, fetched["settings.depth.max"].GetInt32());
        Assert.True(readByTheNode["host.converged"].GetBoolean());
    }

    [Fact]
    public async Task Secret_GivenByTheDashboard_ReachesTheNodeAsItIs()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());

        (await owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/secrets/db", new
        {
            scope = "project",
            encrypted_value = Encrypted,
            wrapped_dek = new { alg = "X25519", key = "a2V5", nested = new { kid = 7 } },
            value = "plain text that nobody asked for",
        })).Expect(200);
        var stored = await node.ReadAsync($"/api/hosts/{hostId}/secrets");

        var secret = Assert.Single(stored["secrets"].EnumerateArray());
        Assert.Equal(("db", "project"), (secret.GetProperty("name").GetString(), secret.GetProperty("scope").GetString()));
        Assert.Equal("""{"ciphertext":"Y2lwaGVy","iv":"aXY=","authTag":"dGFn"}""", secret.GetProperty("encrypted_value").GetRawText());
        Assert.Equal(7, secret.GetProperty("wrapped_dek").GetProperty("nested").GetProperty("kid").GetInt32());
        Assert.DoesNotContain("plain text", stored.Text, StringComparison.Ordinal);
        Assert.Equal("no-store", stored.Headers.CacheControl?.ToString());
    }

    [Fact]
    public async Task Secret_ReplacedAndRemoved_IsOnePerNameAndScope()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var path = $"/api/hosts/{hostId}/secrets/db";
        foreach (var scope in new[] { "host", "host", "agent" })
        {
            (await owner.CallAsync(HttpMethod.Put, path, new { scope, encrypted_value = Encrypted, wrapped_dek = new { } })).Expect(200);
        }

        var two = await owner.ReadAsync($"/api/hosts/{hostId}/secrets");
        (await owner.CallAsync(HttpMethod.Delete, $"{path}?scope=agent")).Expect(200);
        var one = await owner.ReadAsync($"/api/hosts/{hostId}/secrets");

        Assert.Equal(2, two["secrets"].GetArrayLength());
        Assert.Equal("host", Assert.Single(one["secrets"].EnumerateArray()).GetProperty("scope").GetString());
    }

    [Fact]
    public async Task Secret_ByAMember_IsRefused()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var member = hub.As(await hub.UserTokenAsync("member@example.com", "Member"));

        Assert.Equal("ROLE_REQUIRED", (await member.ReadAsync($"/api/hosts/{hostId}/secrets")).Expect(403).Reason);
    }

    [Fact]
    public async Task Webhook_ThatIsActive_IsPartOfTheConfig()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.CallAsync(
            HttpMethod.Put, $"/api/hosts/{hostId}/webhooks/wh_1", """{"provider":"github","events":["push"],"signingSecretName":"gh"}""");
        await owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/webhooks/wh_2", """{"provider":"stripe","active":false}""");

        var webhooks = await node.ReadAsync($"/api/hosts/{hostId}/webhooks");
        var config = await node.ReadAsync($"/api/hosts/{hostId}/config");

        Assert.Equal(
            """{"id":"wh_1","provider":"github","events":["push"],"signingSecretName":"gh","active":true}""", webhooks["webhooks"][0].GetRawText());
        Assert.False(webhooks["webhooks"][1].GetProperty("active").GetBoolean());
        Assert.Equal(
            """{"provider":"github","events":["push"],"signingSecretName":"gh"}""", Assert.Single(config["webhooks"].EnumerateArray()).GetRawText());
    }

    private async Task<HubHost> StartAsync() => await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
}

public sealed class SqliteHostConfigTests(SqliteStoreFixture fixture) : HostConfigTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresHostConfigTests(PostgresStoreFixture fixture) : HostConfigTests(fixture), IClassFixture<PostgresStoreFixture>;
