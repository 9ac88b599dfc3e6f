using System.Globalization;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;

namespace Hub.Benchmarks.Swarm;

/// <summary>
/// The swarm as a process: takes its plan from the first line of input, enrols hosts, holds their links, and reports what they count. Further
/// lines change a rate, such as <c>deltas 500</c>; the end of the input ends it.
/// </summary>
internal sealed class SwarmProgram : IDisposable
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(1);
    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan EnrolAgainAfter = TimeSpan.FromMilliseconds(500);

    /// <summary>Calls under way at once, of enrolment and of commands.</summary>
    private const int CallsMax = 32;

    /// <summary>Commands that the node which reads nothing leaves unread, and their size: more than fits the buffers on the way.</summary>
    private const int DeafCommands = 24;

    private const int DeafCommandBytes = 200_000;

    private readonly SwarmPlan _plan;
    private readonly TimeProvider _time = TimeProvider.System;
    private readonly SwarmTally _tally;
    private readonly SwarmPaths _paths;
    private readonly HttpClient _rest;
    private readonly SemaphoreSlim _calls = new(CallsMax);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Random _random;
    private readonly List<Task> _running = [];
    private volatile SwarmNode[] _nodes = [];
    private double _deltas;
    private double _commands;
    private long _created;

    private SwarmProgram(SwarmPlan plan)
    {
        _plan = plan;
        _paths = new SwarmPaths(plan);
        _tally = new SwarmTally(plan);
        _random = new Random(plan.Seed);
        _rest = new HttpClient { BaseAddress = plan.Rest, DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", plan.ApiKey) } };
        (_deltas, _commands) = (plan.DeltasPerSecond, plan.CommandsPerSecond);
    }

    public static async Task<int> RunAsync()
    {
        var plan = JsonSerializer.Deserialize<SwarmPlan>(await Console.In.ReadLineAsync() ?? "{}", SwarmPlan.Json)!;
        using var swarm = new SwarmProgram(plan);
        await swarm.RunUntilToldAsync();
        return 0;
    }

    public void Dispose()
    {
        _stopping.Dispose();
        _calls.Dispose();
        _rest.Dispose();
        _paths.Dispose();
    }

    private async Task RunUntilToldAsync()
    {
        var reporting = ReportAsync();
        var enrolling = EnrolAsync();
        Task[] pacing =
        [
            PaceAsync(() => (double)_nodes.Length / _plan.HeartbeatSeconds, (node, _) => node.Heartbeat()),
            PaceAsync(() => Volatile.Read(ref _deltas) / _plan.EntriesPerBatch, (node, dueAt) => node.PublishTasks(dueAt)),
            EachTickAsync(_ => _plan.BatchesOnTheWay - (_tally.DeltasOnTheWay / _plan.EntriesPerBatch), (node, _) => node.PublishTasks(_time.GetTimestamp())),
            PaceAsync(() => _plan.ChatsPerSecond, (node, dueAt) => node.Chat(dueAt)),
            PaceAsync(() => Volatile.Read(ref _commands), CreateCommand),
            PaceAsync(() => _plan.CutsPerSecond, (_, _) => _nodes[_random.Next(_nodes.Length)].Cut()),
        ];
        while (await Console.In.ReadLineAsync() is { } line)
        {
            var words = line.Split(' ');
            var rate = double.Parse(words[1], CultureInfo.InvariantCulture);
            Volatile.Write(ref words[0] == "deltas" ? ref _deltas : ref _commands, rate);
        }

        await _stopping.CancelAsync();
        await Task.WhenAll([reporting, enrolling, .. pacing]);
        await Task.WhenAll(_running);
        for (var i = 0; i < CallsMax; i++)
        {
            await _calls.WaitAsync();
        }
    }

    /// <summary>Enrols all hosts; each node dials as soon as it has its credential.</summary>
    private async Task EnrolAsync()
    {
        var enrolled = new List<SwarmNode>();
        try
        {
            foreach (var part in Enumerable.Range(0, _plan.Links).Chunk(CallsMax))
            {
                var nodes = await Task.WhenAll(part.Select(EnrolAsync));
                enrolled.AddRange(nodes);
                _running.AddRange(nodes.Select(node => Task.Run(() => node.RunAsync(FloodAsync, _stopping.Token))));
                _nodes = [.. enrolled];
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // Told to stop before all were there.
        }
    }

    private async Task<SwarmNode> EnrolAsync(int index)
    {
        while (true)
        {
            try
            {
                var name = $"swarm-{_plan.Seed}-{index}";
                using var response = await _rest.PostAsJsonAsync("/api/hosts/enroll", new { name, idempotencyKey = name }, _stopping.Token);
                if (response.IsSuccessStatusCode)
                {
                    var body = await response.Content.ReadFromJsonAsync<JsonElement>(_stopping.Token);
                    return new SwarmNode(
                        _plan,
                        index,
                        body.GetProperty("host").GetProperty("id").GetString()!,
                        body.GetProperty("credential").GetProperty("token").GetString()!,
                        _paths,
                        _tally,
                        _time);
                }
            }
            catch (HttpRequestException)
            {
                // The Hub is away for a moment.
            }

            await Task.Delay(EnrolAgainAfter, _time, _stopping.Token);
        }
    }

    /// <summary>Does something at a rate, whether or not the last is done: what waits is latency, never less load.</summary>
    private Task PaceAsync(Func<double> perSecond, Action<SwarmNode, long> act)
    {
        var owed = 0.0;
        return EachTickAsync(
            passed =>
            {
                owed += perSecond() * passed.TotalSeconds;
                var due = (long)owed;
                owed -= due;
                return due;
            },
            act);
    }

    /// <summary>Does something as often as is due after each tick, by each node in turn, and tells when that was due: evenly within the tick.</summary>
    private async Task EachTickAsync(Func<TimeSpan, long> countDue, Action<SwarmNode, long> act)
    {
        var next = 0L;
        using var timer = new PeriodicTimer(Tick, _time);
        var last = _time.GetTimestamp();
        try
        {
            while (await timer.WaitForNextTickAsync(_stopping.Token))
            {
                var now = _time.GetTimestamp();
                var due = countDue(_time.GetElapsedTime(last, now));
                for (var i = 0L; i < due && _nodes.Length > 0; i++)
                {
                    act(_nodes[next++ % _nodes.Length], _plan.CountsFromDone ? _time.GetTimestamp() : last + ((now - last) * (i + 1) / due));
                }

                last = now;
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The swarm ends.
        }
    }

    private void CreateCommand(SwarmNode node, long dueAt)
    {
        if (!_calls.Wait(0))
        {
            _tally.Held(1);
            return;
        }

        _ = CreateCommandAsync(node, dueAt, payloadBytes: 0); // Never faults; awaited by taking every permit.
    }

    private async Task CreateCommandAsync(SwarmNode node, long dueAt, int payloadBytes)
    {
        try
        {
            var body = new
            {
                type = "load",
                payload = new { text = new string('x', payloadBytes) },
                idempotencyKey = $"{SwarmNode.KeyPrefix}{dueAt}-{Interlocked.Increment(ref _created)}",
            };
            using var response = await _rest.PostAsJsonAsync($"/api/hosts/{node.HostId}/commands", body, _stopping.Token);
            _tally.CommandCreated(response.IsSuccessStatusCode);
            if (_plan.ReadsResults && response.IsSuccessStatusCode)
            {
                var created = await response.Content.ReadFromJsonAsync<JsonElement>(_stopping.Token);
                await ReadResultAsync(node.HostId, created.GetProperty("command").GetProperty("id").GetString()!, dueAt);
            }
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            _tally.CommandCreated(accepted: false);
        }
        finally
        {
            _calls.Release();
        }
    }

    private async Task ReadResultAsync(string hostId, string commandId, long createdAt)
    {
        await _tally.UntilDoneAsync(commandId, _stopping.Token);
        var read = await _rest.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/commands/{commandId}", _stopping.Token);
        if (read.GetProperty("command").GetProperty("state").GetString() != "SUCCEEDED")
        {
            _tally.Fault($"{commandId} was acknowledged as done and is read as {read}");
        }

        _tally.Results.Add(_time.GetElapsedTime(createdAt));
    }

    private async Task FloodAsync(SwarmNode node)
    {
        for (var i = 0; i < DeafCommands; i++)
        {
            await _calls.WaitAsync(_stopping.Token);
            await CreateCommandAsync(node, _time.GetTimestamp(), DeafCommandBytes);
        }
    }

    private async Task ReportAsync()
    {
        using var timer = new PeriodicTimer(ReportEvery, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stopping.Token))
            {
                Console.WriteLine(JsonSerializer.Serialize(_tally.Report(_nodes.Length), SwarmPlan.Json));
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The swarm ends.
        }
    }
}
