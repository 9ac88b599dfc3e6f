using System.Collections.Concurrent;

namespace Hub.TestKit.Faults;

/// <summary>
/// Load on a real Hub process and real node processes while one after the other is killed with SIGKILL, the database server too, and an oracle outside all of
/// them that compares after every kill.
/// </summary>
public sealed class KillRun : IAsyncDisposable
{
    /// <summary>A node that found the Hub away several times dials again after up to 64 s, and then sends what it holds.</summary>
    private static readonly TimeSpan DrainWithin = TimeSpan.FromMinutes(3);

    private readonly KillScene _scene;
    private readonly HubReader _hub;
    private readonly KillLoad _load;
    private readonly KillOracle _oracle;
    private readonly Random _random;
    private string[] _hostIds = [];

    /// <param name="scene">What is killed.</param>
    /// <param name="seed">Of the choice of nodes and moments.</param>
    /// <param name="pace">Pause between two requests of one node or person.</param>
    public KillRun(KillScene scene, int seed, TimeSpan pace)
    {
        _scene = scene;
        _random = new Random(seed);
        _hub = new HubReader(scene.Owner, Faults);
        _load = new KillLoad(scene, _hub, seed, pace);
        _oracle = new KillOracle(scene, _hub, _load, Faults);
    }

    /// <summary>What broke a promise.</summary>
    public ConcurrentQueue<string> Faults { get; } = new();

    /// <summary>Commands whose creation was answered.</summary>
    public int Commands => _load.Commands.Count;

    /// <summary>Attempts the nodes started.</summary>
    public int Started => _scene.Nodes.Sum(node => node.SideEffects().Count);

    /// <summary>Starts the nodes and the load.</summary>
    public async Task StartAsync()
    {
        foreach (var node in _scene.Nodes)
        {
            node.Start();
        }

        var ids = new Dictionary<string, string>(StringComparer.Ordinal);
        await HubReader.UntilAsync(
            async () =>
            {
                ids = (await _hub.ListAsync("/api/hosts", "hosts"))
                    .Where(host => host.TryGetProperty("link", out _))
                    .ToDictionary(host => host.GetProperty("name").GetString()!, host => host.GetProperty("id").GetString()!);
                return _scene.Nodes.All(node => ids.ContainsKey(node.Name));
            },
            () => "The nodes do not connect.");
        _hostIds = [.. _scene.Nodes.Select(node => ids[node.Name])];
        _load.Start(_hostIds);
    }

    /// <summary>Lets about so many commands be created, kills, starts again, waits until commands are created again, and compares.</summary>
    public async Task<KillOutcome> KillOnceAsync(KillTarget target, int commandsBefore)
    {
        await MoveOnAsync(_random.Next(commandsBefore / 2, commandsBefore * 3 / 2));
        var time = TimeProvider.System;
        var killed = time.GetTimestamp();
        await _scene.KillAsync(target, _random.Next(_scene.Nodes.Count));
        await MoveOnAsync(1);
        var away = time.GetElapsedTime(killed);
        return new KillOutcome(away, await _oracle.CheckPromisesAsync(_hostIds));
    }

    /// <summary>Stops the load, lets everything drain and compares.</summary>
    public async Task CheckAsync()
    {
        await _load.StopAsync();
        foreach (var node in _scene.Nodes)
        {
            if (await node.SayAsync("flush", DrainWithin) is null)
            {
                Faults.Enqueue($"A node is gone: {node.Errors}");
            }
        }

        await _oracle.CheckEndAsync(_hostIds);
    }

    public ValueTask DisposeAsync() => _load.DisposeAsync();

    private Task MoveOnAsync(int commands)
    {
        var goal = Commands + commands;
        return HubReader.UntilAsync(
            () =>
            {
                _load.ThrowIfBroken();
                return Task.FromResult(Commands >= goal);
            },
            () => $"The load does not move on. {_hub.Refusal} {_scene.Hub.Errors}");
    }
}

/// <summary>One kill.</summary>
/// <param name="Away">From the kill until a command was created again.</param>
/// <param name="Compared">Acknowledgements and answers compared afterwards.</param>
public sealed record KillOutcome(TimeSpan Away, int Compared);
