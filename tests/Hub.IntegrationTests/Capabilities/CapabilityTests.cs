using Hub.Hosting;
using Hub.TestKit;

namespace Hub.IntegrationTests.Capabilities;

/// <summary>What a team's nodes may use.</summary>
public abstract class CapabilityTests(StoreFixture fixture)
{
    private static readonly string Key = Convert.ToBase64String(Enumerable.Range(0, 32).Select(i => (byte)i).ToArray());

    [Fact]
    public async Task Context_OfATeamWithoutAny_IsTheSentenceNodesKnow()
    {
        await using var hub = await StartAsync(Key);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var context = (await node.ReadAsync($"/api/hosts/{hostId}/capabilities/context")).Expect(200);

        Assert.Equal("No capabilities are currently enabled for this team.", context.String("systemPromptHint"));
        Assert.Equal("no-store", context.Headers.CacheControl?.ToString());
    }

    [Fact]
    public async Task Enable_ByAnAdmin_ReachesTheNodeAndNobodyElse()
    {
        await using var hub = await StartAsync(Key);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());

        var enabled = (await owner.CallAsync(HttpMethod.Put, "/api/capabilities/github", new { credentials = new { access_token = "gh-secret" } })).Expect(200);
        var context = await node.ReadAsync($"/api/hosts/{hostId}/capabilities/context");
        var token = (await node.WriteAsync($"/api/hosts/{hostId}/github/token", "")).Expect(200);
        var listed = await owner.ReadAsync("/api/capabilities");
        var peeked = await owner.ReadAsync($"/api/hosts/{hostId}/capabilities/context");

        Assert.True(enabled["capability.enabled"].GetBoolean());
        Assert.Equal("gh-secret", context.String("credentials.github.access_token"));
        Assert.Contains("GITHUB_ACCESS_TOKEN", context.String("systemPromptHint"), StringComparison.Ordinal);
        Assert.Equal("gh-secret", token.String("token"));
        Assert.NotEmpty(token.String("expires_at"));
        Assert.Equal("github", Assert.Single(listed["capabilities"].EnumerateArray(), item => item.GetProperty("enabled").GetBoolean()).GetProperty("name").GetString());
        Assert.Equal("PRINCIPAL_NOT_ALLOWED", peeked.Expect(403).Reason);
        Assert.All([enabled, listed], answer => Assert.DoesNotContain("gh-secret", answer.Text, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Enable_StoresNoPlainText()
    {
        var options = await fixture.CreateDatabaseAsync();
        await using var hub = await HubHost.StartAsync(fixture, options, null, (HubSettings.SecretsKeyKey, Key));
        using var owner = hub.As(await hub.UserTokenAsync());
        (await owner.CallAsync(HttpMethod.Put, "/api/capabilities/openai", new { credentials = new { api_key = "sk-very-secret" } })).Expect(200);

        using var connection = fixture.Connect(options);
        using var command = connection.CreateCommand();
        command.CommandText = "select sealed from team_capabilities";
        var stored = (string)command.ExecuteScalar()!;

        Assert.DoesNotContain("sk-very-secret", stored, StringComparison.Ordinal);
        Assert.DoesNotContain("sk-very-secret", System.Text.Encoding.UTF8.GetString(Convert.FromBase64String(stored)), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("path", """{"path":"x"}""", 404)]
    [InlineData("github", """{}""", 400)]
    [InlineData("github", """{"access_token":"a","node_options":"b"}""", 400)]
    [InlineData("github", """{"access_token":""}""", 400)]
    [InlineData("github", """{"access_token":"a\nNODE_OPTIONS=--require=x"}""", 400)]
    [InlineData("twilio", """{"account_sid":"a","auth_token":"b"}""", 400)]
    public async Task Enable_WhatIsNotOnTheList_IsRefused(string name, string credentials, int status)
    {
        await using var hub = await StartAsync(Key);
        using var owner = hub.As(await hub.UserTokenAsync());

        (await owner.CallAsync(HttpMethod.Put, $"/api/capabilities/{name}", $$"""{"credentials":{{credentials}}}""")).Expect(status);
    }

    [Fact]
    public async Task Enable_ByAMember_IsRefused()
    {
        await using var hub = await StartAsync(Key);
        using var member = hub.As(await hub.UserTokenAsync("member@example.com", "Member"));

        var refused = await member.CallAsync(HttpMethod.Put, "/api/capabilities/openai", new { credentials = new { api_key = "sk" } });

        Assert.Equal("ROLE_REQUIRED", refused.Expect(403).Reason);
    }

    [Fact]
    public async Task Enable_WithoutAKeyOfTheOperator_SaysWhatIsMissing()
    {
        await using var hub = await StartAsync("");
        using var owner = hub.As(await hub.UserTokenAsync());

        var refused = await owner.CallAsync(HttpMethod.Put, "/api/capabilities/openai", new { credentials = new { api_key = "sk" } });

        Assert.Equal("SECRETS_KEY_MISSING", refused.Expect(409).Reason);
        Assert.Contains("HUB_SECRETS_KEY", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Context_AfterTheKeyWasReplaced_LeavesOutWhatDoesNotOpen()
    {
        var options = await fixture.CreateDatabaseAsync();
        string hostId, credential, ownerToken;
        await using (var before = await HubHost.StartAsync(fixture, options, null, (HubSettings.SecretsKeyKey, Key)))
        {
            (hostId, credential) = await before.ClaimAsync();
            using var owner = before.As(await before.UserTokenAsync());
            await owner.CallAsync(HttpMethod.Put, "/api/capabilities/openai", new { credentials = new { api_key = "sk" } });
        }

        await using var hub = await HubHost.StartAsync(fixture, options, null, (HubSettings.SecretsKeyKey, Convert.ToBase64String(new byte[32])));
        ownerToken = await hub.UserTokenAsync();
        using var node = hub.As(credential);
        using var person = hub.As(ownerToken);
        var context = (await node.ReadAsync($"/api/hosts/{hostId}/capabilities/context")).Expect(200);
        var listed = await person.ReadAsync("/api/capabilities");

        Assert.Equal("No capabilities are currently enabled for this team.", context.String("systemPromptHint"));
        var openai = Assert.Single(listed["capabilities"].EnumerateArray(), item => item.GetProperty("enabled").GetBoolean());
        Assert.False(openai.GetProperty("readable").GetBoolean());
    }

    [Fact]
    public async Task GithubToken_WhenNothingIsConnected_IsA404WithAText()
    {
        await using var hub = await StartAsync(Key);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var refused = (await node.WriteAsync($"/api/hosts/{hostId}/github/token", "")).Expect(404);

        Assert.Equal("github not connected", refused.Error);
    }

    [Fact]
    public async Task Disable_ThenFetch_IsTheSentenceAgain()
    {
        await using var hub = await StartAsync(Key);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.CallAsync(HttpMethod.Put, "/api/capabilities/openai", new { credentials = new { api_key = "sk" } });

        (await owner.CallAsync(HttpMethod.Delete, "/api/capabilities/openai")).Expect(200);
        (await owner.CallAsync(HttpMethod.Delete, "/api/capabilities/openai")).Expect(200);

        var context = await node.ReadAsync($"/api/hosts/{hostId}/capabilities/context");
        Assert.Equal("No capabilities are currently enabled for this team.", context.String("systemPromptHint"));
    }

    private async Task<HubHost> StartAsync(string key) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), null, (HubSettings.SecretsKeyKey, key));
}

public sealed class SqliteCapabilityTests(SqliteStoreFixture fixture) : CapabilityTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresCapabilityTests(PostgresStoreFixture fixture) : CapabilityTests(fixture), IClassFixture<PostgresStoreFixture>;
