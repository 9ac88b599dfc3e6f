using System.Net;
using Grpc.Net.Client;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Faults;

/// <summary>Bad networks between a node and its Hub, on real sockets. What they do does not depend on the store.</summary>
public sealed class NetworkTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>, IDisposable
{
    /// <summary>A node's bound for a silent Hub (stream-protocol.md §5).</summary>
    private static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(35);

    private readonly string _directory = Directory.CreateTempSubdirectory("hub-network-").FullName;

    [Theory]
    [InlineData(PathFault.Drop)]
    [InlineData(PathFault.StallData)]
    public async Task Node_ThatHearsNothing_DialsAgainAfter35SecondsAndLosesNothing(PathFault fault)
    {
        await using var scene = await StartAsync();
        var path = await scene.Proxy.ConnectionAsync(0);
        path.Down.Fault = fault;
        await scene.Node.PublishAsync("unanswered");
        await PingIfStalledAsync(path.Down);

        scene.Node.Time.Advance(SilenceMax);
        var given = await scene.Node.WaitsAsync();
        await scene.Node.ComeBackAsync();
        await scene.Node.FlushAsync();

        Assert.Equal("the Hub was silent", given.Reason);
        Assert.Equal(["unanswered todo"], await scene.TasksAsync());
    }

    [Theory]
    [InlineData(PathFault.Drop, false)]
    [InlineData(PathFault.Drop, true)]
    [InlineData(PathFault.StallData, false)]
    [InlineData(PathFault.StallData, true)]
    public async Task Host_WhoseNodeIsNotHeard_IsSuspectThenOfflineWhateverThePathAnswers(PathFault fault, bool dead)
    {
        var time = new ManualTimeProvider();
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await using var proxy = FaultProxy.Start(hub.GrpcUrl);
        using var channel = GrpcChannel.ForAddress(proxy.Url);
        await using var node = RawNode.Dial(channel, credential);
        await node.HelloAsync();
        Assert.NotNull((await node.ReadAsync()).Welcome);
        var path = (await proxy.ConnectionAsync(0)).Up;
        path.Fault = fault;
        if (dead)
        {
            channel.Dispose();
        }
        else
        {
            await node.SendAsync(RawNode.TaskBatch(1, ("held back", "todo")));
        }

        async Task<string> StateAfterAsync(double seconds)
        {
            await PingIfStalledAsync(path);
            time.Advance(TimeSpan.FromSeconds(seconds));
            await PingIfStalledAsync(path);
            await hub.SweepPresenceAsync();
            return (await owner.ReadAsync($"/api/hosts/{hostId}")).String("host.state");
        }

        Assert.Equal("ONLINE", await StateAfterAsync(37));
        Assert.Equal("SUSPECT", await StateAfterAsync(1));
        Assert.Equal("OFFLINE", await StateAfterAsync(25));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Connection_ResetInTheMiddleOfAFrame_IsReplacedAndEachRecordIsThereOnce(bool up)
    {
        await using var scene = await StartAsync();
        var path = await scene.Proxy.ConnectionAsync(0);
        (up ? path.Up : path.Down).Fault = PathFault.ResetMidFrame;

        await scene.Node.PublishAsync("cut");
        await scene.Node.WaitsAsync();
        await scene.Node.ComeBackAsync();
        await scene.Node.FlushAsync();

        Assert.Equal(["cut todo"], await scene.TasksAsync());
        await path.Ended.Within();
    }

    [Theory]
    [InlineData(1_024, 0)]
    [InlineData(0, 2)]
    public async Task Path_ThatIsSlow_CarriesALink(int bytesPerSecond, int latencySeconds)
    {
        await using var scene = await StartAsync(connection =>
        {
            foreach (var path in (FaultyPath[])[connection.Up, connection.Down])
            {
                (path.BytesPerSecond, path.Latency) = (bytesPerSecond, TimeSpan.FromSeconds(latencySeconds));
            }
        });

        await scene.Node.PublishAsync("slow");
        await scene.Node.FlushAsync();

        Assert.Equal(["slow todo"], await scene.TasksAsync());
        Assert.Equal(1, scene.Proxy.Count);
    }

    [Fact]
    public async Task Address_ThatChanges_TheNewLinkWinsAndWhatTheOldOneHeldCommitsNothing()
    {
        await using var scene = await StartAsync();
        var old = await scene.Proxy.ConnectionAsync(0);
        old.Fail(PathFault.Drop);
        await scene.Node.PublishAsync("moved", "todo");
        scene.Proxy.ComesFrom = IPAddress.Parse("127.0.0.2");

        scene.Node.Time.Advance(SilenceMax);
        await scene.Node.WaitsAsync();
        await scene.Node.ComeBackAsync();
        await scene.Node.PublishAsync("moved", "done");
        await scene.Node.FlushAsync();
        old.Fail(PathFault.None);
        await old.Ended.Within();

        Assert.Equal(["moved done"], await scene.TasksAsync());
        Assert.Equal("ONLINE", (await scene.Owner.ReadAsync($"/api/hosts/{scene.HostId}")).String("host.state"));
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    /// <summary>A path that only stalls the application carries PINGs: the silent side looks alive to the transport.</summary>
    private static Task PingIfStalledAsync(FaultyPath path) => path.Fault is PathFault.StallData ? path.PingAsync() : Task.CompletedTask;

    private async Task<Scene> StartAsync(Action<ProxiedConnection>? accepted = null)
    {
        var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        var proxy = FaultProxy.Start(hub.GrpcUrl);
        proxy.Accepted = accepted;
        return new Scene(hub, hostId, proxy, await TimedNode.StartAsync(proxy.Url, _directory, credential), hub.As(await hub.UserTokenAsync()));
    }

    private sealed record Scene(HubHost Hub, string HostId, FaultProxy Proxy, TimedNode Node, HttpClient Owner) : IAsyncDisposable
    {
        /// <summary>The host's tasks as the Hub has them, each with its status.</summary>
        public Task<string[]> TasksAsync() => Owner.TasksOfAsync(HostId);

        public async ValueTask DisposeAsync()
        {
            Owner.Dispose();
            await Node.DisposeAsync();
            await Proxy.DisposeAsync();
            await Hub.DisposeAsync();
        }
    }
}
