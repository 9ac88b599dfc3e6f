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
}
