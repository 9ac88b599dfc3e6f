using Grpc.Core;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Feedback;

/// <summary>What people and nodes say, by REST and live.</summary>
public abstract class FeedbackTests(StoreFixture fixture)
{
    private const string Path = "/api/feedback";

    [Fact]
    public async Task Feedback_OfAPersonAndOfANode_IsListedByWhatIsAskedFor()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());

        (await owner.WriteAsync(Path, new { message = "first", kind = "idea", rating = 4, details = new { page = "/hosts" } })).Expect(201);
        (await owner.WriteAsync(Path, new { message = "second", hostId, subjectKind = "tasks", subjectId = "t1" })).Expect(201);
        (await node.WriteAsync(Path, new { message = "third", kind = "bug" })).Expect(201);

        var page = (await owner.ReadAsync($"{Path}?page_size=2")).Expect(200);
        var rest = (await owner.ReadAsync($"{Path}?page_size=2&page_token={page.String("nextPageToken")}")).Expect(200);
        Assert.Equal(["third", "second"], MessagesOf(page));
        Assert.Equal(["first"], MessagesOf(rest));
        Assert.Equal(["third", "second"], MessagesOf(await owner.ReadAsync($"{Path}?host_id={hostId}")));
        Assert.Equal(["first"], MessagesOf(await owner.ReadAsync($"{Path}?kind=idea")));
        Assert.Equal(hostId, page["feedback"][0].GetProperty("author").GetString());
        Assert.Equal(4, rest["feedback"][0].GetProperty("rating").GetInt32());
        Assert.Equal("/hosts", rest["feedback"][0].GetProperty("details").GetProperty("page").GetString());
    }

    [Fact]
    public async Task Feedback_Closed_IsAnotherVersionAndLeavesTheOpenOnes()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var owner = hub.As(await hub.UserTokenAsync());
        var item = $"{Path}/{(await owner.WriteAsync(Path, new { message = "m" })).String("feedback.id")}";
        using var first = await owner.GetAsync(item).Within();

        (await owner.CallAsync(HttpMethod.Patch, item, new { status = "CLOSED" }, ("If-Match", first.Headers.ETag!.Tag))).Expect(200);
        var late = await owner.CallAsync(HttpMethod.Patch, item, new { status = "OPEN" }, ("If-Match", first.Headers.ETag.Tag));
        using var request = new HttpRequestMessage(HttpMethod.Get, item);
        request.Headers.IfNoneMatch.Add(first.Headers.ETag);
        using var second = await owner.SendAsync(request).Within();

        Assert.Equal("VERSION_MISMATCH", late.Expect(412).Reason);
        Assert.Equal(System.Net.HttpStatusCode.OK, second.StatusCode);
        Assert.Empty(MessagesOf(await owner.ReadAsync($"{Path}?status=OPEN")));
        Assert.Equal(["m"], MessagesOf(await owner.ReadAsync($"{Path}?status=CLOSED")));
    }

    [Fact]
    public async Task Feedback_RepeatedByItsKey_IsKeptOnce()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var owner = hub.As(await hub.UserTokenAsync());

        var first = (await owner.WriteAsync(Path, new { message = "m", idempotencyKey = "k" })).Expect(201);
        var repeat = (await owner.WriteAsync(Path, new { message = "m" }, ("Idempotency-Key", "k"))).Expect(200);
        var other = await owner.WriteAsync(Path, new { message = "another", idempotencyKey = "k" });

        Assert.Equal(first.String("feedback.id"), repeat.String("feedback.id"));
        Assert.Equal("IDEMPOTENCY_KEY_REUSED", other.Expect(409).Reason);
    }

    [Fact]
    public async Task Feedback_IsInTheSnapshotAndTheTailOfAWatch()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var token = await hub.UserTokenAsync();
        using var owner = hub.As(token);
        await owner.WriteAsync(Path, new { message = "before" });
        using var watch = new WatchService.WatchServiceClient(hub.Channel).Watch(
            new WatchRequest { Kinds = { WatchKind.Feedback } }, HubHost.With(token));

        var before = await NextAsync(watch);
        await NextAsync(watch); // The end of the snapshot.
        await owner.WriteAsync(Path, new { message = "after" });
        var after = await NextAsync(watch);

        Assert.Equal(["before", "after"], new[] { before, after }.Select(shown => shown.Feedback.Message));
    }

    [Fact]
    public async Task Feedback_AboutAHostOfAnotherTeam_IsRefused()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (_, credential) = await hub.ClaimAsync("own");
        var (otherId, _) = await hub.ClaimAsync("other");
        using var node = hub.As(credential);

        var refused = await node.WriteAsync(Path, new { message = "m", hostId = otherId });

        Assert.Equal("HOST_NOT_FOUND", refused.Expect(404).Reason);
    }

    private static IEnumerable<string?> MessagesOf(RestAnswer page) =>
        page.Expect(200)["feedback"].EnumerateArray().Select(item => item.GetProperty("message").GetString());

    private static async Task<WatchResponse> NextAsync(AsyncServerStreamingCall<WatchResponse> watch)
    {
        Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None).Within());
        return watch.ResponseStream.Current;
    }
}

public sealed class SqliteFeedbackTests(SqliteStoreFixture fixture) : FeedbackTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresFeedbackTests(PostgresStoreFixture fixture) : FeedbackTests(fixture), IClassFixture<PostgresStoreFixture>;
