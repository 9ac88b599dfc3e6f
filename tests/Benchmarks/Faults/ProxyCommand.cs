using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Hub.AgentClient;
using Hub.Contracts.V1;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Faults;

/// <summary>
/// One node per bad network, all at once, by the real clock: when each side notices, and that afterwards nothing is missing. The bounds are
/// those of stream-protocol.md §5.
/// </summary>
internal sealed class ProxyCommand : IAsyncDisposable
{
    /// <summary>A node gives a silent path up after 35 s; the rest is its clock's tick and a machine that is busy.</summary>
    private static readonly TimeSpan NodeBound = TimeSpan.FromSeconds(37);

    /// <summary>2.5 intervals of 25 s, a heartbeat that was on its way, and the sweep.</summary>
    private static readonly TimeSpan HubBound = TimeSpan.FromSeconds(66);

    /// <summary>A reset shows at once; then a node waits up to two windows of its back-off.</summary>
    private static readonly TimeSpan ResetBound = TimeSpan.FromSeconds(6);

    private static readonly TimeSpan SlowBound = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan GiveUpAfter = TimeSpan.FromSeconds(120);

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-proxy-");
    private readonly TimeProvider _time = TimeProvider.System;
    private readonly ConcurrentQueue<string> _lines = new();
    private readonly HubProcess _hub;
    private readonly HttpClient _owner;
    private int _faults;

    private ProxyCommand(HubProcess hub, HttpClient owner) => (_hub, _owner) = (hub, owner);

    /// <returns>0 if every bound was kept and nothing is missing.</returns>
    public static async Task<int> RunAsync()
    {
        Console.WriteLine(Machine.Describe());
        var data = Directory.CreateTempSubdirectory("hub-proxy-data-");
        try
        {
            await using var hub = await HubProcess.StartSqliteAsync(data.FullName);
            await using var command = new ProxyCommand(hub, hub.As(await hub.TokenAsync("user", "--email", "owner@example.com")));
            return await command.AllAsync();
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    public ValueTask DisposeAsync()
    {
        _owner.Dispose();
        _directory.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private async Task<int> AllAsync()
    {
        await Task.WhenAll(
            SilentAsync("silent drop", PathFault.Drop),
            SilentAsync("stall, PINGs answered", PathFault.StallData),
            DeadAsync("dead node, silent drop", PathFault.Drop),
            DeadAsync("dead node, PINGs answered", PathFault.StallData),
            ResetAsync("reset in mid-frame, up", up: true),
            ResetAsync("reset in mid-frame, down", up: false),
            SlowAsync("1 KB/s", 1_024, TimeSpan.Zero),
            SlowAsync("2 s latency", 0, TimeSpan.FromSeconds(2)),
            MoveAsync("address changes"));
        Console.WriteLine($"{"network",-28} {"what",-28} {"after",9} {"bound",9}");
        foreach (var line in _lines.Order(StringComparer.Ordinal))
        {
            Console.WriteLine(line);
        }

        Console.WriteLine(_faults == 0 ? "Every bound was kept, nothing is missing." : $"{_faults} faults.");
        return _faults == 0 ? 0 : 1;
    }

    /// <summary>The node hears nothing: it dials again, and what it wrote meanwhile arrives.</summary>
    private async Task SilentAsync(string name, PathFault fault)
    {
        await using var scene = await SceneAsync(name);
        var path = await scene.Proxy.ConnectionAsync(0);
        var at = _time.GetTimestamp();
        path.Down.Fault = fault;
        await scene.Node.PublishTaskAsync(TaskOf(name));
        await UntilAsync(() => Task.FromResult(scene.Proxy.Count > 1));
        Note(name, "node dials again", at, NodeBound);
        await scene.Node.FlushAsync().Within();
        await CheckAsync(scene, name);
        Require(fault is PathFault.Drop || path.Down.PingsAnswered > 0, $"{name}: no PING came to be answered");
    }

    /// <summary>The node is gone and the path pretends otherwise: the Hub notices by the application's clock.</summary>
    private async Task DeadAsync(string name, PathFault fault)
    {
        await using var scene = await SceneAsync(name);
        var path = await scene.Proxy.ConnectionAsync(0);
        path.Up.Fault = fault;
        var at = _time.GetTimestamp();
        await scene.Node.DisposeAsync();
        await UntilAsync(async () => await StateAsync(scene.HostId) == "OFFLINE");
        Note(name, "host OFFLINE", at, HubBound);
        Require(fault is PathFault.Drop || path.Up.PingsAnswered > 0, $"{name}: no PING came to be answered");
    }

    private async Task ResetAsync(string name, bool up)
    {
        await using var scene = await SceneAsync(name);
        var path = await scene.Proxy.ConnectionAsync(0);
        (up ? path.Up : path.Down).Fault = PathFault.ResetMidFrame;
        var at = _time.GetTimestamp();
        await scene.Node.PublishTaskAsync(TaskOf(name));
        await UntilAsync(() => Task.FromResult(scene.Proxy.Count > 1));
        Note(name, "node dials again", at, ResetBound);
        await scene.Node.FlushAsync().Within();
        await CheckAsync(scene, name);
    }

    private async Task SlowAsync(string name, int bytesPerSecond, TimeSpan latency)
    {
        await using var scene = await SceneAsync(name, connection =>
        {
            (connection.Up.BytesPerSecond, connection.Down.BytesPerSecond) = (bytesPerSecond, bytesPerSecond);
            (connection.Up.Latency, connection.Down.Latency) = (latency, latency);
        });
        var at = _time.GetTimestamp();
        await scene.Node.PublishTaskAsync(TaskOf(name));
        await scene.Node.FlushAsync().Within();
        Note(name, "record acknowledged", at, SlowBound);
        await CheckAsync(scene, name);
        Require(scene.Proxy.Count == 1, $"{name}: {scene.Proxy.Count} connections");
    }

    private async Task MoveAsync(string name)
    {
        await using var scene = await SceneAsync(name);
        var old = await scene.Proxy.ConnectionAsync(0);
        var at = _time.GetTimestamp();
        old.Fail(PathFault.Drop);
        scene.Proxy.ComesFrom = IPAddress.Parse("127.0.0.2");
        await scene.Node.PublishTaskAsync(TaskOf(name));
        await UntilAsync(() => Task.FromResult(scene.Proxy.Count > 1));
        Note(name, "node dials again", at, NodeBound);
        await scene.Node.FlushAsync().Within();
        old.Fail(PathFault.None);
        await old.Ended.Within();
        await CheckAsync(scene, name);
    }

    private async Task<Scene> SceneAsync(string name, Action<ProxiedConnection>? accepted = null)
    {
        var proxy = FaultProxy.Start(_hub.GrpcUrl);
        proxy.Accepted = accepted;
        var node = new HubLink(new HubLinkOptions
        {
            HubUrl = proxy.Url,
            JoinToken = await _hub.TokenAsync("join"),
            Name = name,
            StateDirectory = Path.Combine(_directory.FullName, name.Replace(' ', '-')),
        });
        var online = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        node.StateChanged += state =>
        {
            if (state.Phase is LinkPhase.Online)
            {
                online.TrySetResult();
            }
        };
        await node.StartAsync();
        await online.Task.Within(GiveUpAfter);
        return new Scene(proxy, node, node.HostId!);
    }

    private async Task CheckAsync(Scene scene, string name)
    {
        var tasks = await _owner.GetFromJsonAsync<JsonElement>(new Uri($"/api/hosts/{scene.HostId}/tasks", UriKind.Relative));
        Require(tasks.GetProperty("tasks").GetArrayLength() == 1, $"{name}: not exactly one record");
        Require(await StateAsync(scene.HostId) == "ONLINE", $"{name}: the host is not ONLINE at the end");
    }

    private async Task<string> StateAsync(string hostId) =>
        (await _owner.GetFromJsonAsync<JsonElement>(new Uri($"/api/hosts/{hostId}", UriKind.Relative)))
            .GetProperty("host").GetProperty("state").GetString()!;

    private async Task UntilAsync(Func<Task<bool>> holds)
    {
        var started = _time.GetTimestamp();
        while (!await holds() && _time.GetElapsedTime(started) < GiveUpAfter)
        {
            await Task.Delay(Look, _time);
        }
    }

    private void Note(string name, string what, long since, TimeSpan bound)
    {
        var after = _time.GetElapsedTime(since);
        _lines.Enqueue(string.Create(
            CultureInfo.InvariantCulture, $"{name,-28} {what,-28} {after.TotalSeconds,7:F1} s {bound.TotalSeconds,7:F0} s"));
        Require(after <= bound, $"{name}: {what} took longer");
    }

    private void Require(bool holds, string fault)
    {
        if (!holds)
        {
            Interlocked.Increment(ref _faults);
            _lines.Enqueue($"FAULT {fault}");
        }
    }

    private static HostTask TaskOf(string name) => new() { Id = "task", Title = name, Status = "todo" };

    private sealed record Scene(FaultProxy Proxy, HubLink Node, string HostId) : IAsyncDisposable
    {
        public async ValueTask DisposeAsync()
        {
            await Proxy.DisposeAsync();
            await Node.DisposeAsync();
        }
    }
}
