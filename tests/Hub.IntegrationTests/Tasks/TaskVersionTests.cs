using System.Net;
using System.Net.Http.Json;
using Hub.TestKit;

namespace Hub.IntegrationTests.Tasks;

/// <summary>Two people change one task.</summary>
public abstract class TaskVersionTests(StoreFixture fixture)
{
    [Fact]
    public async Task UpdateTask_WithIfMatch_ChangesOnlyTheVersionThatWasRead()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, credential);
        await node.ReadAsync();
        await node.SendAsync(RawNode.TaskBatch(1, ("task-1", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is not null);
        using var owner = hub.As(await hub.UserTokenAsync());
        var read = await owner.GetAsync($"/api/hosts/{hostId}/tasks/task-1");

        var first = await PatchAsync(owner, hostId, read.Headers.ETag!.ToString(), "doing");
        var second = await PatchAsync(owner, hostId, read.Headers.ETag!.ToString(), "done");

        Assert.Equal(HttpStatusCode.OK, first.StatusCode);
        Assert.NotEqual(read.Headers.ETag, first.Headers.ETag);
        Assert.Equal(HttpStatusCode.PreconditionFailed, second.StatusCode);
        Assert.Contains("VERSION_MISMATCH", await second.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(HttpStatusCode.OK, (await PatchAsync(owner, hostId, first.Headers.ETag!.ToString(), "done")).StatusCode);
    }

    private static async Task<HttpResponseMessage> PatchAsync(HttpClient owner, string hostId, string version, string status)
    {
        using var request = new HttpRequestMessage(HttpMethod.Patch, $"/api/hosts/{hostId}/tasks/task-1") { Content = JsonContent.Create(new { status }) };
        request.Headers.TryAddWithoutValidation("If-Match", version);
        return await owner.SendAsync(request);
    }
}

public sealed class SqliteTaskVersionTests(SqliteStoreFixture fixture) : TaskVersionTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresTaskVersionTests(PostgresStoreFixture fixture) : TaskVersionTests(fixture), IClassFixture<PostgresStoreFixture>;
