using Hub.Hosting;
using Hub.TestKit;

namespace Hub.IntegrationTests.Relays;

/// <summary>What nodes let the operator's relay do.</summary>
public sealed class RelayTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    [Fact]
    public async Task Relay_GetsTheBodyAsItCameWithHostAndToken()
    {
        await using var relay = await RelayPeer.StartAsync();
        await using var hub = await StartAsync((HubSettings.RelayUrlKey, relay.Url.AbsoluteUri), (HubSettings.RelayTokenKey, "relay-secret"));
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var sent = (await node.WriteAsync(
            $"/api/hosts/{hostId}/relay/email", """{"to":["a@b.c","d@e.f"],"subject":"s","tags":[{"name":"n","value":"v"}],"cc":null}""")).Expect(200);

        Assert.Equal("""{"to":["a@b.c","d@e.f"],"subject":"s","tags":[{"name":"n","value":"v"}],"cc":null}""", sent["body"].GetRawText().Replace(" ", "", StringComparison.Ordinal));
        Assert.Equal(hostId, sent.String("host"));
        Assert.Equal("Bearer relay-secret", sent.String("authorization"));
    }

    [Theory]
    [InlineData("email")]
    [InlineData("sms")]
    public async Task Relay_ByANodeThatDoesNotKnowItsId_IsOfTheHostThatCalls(string kind)
    {
        await using var relay = await RelayPeer.StartAsync();
        await using var hub = await StartAsync((HubSettings.RelayUrlKey, relay.Url.AbsoluteUri));
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var sent = (await node.WriteAsync($"/api/hosts/relay/{kind}", new { to = "x" })).Expect(200);

        Assert.Equal(hostId, sent.String("host"));
    }

    [Theory]
    [InlineData(401, 422, "RELAY_REFUSED")]
    [InlineData(403, 422, "RELAY_REFUSED")]
    [InlineData(429, 429, "RATE_LIMITED")]
    [InlineData(500, 503, "RELAY_UNAVAILABLE")]
    [InlineData(302, 503, "RELAY_UNAVAILABLE")]
    public async Task Relay_ThatRefuses_DoesNotMakeTheNodeClaimAgain(int status, int shown, string reason)
    {
        await using var relay = await RelayPeer.StartAsync();
        await using var hub = await StartAsync((HubSettings.RelayUrlKey, relay.Url.AbsoluteUri));
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        relay.Status = status;

        var refused = (await node.WriteAsync($"/api/hosts/{hostId}/relay/sms", new { to = "x" })).Expect(shown);

        Assert.Equal(reason, refused.Reason);
        Assert.DoesNotContain("invalid or expired token", refused.Text, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Relay_ThatIsNotSet_Is404()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var refused = await node.WriteAsync($"/api/hosts/{hostId}/relay/email", new { to = "x" });

        Assert.Equal("RELAY_NOT_CONFIGURED", refused.Expect(404).Reason);
    }

    private async Task<HubHost> StartAsync(params (string, string)[] settings) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), settings: settings);
}
