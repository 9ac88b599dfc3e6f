using Hub.IntegrationTests.Contract;
using Hub.TestKit;

namespace Hub.IntegrationTests.Rest;

/// <summary>Lists are read again and again by dashboards: who has the present one is not sent it a second time.</summary>
public abstract class ListTagTests(StoreFixture fixture)
{
    /// <summary>A list, whether its host's node or its owner changes it, where, and with what.</summary>
    public static TheoryData<string, string, string, string> Lists => new()
    {
        { "hosts", "owner", "hosts/register-token", "{}" },
        { "hosts/{host}/tasks", "node", "hosts/{host}/tasks/sync", """{"tasks":[{"id":"t2","title":"T","status":"doing"}]}""" },
        { "hosts/{host}/tasks?status=todo", "node", "hosts/{host}/tasks/sync", """{"tasks":[{"id":"t2","title":"T","status":"todo"}]}""" },
        { "hosts/{host}/chat", "owner", "hosts/{host}/chat", """{"content":"hello"}""" },
        { "hosts/{host}/reflections", "node", "hosts/{host}/reflections/sync", """{"reflections":[{"id":"r2","updated_at":8}]}""" },
        { "hosts/{host}/insights", "node", "hosts/{host}/insights/sync", """{"insights":[{"id":"i2","updated_at":8}]}""" },
        { "hosts/{host}/runs", "node", "hosts/{host}/runs/sync", """{"runs":[{"id":"run2","updatedAt":8}]}""" },
        { "hosts/{host}/runs/run1/events", "node", "hosts/{host}/runs/run1/stream", """{"events":[{"id":"e2","createdAt":8}]}""" },
        { "hosts/{host}/trust-events", "node", "hosts/{host}/trust-events/sync", """{"events":[{"id":"trust1","emittedAt":8}]}""" },
        { "hosts/{host}/run-approvals", "node", "hosts/{host}/run-approvals", """{"items":[{"eventId":"ask2"}]}""" },
        { "hosts/{host}/context", "node", "hosts/{host}/context/sync", """{"agent":"other","computed_at":8}""" },
        { "hosts/{host}/usage/ledger", "node", "hosts/{host}/usage/sync", """{"byAgent":[{"agent":"main","total_cost_usd":0.7}]}""" },
        { "hosts/{host}/canvas", "node", "hosts/{host}/canvas", """{"agents":{"main":{"state":"thinking"}}}""" },
        { "approvals", "owner", "hosts/{host}/commands", """{"type":"echo","requires_approval":true}""" },
        { "feedback", "owner", "feedback", """{"message":"again"}""" },
        { "audit", "owner", "team/invite", "{}" },
        { "team/invites", "owner", "team/invite", "{}" },
        { "teams", "owner", "teams", """{"orgId":"{org}","name":"another"}""" },
    };

    [Theory]
    [MemberData(nameof(Lists))]
    public async Task List_ReadAgain_Is304UntilItChanges(string list, string who, string change, string body)
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time: null, Stage.Settings);
        var stage = await (await Stage.SetAsync(hub)).FillAsync(hub);
        string Filled(string text) => text.Replace("{host}", stage.HostId, StringComparison.Ordinal).Replace("{org}", stage.OrgId, StringComparison.Ordinal);
        using var owner = hub.As(stage.OwnerToken);
        using var node = hub.As(stage.Credential);
        var path = Filled($"/api/{list}");
        var tag = Assert.Single((await owner.ReadAsync(path)).Expect(200).Headers.GetValues("ETag"));

        using (var again = await AskAsync(owner, path, tag))
        {
            Assert.Equal((304, tag), ((int)again.StatusCode, again.Headers.ETag?.ToString()));
            Assert.Empty(await again.Content.ReadAsByteArrayAsync().Within());
        }

        var changed = await (who == "node" ? node : owner).WriteAsync(Filled($"/api/{change}"), Filled(body));
        Assert.InRange(changed.Status, 200, 201);
        if (list == "hosts")
        {
            (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = changed.String("registerToken.joinToken"), name = "second" })).Expect(201);
        }

        using var after = await AskAsync(owner, path, tag);
        Assert.Equal(200, (int)after.StatusCode);
        Assert.NotEqual(tag, after.Headers.ETag?.ToString());
    }

    [Fact]
    public async Task Page_OfAList_HasATagOfItsOwn()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        (await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", """{"tasks":[{"id":"a","title":"A"},{"id":"b","title":"B"}]}""")).Expect(200);

        var first = (await node.ReadAsync($"/api/hosts/{hostId}/tasks?pageSize=1")).Expect(200);
        using var second = await AskAsync(
            node, $"/api/hosts/{hostId}/tasks?pageSize=1&pageToken={Uri.EscapeDataString(first.String("nextPageToken"))}", first.Headers.ETag!.ToString());

        Assert.Equal(200, (int)second.StatusCode);
    }

    [Fact]
    public async Task Secrets_AreNotTagged()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time: null, Stage.Settings);
        var stage = await (await Stage.SetAsync(hub)).FillAsync(hub);
        using var node = hub.As(stage.Credential);

        var secrets = (await node.ReadAsync($"/api/hosts/{stage.HostId}/capabilities/context")).Expect(200);

        Assert.Null(secrets.Headers.ETag);
    }

    private static async Task<HttpResponseMessage> AskAsync(HttpClient client, string path, string tag)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("If-None-Match", tag);
        return await client.SendAsync(request).Within();
    }
}

public sealed class SqliteListTagTests(SqliteStoreFixture fixture) : ListTagTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresListTagTests(PostgresStoreFixture fixture) : ListTagTests(fixture), IClassFixture<PostgresStoreFixture>;
