using System.Net;
using System.Text.Json;
using Hub.TestKit;

namespace Hub.IntegrationTests.Commands;

/// <summary>What people ask of nodes: always a command, done only when the node did it.</summary>
public abstract class WriteBackTests(StoreFixture fixture)
{
    public static TheoryData<string, string, string, string> Asked => new()
    {
        {
            "tasks/create", """{"title":"T","assignee":"main","doneCriteria":["it runs"]}""", "task_create",
            """{"assignee":"main","createdBy":"owner@example.com","done_criteria":["it runs"],"title":"T"}"""
        },
        {
            "tasks/t-1/review", """{"decision":"approve","comment":"fine"}""", "task_review",
            """{"actor":"owner@example.com","comment":"fine","decision":"approve","taskId":"t-1"}"""
        },
        {
            "insights/ins-1/promote", """{"priority":"P1"}""", "insight_promote",
            """{"actor":"owner@example.com","insightId":"ins-1","priority":"P1"}"""
        },
        {
            "run-approvals/ev-1/decide", """{"decision":"approve","rationale":"looks right"}""", "run_approve",
            """{"actor":"owner@example.com","decision":"approve","eventId":"ev-1","rationale":{"choice":"approve","considered":["approve","reject","defer"],"constraint":"looks right"}}"""
        },
        {
            "run-approvals/ev-1/decide", """{"decision":"reject","rationale":{"choice":"wait","considered":["wait"],"constraint":"budget","more":1}}""", "run_approve",
            """{"actor":"owner@example.com","decision":"reject","eventId":"ev-1","rationale":{"choice":"wait","considered":["wait"],"constraint":"budget","more":1}}"""
        },
        {
            "run-approvals/ev-1/decide", """{"decision":"defer"}""", "run_approve",
            """{"actor":"owner@example.com","decision":"defer","eventId":"ev-1","rationale":{"choice":"defer","considered":["approve","reject","defer"],"constraint":"decided by a person"}}"""
        },
        { "context/main/sync", "{}", "context_sync", """{"agent":"main"}""" },
    };

    [Theory]
    [MemberData(nameof(Asked))]
    public async Task Ask_ByAPerson_IsACommandTheNodeUnderstands(string path, string body, string type, string payload)
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());

        var asked = (await owner.WriteAsync($"/api/hosts/{hostId}/{path}", body)).Expect(201);
        var served = await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");

        Assert.Equal("requested", asked.String("writeBack.status"));
        var command = Assert.Single(served["commands"].EnumerateArray());
        Assert.Equal((asked.String("writeBack.id"), type), (command.GetProperty("id").GetString(), command.GetProperty("type").GetString()));
        Assert.Equal(payload, Sorted(command.GetProperty("payload")));
    }

    [Theory]
    [InlineData("""{"action":"complete","result":{"status":200}}""", "done")]
    [InlineData("""{"action":"complete","result":{"skipped":true,"reason":"unknown_type"}}""", "failed")]
    [InlineData("""{"action":"complete","result":{"status":400,"error":"rationale must be an object"}}""", "failed")]
    [InlineData("""{"action":"fail","error":"no such insight"}""", "failed")]
    public async Task Asked_ThenReported_IsDoneOnlyIfTheNodeDidIt(string report, string status)
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var id = (await owner.WriteAsync($"/api/hosts/{hostId}/insights/ins-1/promote", "{}")).String("writeBack.id");
        await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");

        await node.WriteAsync($"/api/hosts/{hostId}/commands/{id}/ack", report);
        var listed = await owner.ReadAsync($"/api/hosts/{hostId}/write-backs");

        var one = Assert.Single(listed["writeBacks"].EnumerateArray());
        Assert.Equal(
            (id, "insight_promote", "ins-1", status),
            (one.GetProperty("id").GetString(), one.GetProperty("kind").GetString(), one.GetProperty("targetId").GetString(), one.GetProperty("status").GetString()));
    }

    [Fact]
    public async Task List_ByKindAndStatus_ShowsThoseAlone()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var done = (await owner.WriteAsync($"/api/hosts/{hostId}/insights/ins-1/promote", "{}")).String("writeBack.id");
        var other = (await owner.WriteAsync($"/api/hosts/{hostId}/insights/ins-2/promote", "{}")).String("writeBack.id");
        var task = (await owner.WriteAsync($"/api/hosts/{hostId}/tasks/create", new { title = "T" })).String("writeBack.id");
        await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");
        await node.WriteAsync($"/api/hosts/{hostId}/commands/{done}/ack", """{"action":"complete","result":{"status":200}}""");

        async Task<string[]> ListAsync(string filter) =>
            [.. (await owner.ReadAsync($"/api/hosts/{hostId}/write-backs?{filter}"))["writeBacks"].EnumerateArray().Select(one => one.GetProperty("id").GetString()!)];

        Assert.Equal([task, other, done], await ListAsync(""));
        Assert.Equal([other, done], await ListAsync("kind=insight_promote"));
        Assert.Equal([done], await ListAsync("status=done"));
        Assert.Equal([task, other], await ListAsync("status=requested"));
        Assert.Equal([other], await ListAsync("kind=insight_promote&status=requested"));
        Assert.Empty(await ListAsync("status=failed"));
        using var refused = await owner.GetAsync($"/api/hosts/{hostId}/write-backs?status=open");
        Assert.Equal(HttpStatusCode.BadRequest, refused.StatusCode);
    }

    [Fact]
    public async Task Ask_Twice_WithOneKey_IsOneCommand()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var path = $"/api/hosts/{hostId}/tasks/create";

        var first = (await owner.WriteAsync(path, new { title = "T" }, ("idempotency-key", "k"))).Expect(201);
        var again = (await owner.WriteAsync(path, new { title = "T" }, ("idempotency-key", "k"))).Expect(200);
        var other = await owner.WriteAsync(path, new { title = "U" }, ("idempotency-key", "k"));

        Assert.Equal(first.String("writeBack.id"), again.String("writeBack.id"));
        Assert.Equal("IDEMPOTENCY_KEY_REUSED", other.Expect(409).Reason);
    }

    [Fact]
    public async Task Ask_ByAViewer_IsRefused()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var viewer = hub.As(await hub.UserTokenAsync("viewer@example.com", "Viewer"));

        (await viewer.WriteAsync($"/api/hosts/{hostId}/tasks/create", new { title = "T" })).Expect(403);
    }

    private static string Sorted(JsonElement value) => JsonSerializer.Serialize(
        new SortedDictionary<string, JsonElement>(value.EnumerateObject().ToDictionary(pair => pair.Name, pair =>
            pair.Value.ValueKind == JsonValueKind.Object ? JsonSerializer.Deserialize<JsonElement>(Sorted(pair.Value)) : pair.Value), StringComparer.Ordinal));

    private async Task<HubHost> StartAsync() => await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
}

public sealed class SqliteWriteBackTests(SqliteStoreFixture fixture) : WriteBackTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresWriteBackTests(PostgresStoreFixture fixture) : WriteBackTests(fixture), IClassFixture<PostgresStoreFixture>;
