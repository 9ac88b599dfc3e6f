using System.CommandLine;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Net.Sockets;
using System.Text.Json;
using Hub.Audit;
using Hub.Hosting;
using Hub.Hosts;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Cli;

/// <summary>
/// `hub demo`: a Hub and a node as two processes, the promises shown one by one from outside: over REST, over server-sent events, and from the
/// node's own file of side effects.
/// </summary>
internal sealed class DemoCommand : IAsyncDisposable
{
    private const string User = "you@example.com";

    /// <summary>A step that takes longer has failed.</summary>
    private static readonly TimeSpan StepWithin = TimeSpan.FromSeconds(30);

    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(100);

    private readonly string _directory = Directory.CreateTempSubdirectory("hub-demo-").FullName;
    private readonly TimeProvider _time = TimeProvider.System;
    private readonly List<bool> _held = [];
    private HubApplication? _hub;
    private DemoNode? _node;
    private HttpClient? _rest;

    private string SideEffects => Path.Combine(_directory, "side-effects.txt");

    public static Command Create()
    {
        var exit = new Option<bool>("--exit") { Description = "End after the last step; exit code 0 only if every step held." };
        var command = new Command("demo", "Shows what the Hub promises, with a Hub and a node of its own in a temporary folder, then keeps serving.") { exit };
        command.SetAction(async (parsed, cancellation) =>
        {
            await using var demo = new DemoCommand();
            return await demo.RunAsync(parsed.GetValue(exit), cancellation);
        });
        return command;
    }

    public async ValueTask DisposeAsync()
    {
        if (_node is not null)
        {
            await _node.DisposeAsync();
        }

        _rest?.Dispose();
        if (_hub is not null)
        {
            await _hub.StopAsync(CancellationToken.None);
            await _hub.DisposeAsync();
        }

        Directory.Delete(_directory, recursive: true);
    }

    private async Task<int> RunAsync(bool exit, CancellationToken cancellation)
    {
        var token = await StartHubAsync(cancellation);
        var rest = _rest!;
        var hostId = await StartNodeAsync(cancellation);
        await using var tail = await DemoTail.OpenAsync(rest, cancellation);
        await ShowDeltaAsync(rest, tail, hostId, cancellation);
        await ShowCommandAsync(rest, hostId, cancellation);
        await ShowKillAsync(rest, hostId, cancellation);

        var failed = _held.Count(held => !held);
        Console.WriteLine(failed == 0 ? $"\nAll {_held.Count} steps held." : $"\n{failed} of {_held.Count} steps did not hold.");
        if (exit)
        {
            return failed == 0 ? 0 : 1;
        }

        Console.WriteLine($"""

            The Hub and its node keep running; Ctrl+C ends them. Look around from another terminal:
              export TOKEN={token}
              curl -s -H "authorization: Bearer $TOKEN" {_hub!.HttpUrl}api/hosts
              curl -s -H "authorization: Bearer $TOKEN" {_hub.HttpUrl}api/hosts/{hostId}/tasks
              curl -sN -H "authorization: Bearer $TOKEN" -H "accept: text/event-stream" {_hub.HttpUrl}api/watch
              curl -s -H "authorization: Bearer $TOKEN" -H "content-type: application/json" \
                   -d '{"{"}"type":"echo","payload":{"{"}"text":"hi"{"}"}{"}"}' {_hub.HttpUrl}api/hosts/{hostId}/commands
            """);
        await _hub.WaitForShutdownAsync(cancellation);
        return failed == 0 ? 0 : 1;
    }

    private async Task<string> StartHubAsync(CancellationToken cancellation)
    {
        var settings = HubCommandLine.ReadSettings() with
        {
            DataDirectory = _directory,
            Store = new StoreOptions { SqlitePath = Path.Combine(_directory, "hub.db") },
        };
        if (!new[] { settings.HttpUrl, settings.GrpcUrl, settings.AdminUrl }.All(IsFree))
        {
            settings = settings with { HttpUrl = FreePort, GrpcUrl = FreePort, AdminUrl = FreePort };
        }

        var builder = WebApplication.CreateBuilder();
        builder.Logging.SetMinimumLevel(LogLevel.Warning);
        _hub = await HubApplication.BuildAsync(settings, builder, _time, cancellation);
        await _hub.Services.GetRequiredService<Accounts>().EnsureTeamAsync(Accounts.DefaultTeam, cancellation);
        await _hub.StartAsync(cancellation);
        var token = await _hub.Services.GetRequiredService<Accounts>().IssueUserTokenAsync(
            User, Accounts.DefaultTeam, TeamRole.Owner, UserTokens.LifetimeDefault, cancellation);
        _rest = new HttpClient
        {
            BaseAddress = _hub.HttpUrl,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
        };
        Step(true, $"The Hub serves REST on {_hub.HttpUrl} and gRPC on {_hub.GrpcUrl}, with an embedded SQLite file");
        return token;
    }

    private async Task<string> StartNodeAsync(CancellationToken cancellation)
    {
        var join = await _hub!.Services.GetRequiredService<Enrolment>().IssueJoinTokenAsync(
            Accounts.DefaultTeam, hostId: null, Actor.Operator, cancellation);
        _node = new DemoNode(_hub.GrpcUrl, join.Token, Path.Combine(_directory, "node"), SideEffects);
        _node.Start();
        var hosts = await UntilAsync(
            () => GetAsync("/api/hosts", cancellation),
            json => json.GetProperty("hosts").EnumerateArray().Any(host => host.TryGetProperty("link", out _)), cancellation);
        var host = hosts?.GetProperty("hosts")[0];
        Step(host is not null, $"A node runs as process {_node.ProcessId}, claimed a host with a join token and opened its link");
        return host?.GetProperty("id").GetString() ?? throw new InvalidOperationException("The node did not connect; see its messages above.");
    }

    private async Task ShowDeltaAsync(HttpClient rest, DemoTail tail, string hostId, CancellationToken cancellation)
    {
        await _node!.SayAsync("task demo-1 doing Show a delta", cancellation);
        var seen = await tail.WaitForAsync("TASK", "demo-1", StepWithin);
        Step(seen is not null, $"The node's task delta arrived over SSE{(seen is null ? "" : $" as event {seen}")}");
        var response = await rest.GetAsync(new Uri($"/api/hosts/{hostId}/tasks/demo-1", UriKind.Relative), cancellation);
        Step(response.IsSuccessStatusCode, $"… and reads over REST: {await response.Content.ReadAsStringAsync(cancellation)}");
    }

    private async Task ShowCommandAsync(HttpClient rest, string hostId, CancellationToken cancellation)
    {
        var body = new { type = "append", payload = new { text = "once" }, idempotencyKey = "demo-once" };
        var (first, firstId) = await CreateAsync(rest, hostId, body, cancellation);
        var (second, secondId) = await CreateAsync(rest, hostId, body, cancellation);
        Step(
            (first, second) == (201, 200) && firstId == secondId,
            $"A command sent twice with one idempotency key: HTTP {first}, then {second}, one command {firstId}");
        var done = await UntilDoneAsync(hostId, firstId, cancellation);
        var runs = SideEffectsOf(firstId);
        Step(done == "SUCCEEDED" && runs == 1, $"It {done}; the node's own file of side effects lists it {runs} time(s)");
    }

    private async Task ShowKillAsync(HttpClient rest, string hostId, CancellationToken cancellation)
    {
        await _node!.SayAsync("task demo-2 todo Written just before the kill", cancellation);
        _node.Kill();
        Step(true, "The node is killed with SIGKILL");
        var (_, waiting) = await CreateAsync(rest, hostId, new { type = "append", payload = new { }, idempotencyKey = "demo-while-away" }, cancellation);
        Step(waiting.Length > 0, $"A command for the absent node is stored and waits: {waiting}");
        _node.Start();
        var done = await UntilDoneAsync(hostId, waiting, cancellation);
        var runs = SideEffectsOf(waiting);
        Step(done == "SUCCEEDED" && runs == 1, $"Restarted as process {_node.ProcessId}, the node resumed and ran it {runs} time(s)");
        await _node.SayAsync("flush", cancellation);
        var tasks = await UntilAsync(
            () => GetAsync($"/api/hosts/{hostId}/tasks", cancellation), json => json.GetProperty("tasks").GetArrayLength() == 2, cancellation);
        Step(tasks is not null, "Nothing is lost: both tasks are there, also the one written in the moment of the kill");
        Step(SideEffectsTotal() == 2, $"In all the node ran {SideEffectsTotal()} side effects for 2 commands");
    }

    private static async Task<(int Status, string Id)> CreateAsync(HttpClient rest, string hostId, object body, CancellationToken cancellation)
    {
        var response = await rest.PostAsJsonAsync(new Uri($"/api/hosts/{hostId}/commands", UriKind.Relative), body, cancellation);
        var json = await response.Content.ReadFromJsonAsync<JsonElement>(cancellation);
        return ((int)response.StatusCode, json.TryGetProperty("command", out var command) ? command.GetProperty("id").GetString() ?? "" : "");
    }

    private async Task<string> UntilDoneAsync(string hostId, string commandId, CancellationToken cancellation)
    {
        var read = await UntilAsync(
            () => GetAsync($"/api/hosts/{hostId}/commands/{commandId}", cancellation),
            json => json.GetProperty("command").TryGetProperty("finishedAt", out _), cancellation);
        return read?.GetProperty("command").GetProperty("state").GetString() ?? "never ended";
    }

    private Task<JsonElement> GetAsync(string path, CancellationToken cancellation) =>
        _rest!.GetFromJsonAsync<JsonElement>(new Uri(path, UriKind.Relative), cancellation);

    private async Task<JsonElement?> UntilAsync(Func<Task<JsonElement>> read, Predicate<JsonElement> fits, CancellationToken cancellation)
    {
        var started = _time.GetTimestamp();
        while (_time.GetElapsedTime(started) < StepWithin)
        {
            var json = await read();
            if (fits(json))
            {
                return json;
            }

            await Task.Delay(Poll, _time, cancellation);
        }

        return null;
    }

    private int SideEffectsOf(string commandId) => SideEffectLines().Count(line => line.StartsWith(commandId, StringComparison.Ordinal));

    private int SideEffectsTotal() => SideEffectLines().Length;

    private string[] SideEffectLines() => File.Exists(SideEffects) ? File.ReadAllLines(SideEffects) : [];

    private void Step(bool held, string text)
    {
        _held.Add(held);
        Console.WriteLine($"{_held.Count,2}. {(held ? "ok    " : "FAILED")} {text}");
    }

    private static Uri FreePort => new("http://127.0.0.1:0");

    private static bool IsFree(Uri url)
    {
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            probe.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, url.Port));
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }

    /// <summary>The team's live tail, as a dashboard reads it.</summary>
    private sealed class DemoTail(HttpResponseMessage response, Stream body) : IAsyncDisposable
    {
        private readonly IAsyncEnumerator<SseItem<string>> _events = SseParser.Create(body).EnumerateAsync().GetAsyncEnumerator();

        public static async Task<DemoTail> OpenAsync(HttpClient rest, CancellationToken cancellation)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, new Uri("/api/watch?cursor=now", UriKind.Relative));
            request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
            var response = await rest.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
            response.EnsureSuccessStatusCode();
            return new DemoTail(response, await response.Content.ReadAsStreamAsync(cancellation));
        }

        /// <summary>The id of the event of a kind about a record, or null if it does not come in time.</summary>
        public async Task<string?> WaitForAsync(string kind, string entityId, TimeSpan within)
        {
            try
            {
                while (await _events.MoveNextAsync().AsTask().WaitAsync(within))
                {
                    var item = _events.Current;
                    if (item.EventType == kind && JsonDocument.Parse(item.Data).RootElement.GetProperty("entityId").GetString() == entityId)
                    {
                        return item.EventId;
                    }
                }
            }
            catch (TimeoutException)
            {
                // Told by the step that waits.
            }

            return null;
        }

        public async ValueTask DisposeAsync()
        {
            response.Dispose(); // Ends a read that still waits.
            await body.DisposeAsync();
        }
    }
}
