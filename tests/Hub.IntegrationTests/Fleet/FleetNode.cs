using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using Hub.TestKit;

namespace Hub.IntegrationTests.Fleet;

/// <summary>
/// A node as the reflectt-node contract has it (§2, §3b, §5): the same loops, what each status makes it do, what it sends again and what it
/// forgets. A round stands for five seconds.
/// </summary>
internal sealed class FleetNode : IDisposable
{
    private const string Agent = "main";
    private const int TasksMax = 12;
    private const int KeptMax = 8;
    private const int MessagesMax = 30;

    private readonly int _number;
    private readonly string _joinToken;
    private readonly Random _random;
    private readonly TimeProvider _time;
    private readonly ConcurrentQueue<string> _faults;
    private readonly HttpClient _client;

    private readonly HashSet<string> _dirtyTasks = [];
    private readonly HashSet<string> _unsentTrust = [];
    private readonly HashSet<string> _unsentChat = [];
    private string _credential = "";
    private int _count;
    private double _costUsd;
    private long _tokens;

    public FleetNode(int number, string joinToken, Func<Uri> hub, int seed, TimeProvider time, ConcurrentQueue<string> faults)
    {
        (_number, _joinToken, _random, _time, _faults) = (number, joinToken, new Random(seed), time, faults);
        Network = new FleetNetwork(hub, new Random(seed + 1));
        _client = new HttpClient(Network) { BaseAddress = new Uri("http://hub/") };
    }

    public FleetNetwork Network { get; }

    public string HostId { get; private set; } = "";

    public FleetRecords Records { get; } = new();

    /// <summary>Ids of the messages it was handed, once each.</summary>
    public HashSet<string> Inbox { get; } = [];

    /// <summary>Commands it carried out at least once.</summary>
    public HashSet<string> Done { get; } = [];

    public int Claims { get; private set; }

    public int Calls { get; private set; }

    public double CostUsd => _costUsd;

    /// <summary>What its memory held is gone: the credential, and which rows the Hub knows.</summary>
    public void Restart()
    {
        _credential = "";
        _dirtyTasks.UnionWith(Records[FleetRecords.Tasks].Select(FleetRecords.Tasks.IdOf));
        _unsentTrust.UnionWith(Records[FleetRecords.TrustEvents].Select(FleetRecords.TrustEvents.IdOf));
    }

    /// <summary>Changes something and runs the loops that are due.</summary>
    public async Task RoundAsync(int round)
    {
        Work();
        await LoopsAsync(every => (round + _number) % every == 0);
    }

    /// <summary>Runs all loops; nothing changes any more.</summary>
    public Task SettleAsync() => LoopsAsync(_ => true);

    public void Dispose() => _client.Dispose();

    private async Task LoopsAsync(Func<int, bool> isDue)
    {
        if (_credential.Length == 0 && !await ClaimAsync())
        {
            return;
        }

        await ChatAsync();
        await PostAsync("canvas", new JsonObject { ["slots"] = new JsonArray(), ["agents"] = new JsonObject { [Agent] = new JsonObject { ["state"] = $"{_count}" } } });
        await SendAllAsync($"runs/{FleetRecords.RunId}/stream", FleetRecords.RunEvents, "events");
        if (isDue(2))
        {
            await SendAllAsync("run-approvals", FleetRecords.Approvals, "items");
            await GetAsync("agent-interface/decisions");
            await GetAsync("canvas/query/pending");
        }

        if (isDue(3))
        {
            await UsageAsync();
        }

        if (isDue(6))
        {
            await PostAsync("heartbeat", new JsonObject { ["contractVersion"] = "host-heartbeat.v1", ["status"] = "online", ["agents"] = new JsonArray() });
            await CommandsAsync();
            await SendAllAsync("runs/sync", FleetRecords.Runs, "runs");
        }

        if (isDue(12))
        {
            await SendDirtyAsync("tasks/sync", FleetRecords.Tasks, "tasks", _dirtyTasks);
            await SendDirtyAsync("trust-events/sync", FleetRecords.TrustEvents, "events", _unsentTrust);
            await SendAllAsync("reflections/sync", FleetRecords.Reflections, "reflections");
            await SendAllAsync("insights/sync", FleetRecords.Insights, "insights");
            await ContextAsync();
        }
    }

    private void Work()
    {
        _count++;
        var now = _time.GetUtcNow();
        var ms = now.ToUnixTimeMilliseconds();
        var task = $"task-{_random.Next(TasksMax)}";
        _dirtyTasks.Add(task);
        Records.Put(FleetRecords.Tasks, new()
        {
            ["id"] = task,
            ["title"] = $"title {_count}",
            ["status"] = _random.Next(2) == 0 ? "doing" : "done",
            ["assignee"] = Agent,
            ["priority"] = "P1",
            ["updatedAt"] = now.ToString("O"),
        });
        Records.Put(FleetRecords.Reflections, new()
        {
            ["id"] = $"ref-{_random.Next(KeptMax)}",
            ["pain"] = $"pain {_count}",
            ["confidence"] = _random.Next(20) / 2.0,
            ["severity"] = "high",
            ["author"] = Agent,
            ["updatedAt"] = ms,
        });
        Records.Put(FleetRecords.Insights, new()
        {
            ["id"] = $"ins-{_random.Next(KeptMax)}",
            ["title"] = $"insight {_count}",
            ["status"] = "candidate",
            ["score"] = _random.Next(40) / 4.0,
            ["priority"] = "P2",
            ["updatedAt"] = ms,
        });
        Records.Put(FleetRecords.Runs, new()
        {
            ["id"] = $"arun-{_random.Next(3)}",
            ["agentId"] = Agent,
            ["objective"] = "objective",
            ["status"] = $"state {_count}",
            ["costUsd"] = _count / 8.0,
            ["updatedAt"] = ms,
        });
        Records.Put(FleetRecords.Contexts, new() { ["agent"] = Agent, ["computedAt"] = ms });
        Records.Put(FleetRecords.Approvals, new()
        {
            ["eventId"] = $"ask-{_random.Next(3)}",
            ["agentId"] = Agent,
            ["title"] = $"title {_count}",
            ["urgency"] = "normal",
        });
        Records.Remove(FleetRecords.Approvals, $"ask-{_random.Next(3)}");
        if (_count <= MessagesMax)
        {
            _unsentTrust.Add($"trust-{_count}");
            _unsentChat.Add($"msg-{_number}-{_count}");
            Records.Put(FleetRecords.RunEvents, new()
            {
                ["id"] = $"aevt-{_count}",
                ["type"] = "tool_invoked",
                ["agentId"] = Agent,
                ["runId"] = FleetRecords.RunId,
                ["payload"] = new JsonObject { ["step"] = _count },
                ["createdAt"] = ms,
            });
            Records.Put(FleetRecords.TrustEvents, new()
            {
                ["id"] = $"trust-{_count}",
                ["agentId"] = Agent,
                ["type"] = "overclaim",
                ["severity"] = "warning",
                ["summary"] = $"summary {_count}",
                ["metadata"] = new JsonObject { ["x"] = null },
                ["emittedAt"] = ms,
            });
            Records.Put(FleetRecords.Chat, new()
            {
                ["id"] = $"msg-{_number}-{_count}",
                ["from"] = Agent,
                ["content"] = $"said {_count}",
                ["channel"] = "general",
                ["timestamp"] = ms,
            });
        }

        _costUsd += 0.125;
        _tokens += 100;
    }

    private async Task ChatAsync()
    {
        var sent = _unsentChat.ToArray();
        if (await PostAsync("chat/sync", new JsonObject { ["messages"] = ListOf(Records.Of(FleetRecords.Chat, sent)) }) is not { } answer)
        {
            return;
        }

        _unsentChat.ExceptWith(sent);
        Inbox.UnionWith(answer["pending"]!.AsArray().Select(message => message!["id"]!.GetValue<string>()));
    }

    private async Task UsageAsync()
    {
        var totals = new JsonObject { ["agent"] = Agent, ["total_cost_usd"] = _costUsd, ["total_input_tokens"] = _tokens };
        await PostAsync("usage/sync", new JsonObject { ["byAgent"] = new JsonArray(totals) });
    }

    private async Task ContextAsync()
    {
        foreach (var context in Records[FleetRecords.Contexts])
        {
            await PostAsync("context/sync", context.DeepClone().AsObject());
        }
    }

    private async Task CommandsAsync()
    {
        if (await GetAsync("commands?status=pending") is not { } polled)
        {
            return;
        }

        foreach (var command in polled["commands"]!.AsArray())
        {
            var id = command!["id"]!.GetValue<string>();
            await PostAsync($"commands/{id}/ack", new JsonObject { ["action"] = "ack" });
            await ContextAsync();
            Done.Add(id);
            await PostAsync($"commands/{id}/ack", new JsonObject { ["action"] = "complete", ["result"] = new JsonObject { ["agent"] = Agent } });
        }
    }

    private Task SendAllAsync(string route, FleetCollection collection, string field) =>
        Records[collection] is { Count: > 0 } records ? PostAsync(route, new JsonObject { [field] = ListOf(records) }) : Task.CompletedTask;

    private async Task SendDirtyAsync(string route, FleetCollection collection, string field, HashSet<string> dirty)
    {
        var sent = dirty.ToArray();
        if (sent.Length > 0 && await PostAsync(route, new JsonObject { [field] = ListOf(Records.Of(collection, sent)) }) is not null)
        {
            dirty.ExceptWith(sent);
        }
    }

    private Task<JsonNode?> GetAsync(string route) => CallAsync(HttpMethod.Get, route, null);

    private Task<JsonNode?> PostAsync(string route, JsonObject body) => CallAsync(HttpMethod.Post, route, body.ToJsonString());

    /// <summary>The answer of a success, else null. After 401 the node claims and repeats the call once on the old path.</summary>
    private async Task<JsonNode?> CallAsync(HttpMethod method, string route, string? body)
    {
        var path = $"/api/hosts/{HostId}/{route}";
        var (status, answer) = await SendAsync(method, path, body);
        if (status == 401 && await ClaimAsync())
        {
            (status, answer) = await SendAsync(method, path, body);
        }

        return status is >= 200 and < 300 ? answer : null;
    }

    private async Task<bool> ClaimAsync()
    {
        Claims++;
        var claim = new JsonObject { ["joinToken"] = _joinToken, ["name"] = $"node-{_number}" };
        var (status, answer) = await SendAsync(HttpMethod.Post, "/api/hosts/claim", claim.ToJsonString());
        if (status is not (>= 200 and < 300))
        {
            return false;
        }

        var hostId = answer!["host"]!["id"]!.GetValue<string>();
        if (HostId.Length > 0 && HostId != hostId)
        {
            _faults.Enqueue($"Node {_number} got another host id by claiming again.");
        }

        (HostId, _credential) = (hostId, answer["credential"]!["token"]!.GetValue<string>());
        return true;
    }

    private async Task<(int Status, JsonNode? Answer)> SendAsync(HttpMethod method, string path, string? body)
    {
        Calls++;
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", _credential.Length > 0 ? _credential : _joinToken);
        request.Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json");
        try
        {
            using var response = await _client.SendAsync(request).Within();
            var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync().Within());
            if ((int)response.StatusCode is >= 400 and not (401 or 500 or 503))
            {
                _faults.Enqueue($"{method} {path}: {(int)response.StatusCode} {answer}");
            }

            return ((int)response.StatusCode, answer);
        }
        catch (HttpRequestException)
        {
            return (0, null);
        }
    }

    private static JsonArray ListOf(IEnumerable<JsonObject> records) => new([.. records.Select(record => record.DeepClone())]);
}
