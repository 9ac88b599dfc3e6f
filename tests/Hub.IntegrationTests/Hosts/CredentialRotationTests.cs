using System.Net;
using System.Net.Http.Json;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosts;

/// <summary>Rotation inside the link.</summary>
public abstract class CredentialRotationTests(StoreFixture fixture)
{
    private static readonly TimeSpan Grace = TimeSpan.FromMinutes(10);

    [Fact]
    public async Task Rotate_ConfirmedByTheNode_EndsTheOldCredentialAfterItsGraceTime()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, old) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, old);
        await node.ReadAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var answer = await owner.PostAsJsonAsync($"/api/hosts/{hostId}/rotate-credential", new { });
        var issued = (await node.ReadUntilAsync(frame => frame.NewCredential is not null)).NewCredential;
        await node.SendAsync(new ConnectRequest { CredentialStored = new() { CredentialId = issued.CredentialId } });
        await node.SendAsync(RawNode.TaskBatch(1, ("after", "todo")));
        await node.ReadUntilAsync(frame => frame.Ack is not null);

        Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        Assert.Equal(HttpStatusCode.OK, await ReadSelfAsync(hub, hostId, old));
        Assert.Equal(HttpStatusCode.OK, await ReadSelfAsync(hub, hostId, issued.Token));
        time.Advance(Grace);
        Assert.Equal(HttpStatusCode.Unauthorized, await ReadSelfAsync(hub, hostId, old));
        Assert.Equal(HttpStatusCode.OK, await ReadSelfAsync(hub, hostId, issued.Token));
    }

    [Fact]
    public async Task Rotate_NeverConfirmed_KeepsTheOldCredentialAndEndsTheNewOne()
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, old) = await hub.ClaimAsync();
        await using var node = await RawNode.ConnectAsync(hub, old);
        await node.ReadAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        await owner.PostAsJsonAsync($"/api/hosts/{hostId}/rotate-credential", new { });
        var issued = (await node.ReadUntilAsync(frame => frame.NewCredential is not null)).NewCredential;
        time.Advance(Grace);

        Assert.Equal(HttpStatusCode.Unauthorized, await ReadSelfAsync(hub, hostId, issued.Token));
        Assert.Equal(HttpStatusCode.OK, await ReadSelfAsync(hub, hostId, old));
    }

    [Fact]
    public async Task Rotate_WithoutALink_IsRefusedWithWhatToDo()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, _) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());

        var answer = await owner.PostAsJsonAsync($"/api/hosts/{hostId}/rotate-credential", new { });

        Assert.Equal(HttpStatusCode.Conflict, answer.StatusCode);
        Assert.Contains("HOST_NOT_LINKED", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    private static async Task<HttpStatusCode> ReadSelfAsync(HubHost hub, string hostId, string credential)
    {
        using var client = hub.As(credential);
        return (await client.GetAsync($"/api/hosts/{hostId}")).StatusCode;
    }
}

public sealed class SqliteCredentialRotationTests(SqliteStoreFixture fixture) : CredentialRotationTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresCredentialRotationTests(PostgresStoreFixture fixture)
    : CredentialRotationTests(fixture), IClassFixture<PostgresStoreFixture>;
