using System.Text.Json.Nodes;
using System.Threading.Channels;
using Hub.AgentClient;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.IntegrationTests.Faults;

/// <summary>A node of AgentClient on real sockets whose clock moves when the test says so.</summary>
internal sealed class TimedNode : IAsyncDisposable
{
    /// <summary>States not looked at yet; the oldest go first.</summary>
    private const int StatesMax = 1_000;

    private readonly Channel<LinkState> _states = Channel.CreateBounded<LinkState>(
        new BoundedChannelOptions(StatesMax) { FullMode = BoundedChannelFullMode.DropOldest });

    private LinkState _state = new(LinkPhase.Idle);
    private int _runs;

    private TimedNode(Uri hubUrl, string stateDirectory, string? credential, string? joinToken)
    {
        Link = new HubLink(new HubLinkOptions
        {
            HubUrl = hubUrl,
            StateDirectory = stateDirectory,
            Credential = credential,
            JoinToken = joinToken,
            TimeProvider = Time,
            RandomSeed = 1,
        });
        Link.StateChanged += state => _states.Writer.TryWrite(state);
    }

    public HubLink Link { get; }

    public ManualTimeProvider Time { get; } = new();

    /// <summary>Of attempts at commands of type "count".</summary>
    public int Runs => Volatile.Read(ref _runs);

    /// <summary>Starts a node and waits until its link is up.</summary>
    public static async Task<TimedNode> StartAsync(Uri hubUrl, string stateDirectory, string? credential = null, string? joinToken = null)
    {
        var node = new TimedNode(hubUrl, stateDirectory, credential, joinToken);
        node.Link.Handle("count", _ => Task.FromResult<JsonNode?>(Interlocked.Increment(ref node._runs)));
        await node.Link.StartAsync();
        await node.ComeBackAsync();
        return node;
    }

    public Task PublishAsync(string taskId, string status = "todo") =>
        Link.PublishTaskAsync(new HostTask { Id = taskId, Title = taskId, Status = status });

    public Task FlushAsync() => Link.FlushAsync().Within();

    /// <summary>The next wait between two dials.</summary>
    public Task<LinkState> WaitsAsync() => NextAsync(LinkPhase.Waiting).Within();

    /// <summary>Lets the present wait pass.</summary>
    public void PassWait()
    {
        var rest = _state.Until!.Value - Time.GetUtcNow();
        _state = new LinkState(LinkPhase.Connecting);
        Time.Advance(rest > TimeSpan.Zero ? rest : TimeSpan.Zero);
    }

    /// <summary>Lets every wait pass until the link is up.</summary>
    public Task ComeBackAsync() => NextOnlineAsync().Within();

    public async ValueTask DisposeAsync()
    {
        await Link.DisposeAsync();
        _states.Writer.Complete();
    }

    private async Task<LinkState> NextAsync(params LinkPhase[] phases)
    {
        do
        {
            _state = await _states.Reader.ReadAsync();
        }
        while (!phases.Contains(_state.Phase));

        return _state;
    }

    private async Task NextOnlineAsync()
    {
        while (_state.Phase is not LinkPhase.Online)
        {
            if (_state.Phase is LinkPhase.Waiting)
            {
                PassWait();
            }

            await NextAsync(LinkPhase.Waiting, LinkPhase.Online, LinkPhase.Stopped);
            Assert.NotEqual(LinkPhase.Stopped, _state.Phase);
        }
    }
}
