using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Hub.Runs;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Fleet;

/// <summary>
/// Nodes without links, a person, and a Hub, on a clock of the run's own, while faults of a script happen; then everything is compared.
/// </summary>
internal sealed class FleetRun : IAsyncDisposable
{
    /// <summary>Longer than any lease of what a lost answer held.</summary>
    private static readonly TimeSpan PastLeases = TimeSpan.FromSeconds(91);

    private static readonly TimeSpan RoundTime = TimeSpan.FromSeconds(5);

    /// <summary>Rounds after which the person signs in again; a token is good for an hour of the run's clock.</summary>
    private const int SignInEvery = 500;

    /// <summary>Messages to one node, and commands: they stay in the store, and a node that says nothing itself is not handed more than 99.</summary>
    private const int PerNodeMax = 50;

    private readonly StoreFixture _fixture;
    private readonly StoreOptions _options;
    private readonly ManualTimeProvider _time = new();
    private readonly Random _random;
    private readonly Action<string> _log;
    private readonly List<FleetNode> _nodes = [];
    private readonly Dictionary<FleetNode, HashSet<string>> _said = [];
    private readonly Dictionary<FleetNode, HashSet<string>> _asked = [];
    private HubHost _hub = null!;
    private HttpClient? _signedIn;
    private int _round;

    private FleetRun(StoreFixture fixture, StoreOptions options, int seed, Action<string> log) =>
        (_fixture, _options, _random, _log) = (fixture, options, new Random(seed), log);

    /// <summary>What must never happen.</summary>
    public ConcurrentQueue<string> Faults { get; } = new();

    public int Calls => _nodes.Sum(node => node.Calls);

    public int Hit => _nodes.Sum(node => node.Network.Hit);

    public int Claims => _nodes.Sum(node => node.Claims);

    private HttpClient Owner => _signedIn ?? throw new InvalidOperationException("Nobody signed in.");

    public static async Task<FleetRun> StartAsync(StoreFixture fixture, int nodes, int seed, Action<string> log)
    {
        var run = new FleetRun(fixture, await fixture.CreateDatabaseAsync(), seed, log);
        await run.StartHubAsync();
        for (var i = 0; i < nodes; i++)
        {
            var node = new FleetNode(i, await run._hub.JoinTokenAsync(), () => run._hub.HttpUrl, seed + (i * 10), run._time, run.Faults);
            run._nodes.Add(node);
            (run._said[node], run._asked[node]) = ([], []);
        }

        await run.RoundsAsync(1, faulty: false);
        return run;
    }

    /// <summary>Lets the nodes work; in a faulty round the script's next fault happens.</summary>
    public async Task RoundsAsync(int rounds, bool faulty)
    {
        for (var i = 0; i < rounds; i++)
        {
            _round++;
            var restart = faulty ? Strike() : Task.CompletedTask;
            await Task.WhenAll(_nodes.Select(node => node.RoundAsync(_round)));
            await restart;
            _nodes.ForEach(node => node.Network.Fault = FleetFault.None);
            if (_round % SignInEvery == 0)
            {
                await SignInAsync();
            }

            await SteerAsync();
            _time.Advance(RoundTime);
        }
    }

    /// <summary>Lets everything that was lost come again: no faults, and every lease runs out.</summary>
    public async Task SettleAsync()
    {
        for (var i = 0; i < 3; i++)
        {
            await Task.WhenAll(_nodes.Select(node => node.SettleAsync()));
            _time.Advance(PastLeases);
            await _hub.SweepCommandsAsync();
        }

        await Task.WhenAll(_nodes.Select(node => node.SettleAsync()));
        await _hub.Service<RunApprovals>().SweepAsync(CancellationToken.None).Within();
        await Task.WhenAll(_nodes.Select(node => node.SettleAsync())); // The Hub's own sweep may have been late.
    }

    /// <summary>Compares what the Hub shows of each node with what the node has.</summary>
    public async Task CompareAsync()
    {
        foreach (var node in _nodes)
        {
            foreach (var collection in FleetRecords.All)
            {
                var mine = collection.Lines(node.Records[collection]);
                var shown = (await ListAsync(node, collection.List, collection.Items)).Where(item => (string?)item["direction"] is not "TO_NODE");
                var hubs = collection.Lines(shown);
                if (FleetCollection.HashOf(mine) != FleetCollection.HashOf(hubs))
                {
                    Faults.Enqueue(
                        $"{node.HostId} {collection.Name}: only the node has [{string.Join("; ", mine.Except(hubs))}], only the Hub [{string.Join("; ", hubs.Except(mine))}]");
                }
            }

            await CompareStateAsync(node);
        }

        foreach (var collection in FleetRecords.All)
        {
            _log($"{collection.Name}: {FleetCollection.HashOf(_nodes.SelectMany(node => collection.Lines(node.Records[collection])))} on nodes and Hub");
        }
    }

    public async ValueTask DisposeAsync()
    {
        _nodes.ForEach(node => node.Dispose());
        _signedIn?.Dispose();
        await _hub.DisposeAsync();
    }

    /// <summary>What is no list of the node's own: messages to it, commands, usage, canvas.</summary>
    private async Task CompareStateAsync(FleetNode node)
    {
        var lost = _said[node].Except(node.Inbox).Where(id => node.Network.LostAnswers.Any(answer => answer.Contains(id, StringComparison.Ordinal))).ToArray();
        var unheard = _said[node].Except(node.Inbox).Except(lost).Count();
        var undone = _asked[node].Except(node.Done).Count();
        var open = (await ListAsync(node, "commands", "commands")).Count(command => (string?)command["state"] is "QUEUED" or "OFFERED");
        var spent = (await ListAsync(node, "usage/ledger", "lines")).Sum(line => line["costUsd"]!.GetValue<double>());
        if (unheard + undone + open > 0 || spent != node.CostUsd || node.Inbox.Count + lost.Length != _said[node].Count)
        {
            Faults.Enqueue(
                $"{node.HostId}: {unheard} messages not heard, {undone} commands not done, {open} open, {spent} spent instead of {node.CostUsd}, "
                + $"{node.Inbox.Count} messages heard of {_said[node].Count}");
        }
    }

    /// <summary>The next fault, of a kind and on nodes that the seed chooses; a restart of the Hub goes on while the nodes do.</summary>
    private Task Strike()
    {
        var victims = _nodes.Where(_ => _random.Next(2) == 0).ToArray();
        switch (_random.Next(8))
        {
            case 0:
                _log($"round {_round}: the Hub restarts");
                return RestartHubAsync();
            case 1:
                _log($"round {_round}: {victims.Length} nodes restart");
                Array.ForEach(victims, node => node.Restart());
                return Task.CompletedTask;
            case 2:
                return Hit(_nodes, FleetFault.Unauthorized);
            case 3:
                return Hit(victims, FleetFault.ErrorBefore);
            case 4:
                return Hit(victims, FleetFault.ErrorAfter);
            case 5:
                return Hit(victims, FleetFault.HalfOpen);
            case 6:
                return Hit(victims, FleetFault.Cut);
            default:
                return Task.CompletedTask;
        }

        Task Hit(IReadOnlyCollection<FleetNode> nodes, FleetFault fault)
        {
            _log($"round {_round}: {fault} on {nodes.Count} nodes");
            foreach (var node in nodes)
            {
                node.Network.Fault = fault;
            }

            return Task.CompletedTask;
        }
    }

    /// <summary>A person writes to a node and asks another for something.</summary>
    private async Task SteerAsync()
    {
        var (heard, asked) = (_nodes[_random.Next(_nodes.Count)], _nodes[_random.Next(_nodes.Count)]);
        if (_said[heard].Count < PerNodeMax)
        {
            var message = await Owner.WriteAsync($"/api/hosts/{heard.HostId}/chat", new { content = $"round {_round}" });
            _said[heard].Add(message.Expect(201).String("message.id"));
        }

        if (_asked[asked].Count < PerNodeMax)
        {
            var command = await Owner.WriteAsync(
                $"/api/hosts/{asked.HostId}/commands", new { type = "context_sync", payload = new { agent = "main" }, acceptWithin = "86400s" });
            _asked[asked].Add(command.Expect(201).String("command.id"));
        }
    }

    private async Task<IReadOnlyList<JsonNode>> ListAsync(FleetNode node, string path, string items)
    {
        var all = new List<JsonNode>();
        for (var token = ""; ;)
        {
            var page = (await Owner.ReadAsync($"/api/hosts/{node.HostId}/{path}?page_size=20&page_token={Uri.EscapeDataString(token)}")).Expect(200);
            all.AddRange(JsonNode.Parse(page.Text)![items]!.AsArray().Select(item => item!));
            token = page.String("nextPageToken");
            if (token.Length == 0)
            {
                return all;
            }
        }
    }

    private async Task StartHubAsync()
    {
        _hub = await HubHost.StartAsync(_fixture, _options, _time);
        await SignInAsync();
    }

    private async Task RestartHubAsync()
    {
        await _hub.DisposeAsync();
        await StartHubAsync();
    }

    private async Task SignInAsync()
    {
        _signedIn?.Dispose();
        _signedIn = _hub.As(await _hub.UserTokenAsync());
    }
}
