using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Storage;
using Hub.TestKit;
using Microsoft.Extensions.Logging;

namespace Hub.IntegrationTests.Faults;

/// <summary>
/// A Hub with a linked node and an owner who gives commands. What is acknowledged to either is remembered, and can be looked for in the
/// database afterwards.
/// </summary>
internal sealed class OutageScene : IAsyncDisposable
{
    /// <summary>For what takes a few tries.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(1);

    private readonly StoreFixture _fixture;
    private readonly StoreOptions _options;
    private readonly HttpClient _owner;
    private readonly RawNode _node;
    private readonly string _hostId;
    private readonly string _credential;
    private readonly List<string> _ackedTasks = [];
    private readonly List<string> _ackedCommands = [];
    private readonly int _loggedBefore;
    private long _seq;
    private int _commands;

    private OutageScene(StoreFixture fixture, StoreOptions options, HubHost hub, HttpClient owner, string hostId, string credential, RawNode node)
    {
        (_fixture, _options, Hub, _owner, _hostId, _credential, _node) = (fixture, options, hub, owner, hostId, credential, node);
        Admin = hub.Admin();
        _loggedBefore = fixture.Logs.Entries.Count;
    }

    public HubHost Hub { get; }

    public HttpClient Admin { get; }

    public static async Task<OutageScene> SetAsync(StoreFixture fixture, StoreOptions options)
    {
        var hub = await HubHost.StartAsync(fixture, options);
        var (hostId, credential) = await hub.ClaimAsync();
        var node = await RawNode.ConnectAsync(hub, credential, change: hello => hello.CommandTypes.Add("echo"));
        await node.ReadUntilAsync(frame => frame.Welcome is not null);
        var scene = new OutageScene(fixture, options, hub, hub.As(await hub.UserTokenAsync()), hostId, credential, node);
        await scene.AssertWorksAsync();
        return scene;
    }

    /// <summary>Both ways in work, on the link that was opened first.</summary>
    public async Task AssertWorksAsync()
    {
        Assert.True(await SendTaskAsync());
        Assert.Equal(201, (await CommandAsync()).Status);
        Assert.Equal(200, (await Admin.ReadAsync("/ready")).Status);
    }

    /// <summary>The outage is over: both ways in work again without anybody's doing, and nothing acknowledged is missing.</summary>
    public async Task AssertRecoversAsync()
    {
        await UntilReadyAsync();
        await UntilTakenAsync();
        await AssertWorksAsync();
        AssertAcknowledgedIsStored();
    }

    /// <summary>Nothing is acknowledged, both ways in say why, and /ready names the fault; the process is well.</summary>
    public async Task<RestAnswer> AssertOutAsync(string fault, bool readsFail = true)
    {
        var acked = await SendTaskAsync();
        var refused = await CommandAsync();
        var ready = await Admin.ReadAsync("/ready");

        Assert.False(acked);
        AssertUnavailable(refused);
        Assert.Equal(fault, ready.Expect(503)["parts"][0].GetProperty("fault").GetString());
        Assert.NotNull(ready.Headers.RetryAfter);
        Assert.Equal("not_ready", ready.String("status"));
        using var health = await Admin.GetAsync(new Uri("/health", UriKind.Relative)).Within();
        Assert.True(health.IsSuccessStatusCode);
        if (readsFail)
        {
            await AssertNobodyIsRefusedAsync();
        }

        return ready;
    }

    /// <summary>As <see cref="AssertOutAsync"/>, again and again for so long.</summary>
    public async Task AssertOutForAsync(string fault, TimeSpan atLeast)
    {
        var began = TimeProvider.System.GetTimestamp();
        do
        {
            await AssertOutAsync(fault);
        }
        while (TimeProvider.System.GetElapsedTime(began) < atLeast);
    }

    /// <summary>
    /// Gives work until the Hub meets the fault: small commits may still fit, read pages be remembered, and a busy machine answer late first.
    /// </summary>
    public async Task<RestAnswer> UntilNotReadyAsync(string fault)
    {
        RestAnswer? ready = null;
        await UntilAsync(async () =>
        {
            await SendTaskAsync();
            await CommandAsync();
            ready = await Admin.ReadAsync("/ready");
            return ready.Status != 200 && ready["parts"][0].GetProperty("fault").GetString() == fault;
        });
        return ready!;
    }

    /// <summary>Each connection may have to fail once.</summary>
    public Task UntilTakenAsync() => UntilAsync(async () => await SendTaskAsync() && (await CommandAsync()).Status == 201);

    /// <summary>A credential that cannot be looked up is not an invalid one.</summary>
    private async Task AssertNobodyIsRefusedAsync()
    {
        using var node = Hub.As(_credential);
        AssertUnavailable(await node.ReadAsync($"/api/hosts/{_hostId}"));
        await using var dialling = await RawNode.ConnectAsync(Hub, _credential);
        Assert.Equal(StatusCode.Unavailable, (await Assert.ThrowsAsync<RpcException>(dialling.ReadAsync)).StatusCode);
    }

    /// <summary>Writes and asks until the Hub says that it is ready.</summary>
    public Task UntilReadyAsync() => UntilAsync(async () =>
    {
        await Hub.RenewReplicaAsync();
        return (await Admin.ReadAsync("/ready")).Status == 200;
    });

    private Task UntilAsync(Func<Task<bool>> isSo) =>
        Polling.UntilAsync(isSo, () => $"The store stays as it is: {Hub.Store.Condition.Outage}", Patience);

    /// <summary>The oracle: reads beside the Hub.</summary>
    public void AssertAcknowledgedIsStored()
    {
        using var connection = _fixture.Connect(_options);
        Assert.Empty(_ackedTasks.Except(Dapper.SqlMapper.Query<string>(connection, "select record_id from records")));
        Assert.Empty(_ackedCommands.Except(Dapper.SqlMapper.Query<string>(connection, "select command_id from commands")));
    }

    /// <summary>One line when it begins, one when it ends, and no more than one of each duty of the relay.</summary>
    public void AssertLogIsBrief()
    {
        var said = _fixture.Logs.Entries.Skip(_loggedBefore).Where(entry => entry.Level >= LogLevel.Warning).ToArray();
        Assert.InRange(said.Count(entry => entry.EventName == "StoreUnavailable"), 1, 2); // One fault may turn into another.
        Assert.True(said.Length <= 5, $"The log says: {string.Join(", ", said.Select(entry => entry.EventName))}");
    }

    /// <summary>Sends the next task of the node, or once more the one that was not acknowledged.</summary>
    private async Task<bool> SendTaskAsync()
    {
        var (seq, task) = (_seq + 1, $"task-{_seq + 1}");
        await _node.SendAsync(RawNode.TaskBatch(seq, (task, "todo")));
        var answer = await _node.ReadUntilAsync(frame => frame.Ack is { Lane: Lane.Data } || frame.Nack is { Lane: Lane.Data });
        if (answer.Ack is null)
        {
            return false;
        }

        _seq = answer.Ack.Seq;
        _ackedTasks.Add(task);
        return true;
    }

    private async Task<RestAnswer> CommandAsync()
    {
        var answer = await _owner.WriteAsync($"/api/hosts/{_hostId}/commands", new { type = "echo", idempotency_key = $"key-{_commands++}" });
        if (answer.Status < 300)
        {
            _ackedCommands.Add(answer.String("command.id"));
        }

        return answer;
    }

    private static void AssertUnavailable(RestAnswer answer)
    {
        Assert.Equal("STORE_UNAVAILABLE", answer.Expect(503).Reason);
        Assert.NotNull(answer.Headers.RetryAfter);
    }

    public async ValueTask DisposeAsync()
    {
        Admin.Dispose();
        _owner.Dispose();
        await _node.DisposeAsync();
        await Hub.DisposeAsync();
    }
}
