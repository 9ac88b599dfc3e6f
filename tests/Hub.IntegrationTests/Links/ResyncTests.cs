using Hub.AgentClient;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Links;

/// <summary>A node that lost its journal and knows its records from elsewhere: afterwards the Hub has what the node has.</summary>
public abstract class ResyncTests(StoreFixture fixture)
{
    private const int Records = 900;

    /// <summary>Ids that languages sort in another order than bytes do.</summary>
    private static readonly string[] Alphabets = ["task", "Task", "TASK", "täsk", "任务", "_task", "-task"];

    [Fact]
    public async Task JournalLost_RecordsChangedAddedAndRemoved_HubHasWhatTheNodeHas()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        var state = Directory.CreateTempSubdirectory("hub-resync-").FullName;
        await using (var node = Link(hub, credential, state, null))
        {
            await node.StartAsync();
            await node.PublishTasksAsync([.. Enumerable.Range(0, Records).Select(i => Record(i, "before"))]);
            await node.FlushAsync().Within();
        }

        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { Kinds = { WatchKind.Task, WatchKind.TaskDeleted } }, HubHost.With(await hub.UserTokenAsync()));
        while ((await NextAsync(watch.ResponseStream)).Kind is not WatchKind.SnapshotEnd)
        {
        }

        foreach (var file in Directory.GetFiles(state, "journal.db*"))
        {
            File.Delete(file);
        }

        HostTask[] now = [.. Enumerable.Range(1, Records).Where(i => i % 300 != 2).Select(i => Record(i, i % 50 == 0 ? "after" : "before"))];
        await using var again = Link(hub, credential, state, now);
        await again.StartAsync();
        // 0 and those of i % 300 == 2 are gone, those of i % 50 == 0 changed, the last of them is new.
        var gone = new HashSet<string>([Id(0), .. Enumerable.Range(1, Records).Where(i => i % 300 == 2).Select(Id)]);
        var changed = new HashSet<string>(now.Where(task => task.Status == "after").Select(task => task.Id));
        while (gone.Count + changed.Count > 0)
        {
            var next = await NextAsync(watch.ResponseStream);
            Assert.True((next.Kind is WatchKind.TaskDeleted ? gone : changed).Remove(next.EntityId), $"{next.Kind} of {next.EntityId}");
        }

        using var owner = hub.As(await hub.UserTokenAsync());
        var stored = (await owner.ReadAsync($"/api/hosts/{hostId}/tasks?pageSize=1000"))["tasks"].EnumerateArray()
            .ToDictionary(task => task.GetProperty("id").GetString()!, task => task.GetProperty("status").GetString());
        Assert.Equal(now.ToDictionary(task => task.Id, task => (string?)task.Status), stored);
    }

    private static string Id(int i) => $"{Alphabets[i % Alphabets.Length]}-{i}";

    private static HostTask Record(int i, string status) => new() { Id = Id(i), Title = $"Task {i}", Status = status };

    private static HubLink Link(HubHost hub, string credential, string state, HostTask[]? source) => new(new HubLinkOptions
    {
        HubUrl = hub.GrpcUrl,
        Credential = credential,
        StateDirectory = state,
        SnapshotSource = source is null ? null : _ => source.ToAsyncEnumerable(),
    });

    private static async Task<WatchResponse> NextAsync(Grpc.Core.IAsyncStreamReader<WatchResponse> stream) =>
        await stream.MoveNext(CancellationToken.None).Within() ? stream.Current : throw new EndOfStreamException();
}

public sealed class SqliteResyncTests(SqliteStoreFixture fixture) : ResyncTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresResyncTests(PostgresStoreFixture fixture) : ResyncTests(fixture), IClassFixture<PostgresStoreFixture>;
