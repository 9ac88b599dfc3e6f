using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Faults;

/// <summary>
/// One node per bad network, all at once, by the real clock: who notices what, when, and within which bound of stream-protocol §5. Hub and
/// node are programs seen from outside, so that they may be somebody's own.
/// </summary>
internal sealed class ProxyCommand : IAsyncDisposable
{
    /// <summary>For the clocks' ticks, the back-off after a reset, and a machine that is busy.</summary>
    private static readonly TimeSpan Slack = TimeSpan.FromSeconds(4);

    /// <summary>A node gives a silent path up after this long.</summary>
    private static readonly TimeSpan NodeSilence = TimeSpan.FromSeconds(35);

    /// <summary>Bound for a first link at 1 KB/s or with 2 s latency.</summary>
    private static readonly TimeSpan SlowLinkWithin = TimeSpan.FromSeconds(40);

    /// <summary>What has not come by then does not come.</summary>
    private static readonly TimeSpan GiveUpAfter = TimeSpan.FromMinutes(3);

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(100);

    private readonly ConcurrentQueue<string> _faults = new();
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-proxy-");
    private readonly TimeProvider _time = TimeProvider.System;
    private readonly ProxyOptions _options;
    private readonly Uri _grpc;
    private readonly HttpClient _people;

    private ProxyCommand(ProxyOptions options, Uri http, Uri grpc, string token)
    {
        (_options, _grpc) = (options, grpc);
        _people = new HttpClient { BaseAddress = http, DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) } };
    }

    /// <returns>0 if every bound was kept.</returns>
    public static async Task<int> RunAsync(ProxyOptions options)
    {
        Console.WriteLine(Machine.Describe());
        if (options is { Http: { } http, Grpc: { } grpc, Token: { } token })
        {
            await using var theirs = new ProxyCommand(options, http, grpc, token);
            return await theirs.AllAsync();
        }

        var data = Directory.CreateTempSubdirectory("hub-proxy-data-");
        try
        {
            await using var hub = await HubProcess.StartAsync(data.FullName, postgres: null, new Dictionary<string, string>());
            await using var ours = new ProxyCommand(
                options, hub.HttpUrl, hub.GrpcUrl, await hub.TokenAsync("user", "--email", "owner@example.com"));
            return await ours.AllAsync();
        }
        finally
        {
            data.Delete(recursive: true);
        }
    }

    public ValueTask DisposeAsync()
    {
        _people.Dispose();
        _directory.Delete(recursive: true);
        return ValueTask.CompletedTask;
    }

    private async Task<int> AllAsync()
    {
        Console.WriteLine($"{"network",-32} {"who",-5} {"notices",-24} {"after",9} {"bound",9}");
        await Task.WhenAll(
            RunAsync("Hub unheard: silent drop", scene => HubUnheardAsync(scene, PathFault.Drop)),
            RunAsync("Hub unheard: PINGs answered", scene => HubUnheardAsync(scene, PathFault.StallData)),
            RunAsync("node dead: silent drop", scene => NodeDeadAsync(scene, PathFault.Drop)),
            RunAsync("node dead: PINGs answered", scene => NodeDeadAsync(scene, PathFault.StallData)),
            RunAsync("reset in mid-frame, from node", scene => ResetAsync(scene, scene.Link.Up)),
            RunAsync("reset in mid-frame, from Hub", scene => ResetAsync(scene, scene.Link.Down)),
            RunAsync("1 KB/s", SlowAsync, path => path.BytesPerSecond = 1_024),
            RunAsync("2 s latency", SlowAsync, path => path.Latency = TimeSpan.FromSeconds(2)),
            RunAsync("address changes", AddressChangesAsync));
        foreach (var fault in _faults)
        {
            Console.WriteLine($"FAULT {fault}");
        }

        Console.WriteLine(_faults.IsEmpty ? "Every bound was kept." : $"{_faults.Count} faults.");
        return _faults.IsEmpty ? 0 : 1;
    }

    /// <summary>The node hears nothing more.</summary>
    private async Task HubUnheardAsync(Scene scene, PathFault fault)
    {
        var at = _time.GetTimestamp();
        scene.Link.Down.Fault = fault;
        await UntilAsync(scene, "node", "dials again", at, NodeSilence + Slack, () => Task.FromResult(scene.Proxy.Count > scene.Dialled));
        await OnlineAsync(scene);
        if (fault is PathFault.StallData)
        {
            Print(scene, "proxy", $"answered {scene.Link.Down.PingsAnswered} PINGs");
        }
    }

    /// <summary>The node is killed, and the path hides it: only the Hub's own clock can tell.</summary>
    private async Task NodeDeadAsync(Scene scene, PathFault fault)
    {
        scene.Link.Up.Fault = fault;
        var at = _time.GetTimestamp();
        await scene.Node.KillAsync();
        await UntilAsync(scene, "Hub", "SUSPECT", at, (1.5 * _options.Heartbeat) + Slack, async () => await StateAsync(scene) is "SUSPECT");
        await UntilAsync(scene, "Hub", "OFFLINE", at, (2.5 * _options.Heartbeat) + Slack, async () => await StateAsync(scene) is "OFFLINE");
        if (fault is PathFault.StallData)
        {
            Print(scene, "proxy", $"answered {scene.Link.Up.PingsAnswered} PINGs");
            Require(scene.Link.Up.PingsAnswered > 0, $"{scene.Name}: there was no PING to answer in place of the dead node");
        }
    }

    /// <summary>The next frame that carries data is cut; from then on both sides know.</summary>
    private async Task ResetAsync(Scene scene, FaultyPath path)
    {
        path.Fault = PathFault.ResetMidFrame;
        await scene.Link.Ended.WaitAsync(GiveUpAfter);
        await UntilAsync(scene, "node", "dials again", _time.GetTimestamp(), Slack, () => Task.FromResult(scene.Proxy.Count > scene.Dialled));
        await OnlineAsync(scene);
    }

    /// <summary>Nobody notices anything: the link holds for longer than either side's bound.</summary>
    private async Task SlowAsync(Scene scene)
    {
        Print(scene, "node", "linked", scene.LinkedAfter, SlowLinkWithin);
        var at = _time.GetTimestamp();
        var hold = (2.5 * _options.Heartbeat) + Slack;
        while (_time.GetElapsedTime(at) < hold)
        {
            await Task.Delay(Look, _time);
            if (await StateAsync(scene) is not "ONLINE" and var state)
            {
                _faults.Enqueue($"{scene.Name}: the host was {state} after {_time.GetElapsedTime(at).TotalSeconds:F0} s");
                return;
            }
        }

        Require(scene.Proxy.Count == scene.Dialled, $"{scene.Name}: the node dialled again");
        Print(scene, "Hub", $"ONLINE for {hold.TotalSeconds:F0} s");
    }

    /// <summary>The old path swallows everything; the node comes back from another address, and then the old path comes to life.</summary>
    private async Task AddressChangesAsync(Scene scene)
    {
        var at = _time.GetTimestamp();
        scene.Link.Fail(PathFault.Drop);
        if (_grpc.IsLoopback)
        {
            scene.Proxy.ComesFrom = IPAddress.Parse("127.0.0.2"); // To a Hub elsewhere the machine has one address, and the port changes.
        }

        await UntilAsync(scene, "node", "dials again", at, NodeSilence + Slack, () => Task.FromResult(scene.Proxy.Count > scene.Dialled));
        await OnlineAsync(scene);
        scene.Link.Fail(PathFault.None);
        await scene.Link.Ended.WaitAsync(GiveUpAfter);
        Require(await StateAsync(scene) is "ONLINE", $"{scene.Name}: the end of the old path took the host down");
    }

    /// <summary>The new link is there and the Hub says so.</summary>
    private async Task OnlineAsync(Scene scene)
    {
        var at = _time.GetTimestamp();
        await UntilAsync(scene, "Hub", "ONLINE", at, SlowLinkWithin, async () => await StateAsync(scene) is "ONLINE");
    }

    private async Task RunAsync(string network, Func<Scene, Task> play, Action<FaultyPath>? prepare = null)
    {
        try
        {
            await using var scene = await SetAsync(network, prepare);
            try
            {
                await play(scene);
            }
            finally
            {
                using var deleted = await _people.DeleteAsync(new Uri($"/api/hosts/{scene.HostId}", UriKind.Relative));
            }
        }
        catch (Exception e) when (e is TimeoutException or HttpRequestException or InvalidOperationException)
        {
            _faults.Enqueue($"{network}: {e.Message}");
        }
    }

    /// <summary>A host of its own, a proxy of its own, and a node that is linked through it.</summary>
    private async Task<Scene> SetAsync(string network, Action<FaultyPath>? prepare)
    {
        var registered = await PostAsync("/api/hosts/register-token", new { });
        var claimed = await PostAsync(
            "/api/hosts/claim", new { joinToken = registered.GetProperty("registerToken").GetProperty("joinToken").GetString(), name = network });
        var hostId = claimed.GetProperty("host").GetProperty("id").GetString()!;
        var proxy = FaultProxy.Start(_grpc);
        proxy.Accepted = connection =>
        {
            prepare?.Invoke(connection.Up);
            prepare?.Invoke(connection.Down);
        };
        var at = _time.GetTimestamp();
        var node = ChildProgram.StartCommand(
            ["sh", "-c", $"exec {_options.Node ?? OurNode}"],
            new Dictionary<string, string>
            {
                ["HUB_URL"] = proxy.Url.ToString().TrimEnd('/'),
                // A good credential counts as a join token for its own host.
                ["HUB_JOIN_TOKEN"] = claimed.GetProperty("credential").GetProperty("token").GetString()!,
                ["NODE_DIRECTORY"] = _directory.CreateSubdirectory(hostId).FullName,
            });
        var scene = new Scene(network, hostId, proxy, node);
        while (!await IsLinkedAsync(hostId))
        {
            if (_time.GetElapsedTime(at) > GiveUpAfter)
            {
                var errors = node.Errors;
                await scene.DisposeAsync();
                throw new TimeoutException($"the node did not get a link. {errors}");
            }

            await Task.Delay(Look, _time);
        }

        scene.LinkedAfter = _time.GetElapsedTime(at);
        scene.Dialled = proxy.Count;
        scene.Link = await proxy.ConnectionAsync(scene.Dialled - 1);
        return scene;
    }

    private static string OurNode =>
        $"dotnet \"{Path.Combine(AppContext.BaseDirectory, "Hub.AgentClient.dll")}\" run --state \"$NODE_DIRECTORY\"";

    private async Task UntilAsync(Scene scene, string who, string what, long since, TimeSpan bound, Func<Task<bool>> holds)
    {
        while (!await holds())
        {
            if (_time.GetElapsedTime(since) > GiveUpAfter)
            {
                throw new TimeoutException($"{who} never came to \"{what}\"");
            }

            await Task.Delay(Look, _time);
        }

        Print(scene, who, what, _time.GetElapsedTime(since), bound);
    }

    private void Print(Scene scene, string who, string what, TimeSpan after, TimeSpan bound)
    {
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture, $"{scene.Name,-32} {who,-5} {what,-24} {after.TotalSeconds,7:F1} s {bound.TotalSeconds,7:F1} s"));
        Require(after <= bound, $"{scene.Name}: {who} took longer than {bound.TotalSeconds:F1} s to come to \"{what}\"");
    }

    private static void Print(Scene scene, string who, string what) => Console.WriteLine($"{scene.Name,-32} {who,-5} {what}");

    private void Require(bool holds, string fault)
    {
        if (!holds)
        {
            _faults.Enqueue(fault);
        }
    }

    private async Task<string> StateAsync(Scene scene) => (await HostAsync(scene.HostId)).GetProperty("state").GetString()!;

    /// <summary>A host is ONLINE by its claim alone; its link is another reason.</summary>
    private async Task<bool> IsLinkedAsync(string hostId) => (await HostAsync(hostId)).GetProperty("stateReason").GetString() is "LINK";

    private async Task<JsonElement> HostAsync(string hostId) =>
        (await _people.GetFromJsonAsync<JsonElement>(new Uri($"/api/hosts/{hostId}", UriKind.Relative))).GetProperty("host");

    private async Task<JsonElement> PostAsync(string path, object body)
    {
        using var answer = await _people.PostAsJsonAsync(new Uri(path, UriKind.Relative), body);
        answer.EnsureSuccessStatusCode();
        return await answer.Content.ReadFromJsonAsync<JsonElement>();
    }

    private sealed class Scene(string name, string hostId, FaultProxy proxy, ChildProgram node) : IAsyncDisposable
    {
        public string Name => name;

        public string HostId => hostId;

        public FaultProxy Proxy => proxy;

        public ChildProgram Node => node;

        /// <summary>Connections until the node was linked, of which the last is the link's.</summary>
        public int Dialled { get; set; }

        public TimeSpan LinkedAfter { get; set; }

        /// <summary>The link's connection.</summary>
        public ProxiedConnection Link { get; set; } = null!;

        public async ValueTask DisposeAsync()
        {
            await node.DisposeAsync();
            await proxy.DisposeAsync();
        }
    }
}

/// <param name="Http">A Hub's REST address; null for a Hub of the command's own.</param>
/// <param name="Grpc">Its gRPC address, without TLS.</param>
/// <param name="Token">A token that may make and delete hosts there.</param>
/// <param name="Node">A node's command line for the shell; null for the runnable node of AgentClient.</param>
/// <param name="Heartbeat">The Hub's Hub:Links:HeartbeatInterval.</param>
internal sealed record ProxyOptions(Uri? Http, Uri? Grpc, string? Token, string? Node, TimeSpan Heartbeat);
