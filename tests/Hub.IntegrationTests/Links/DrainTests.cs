using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Links;

/// <summary>A Hub that is told to stop sends its nodes elsewhere, not all at once.</summary>
public sealed class DrainTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    private const int Links = 50;

    /// <summary>500 links come back per second.</summary>
    private static readonly TimeSpan Slot = TimeSpan.FromMilliseconds(2);

    [Fact]
    public async Task Stop_WithManyLinks_TellsEachADelayOfItsOwnEvenlySpread()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var nodes = new List<RawNode>();
        for (var i = 0; i < Links; i++)
        {
            var node = await RawNode.ConnectAsync(hub, (await hub.ClaimAsync($"node-{i}")).Credential);
            Assert.NotNull((await node.ReadAsync()).Welcome);
            nodes.Add(node);
        }

        var stopping = hub.StopAsync();
        var told = new List<TimeSpan>();
        foreach (var node in nodes)
        {
            var last = await node.ReadUntilEndAsync();
            told.Add(last.Single(frame => frame.Drain is not null).Drain.ReconnectAfter.ToTimeSpan());
            Assert.Equal(GoodbyeReason.Drain, last[^1].Goodbye.Reason);
            await node.DisposeAsync();
        }

        await stopping.Within();
        told.Sort();
        for (var i = 0; i < Links; i++)
        {
            Assert.InRange(told[i], Slot * i, Slot * (i + 1));
        }
    }

    [Fact]
    public async Task Stop_ANodeSaysHelloAfterTheOthersWereTold_IsSentAwayToo()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var late = (await hub.ClaimAsync("late")).Credential;
        await using var first = await RawNode.ConnectAsync(hub, (await hub.ClaimAsync("first")).Credential);
        Assert.NotNull((await first.ReadAsync()).Welcome);
        await using var dialled = RawNode.Dial(hub, late);
        await using var second = await RawNode.ConnectAsync(hub, (await hub.ClaimAsync("second")).Credential);
        Assert.NotNull((await second.ReadAsync()).Welcome); // On the same connection after the dial, which has arrived then.

        var stopping = hub.StopAsync();
        await first.ReadUntilEndAsync();
        await second.ReadUntilEndAsync();
        await dialled.HelloAsync();
        var frames = await dialled.ReadUntilEndAsync();

        Assert.Equal(GoodbyeReason.Drain, frames[^1].Goodbye.Reason);
        await stopping.Within();
    }
}
