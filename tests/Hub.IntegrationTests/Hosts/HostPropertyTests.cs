using System.Text.Json;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>What people want a host to be against what it reports.</summary>
public abstract class HostPropertyTests(StoreFixture fixture)
{
    [Fact]
    public async Task Set_NewValue_StartsAGenerationAndShowsTheDrift()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var first = await SetAsync(owner, hostId, "model", "a");
        var repeated = await SetAsync(owner, hostId, "model", "a");
        var second = await SetAsync(owner, hostId, "model", "b");
        var host = await owner.ReadAsync($"/api/hosts/{hostId}");

        Assert.Equal([1, 1, 2], new[] { first, repeated, second }.Select(answer => answer["property.desiredGeneration"].GetInt64()));
        Assert.Equal("owner@example.com", second.String("property.desiredBy"));
        Assert.False(host["host.converged"].GetBoolean());
        var drift = Assert.Single(host["host.drift"].EnumerateArray());
        Assert.Equal(("model", "b", 2, 0), (
            drift.GetProperty("key").GetString(), drift.GetProperty("desired").GetString(),
            drift.GetProperty("desiredGeneration").GetInt64(), drift.GetProperty("reportedGeneration").GetInt64()));
    }

    [Fact]
    public async Task Report_OfThePresentGeneration_Converges()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        using var node = hub.As(credential);
        await SetAsync(owner, hostId, "model", "a");
        await SetAsync(owner, hostId, "model", "b");

        var behind = await ReportAsync(node, hostId, new { key = "model", value = "a", generation = 1 });
        var ahead = await ReportAsync(node, hostId, new { key = "model", value = "b", generation = 99 });
        var all = await owner.ReadAsync($"/api/hosts/{hostId}/properties");

        Assert.Equal("b", Assert.Single(behind["properties"].EnumerateArray()).GetProperty("desired").GetString());
        Assert.Equal(0, ahead["properties"].GetArrayLength());
        Assert.True(all["converged"].GetBoolean());
        Assert.Equal(2, all["properties"][0].GetProperty("reportedGeneration").GetInt64()); // No node speaks for generations to come.
        Assert.True((await owner.ReadAsync($"/api/hosts/{hostId}"))["host.converged"].GetBoolean());
    }

    [Fact]
    public async Task Report_WithAnError_IsShownUntilTheNextDesiredValue()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        using var node = hub.As(credential);
        await SetAsync(owner, hostId, "model", "none such");

        await ReportAsync(node, hostId, new { key = "model", value = "a", generation = 1, error = "unknown model" });
        var why = await owner.ReadAsync($"/api/hosts/{hostId}/why");
        var next = await SetAsync(owner, hostId, "model", "b");

        Assert.Equal("unknown model", Assert.Single(why["notes"].EnumerateArray()).GetProperty("detail").GetString());
        Assert.Equal("", next.String("property.error"));
        Assert.False(next["property.converged"].GetBoolean());
    }

    [Fact]
    public async Task List_OfWhatIsNotConverged_ShowsOnlyThat()
    {
        await using var hub = await StartAsync();
        var (drifting, _) = await hub.ClaimAsync("a");
        var (fine, _) = await hub.ClaimAsync("b");
        using var owner = hub.As(await hub.UserTokenAsync());
        await SetAsync(owner, drifting, "model", "a");

        var not = await owner.ReadAsync("/api/hosts?converged=false");
        var yes = await owner.ReadAsync("/api/hosts?converged=true");
        var all = await owner.ReadAsync("/api/hosts");

        Assert.Equal([drifting], Ids(not));
        Assert.Equal([fine], Ids(yes));
        Assert.Equal([drifting, fine], Ids(all));
        Assert.Equal(1, not["hosts"][0].GetProperty("drift").GetArrayLength());
    }

    [Fact]
    public async Task NodeVersion_OfTheHello_IsTheReport()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await SetAsync(owner, hostId, "node_version", "2.0");

        await using (var old = await RawNode.ConnectAsync(hub, credential, change: hello => hello.NodeVersion = "1.9"))
        {
            await old.ReadAsync();
        }

        var before = await owner.ReadAsync($"/api/hosts/{hostId}/properties");
        await using var updated = await RawNode.ConnectAsync(hub, credential, change: hello => hello.NodeVersion = "2.0");
        await updated.ReadAsync();
        var after = await owner.ReadAsync($"/api/hosts/{hostId}/properties");
        var alreadyThere = await SetAsync(owner, hostId, "node_version", "2.1");
        var takenBack = await SetAsync(owner, hostId, "node_version", "2.0");

        Assert.Equal("1.9", before["properties"][0].GetProperty("reported").GetString());
        Assert.False(before["converged"].GetBoolean());
        Assert.True(after["converged"].GetBoolean());
        Assert.False(alreadyThere["property.converged"].GetBoolean());
        Assert.True(takenBack["property.converged"].GetBoolean());
    }

    [Fact]
    public async Task Capabilities_OfTheClaim_AreTheReport()
    {
        await using var hub = await StartAsync();
        var joinToken = await hub.JoinTokenAsync();
        var hostId = (await hub.Rest.WriteAsync("/api/hosts/claim", $$"""{"joinToken":"{{joinToken}}","capabilities":["tasks"]}""")).String("host.id");
        using var owner = hub.As(await hub.UserTokenAsync());

        var wanted = await owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/properties/capabilities", """{"value":["tasks","chat"]}""");
        await hub.Rest.WriteAsync(
            "/api/connect/complete", $$"""{"joinToken":"{{await hub.JoinTokenAsync(hostId)}}","capabilities":["chat","tasks","canvas"]}""");
        var claimed = await owner.ReadAsync($"/api/hosts/{hostId}");

        Assert.False(wanted["property.converged"].GetBoolean());
        Assert.True(claimed["host.converged"].GetBoolean());
    }

    [Fact]
    public async Task Labels_OfPeople_LieOverTheNodes()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await using var node = await RawNode.ConnectAsync(hub, credential, change: hello => hello.Labels.Add(new Dictionary<string, string> { ["env"] = "dev", ["zone"] = "a" }));
        await node.ReadAsync();

        var apart = await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}", new { labels = new { env = "prod", tier = "1" } });
        var agreed = await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}", new { labels = new { tier = "1" } });
        var cleared = await owner.CallAsync(HttpMethod.Patch, $"/api/hosts/{hostId}", new { labels = new { } });

        Assert.Equal("""{"env":"prod","tier":"1","zone":"a"}""", Sorted(apart["host.labels"]));
        Assert.False(apart["host.converged"].GetBoolean()); // The node insists on another env.
        Assert.True(agreed["host.converged"].GetBoolean());
        Assert.Equal("""{"env":"dev","zone":"a"}""", Sorted(cleared["host.labels"]));
    }

    [Fact]
    public async Task Set_WithAnOldIfMatch_IsRefused()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var first = await SetAsync(owner, hostId, "model", "a");
        await SetAsync(owner, hostId, "model", "b");

        var path = $"/api/hosts/{hostId}/properties/model";
        var refused = await owner.CallAsync(HttpMethod.Put, path, new { value = "c" }, ("if-match", first.Headers.ETag!.ToString()));
        var taken = await owner.CallAsync(HttpMethod.Put, path, new { value = "c" }, ("if-match", "\"2\""));

        Assert.Equal("VERSION_MISMATCH", refused.Expect(412).Reason);
        Assert.Equal(3, taken.Expect(200)["property.desiredGeneration"].GetInt64());
    }

    [Fact]
    public async Task Clear_ThenSetAgain_GoesOnCounting()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await SetAsync(owner, hostId, "model", "a");

        (await owner.CallAsync(HttpMethod.Delete, $"/api/hosts/{hostId}/properties/model")).Expect(200);
        var cleared = await owner.ReadAsync($"/api/hosts/{hostId}");
        var again = await SetAsync(owner, hostId, "model", "a");

        Assert.True(cleared["host.converged"].GetBoolean());
        Assert.Equal(3, again["property.desiredGeneration"].GetInt64());
    }

    [Theory]
    [InlineData("labels", """["a"]""")]
    [InlineData("labels", """{"a":1}""")]
    [InlineData("config", "\"text\"")]
    [InlineData("node_version", "2")]
    [InlineData("capabilities", """[1]""")]
    [InlineData("Upper", "1")]
    [InlineData("model", "null")]
    public async Task Set_WhatCannotBe_IsRefused(string key, string value)
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var refused = await owner.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/properties/{key}", $$"""{"value":{{value}}}""");

        Assert.Equal("INVALID_FIELD", refused.Expect(400).Reason);
    }

    [Fact]
    public async Task Report_OfMorePropertiesThanAHostMayHave_IsRefused()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var full = Enumerable.Range(0, 100).Select(i => new { key = $"p{i}", value = i }).ToArray();

        (await node.WriteAsync($"/api/hosts/{hostId}/properties/report", new { properties = full })).Expect(200);
        var one = await node.WriteAsync($"/api/hosts/{hostId}/properties/report", new { properties = new[] { new { key = "more", value = 1 } } });

        Assert.Equal("ITEMS_MAX", one.Expect(429).Reason);
    }

    private static Task<RestAnswer> SetAsync(HttpClient client, string hostId, string key, object value) =>
        client.CallAsync(HttpMethod.Put, $"/api/hosts/{hostId}/properties/{key}", new { value });

    private static async Task<RestAnswer> ReportAsync(HttpClient node, string hostId, object report) =>
        (await node.WriteAsync($"/api/hosts/{hostId}/properties/report", new { properties = new[] { report } })).Expect(200);

    private static IEnumerable<string> Ids(RestAnswer list) => list["hosts"].EnumerateArray().Select(host => host.GetProperty("id").GetString()!);

    private static string Sorted(JsonElement labels) => JsonSerializer.Serialize(
        new SortedDictionary<string, string>(labels.EnumerateObject().ToDictionary(label => label.Name, label => label.Value.GetString()!)));

    private async Task<HubHost> StartAsync() => await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
}

public sealed class SqliteHostPropertyTests(SqliteStoreFixture fixture) : HostPropertyTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresHostPropertyTests(PostgresStoreFixture fixture) : HostPropertyTests(fixture), IClassFixture<PostgresStoreFixture>;
