using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text.Json;
using Hub.AgentClient;
using Hub.Contracts.V1;
using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Faults;

/// <summary>
/// What a node's return costs on the wire: with its journal after three days, without its journal, and interrupted in the middle. Commands
/// run meanwhile, and their latency is shown beside that of a quiet link.
/// </summary>
internal sealed class ResyncCommand(KillScene scene, CountingProxy proxy, string store, ResyncOptions options)
{
    /// <summary>Framing may add so much to what has to travel.</summary>
    private const double WireFactor = 1.2;

    /// <summary>Bytes that a record may cost that did not change but lies in a range with one that did.</summary>
    private const int ListedBytes = 48;

    private const int RangeRecords = 200;

    private static readonly TimeSpan Absence = TimeSpan.FromHours(72);
    private static readonly TimeSpan Within = TimeSpan.FromMinutes(5);

    private readonly string _state = scene.FileNamed("state");
    private readonly HostTask[] _board = [.. Enumerable.Range(0, options.Records).Select(i => new HostTask
    {
        Id = $"task-{i:D6}", Title = $"Task {i} of the board, {new string('t', 120)}", Status = "todo", Assignee = "agent-1",
    })];

    public static async Task<int> RunAsync(ResyncOptions options)
    {
        Console.WriteLine(Machine.Describe());
        Console.WriteLine($"{options.Records} records, {options.Changed} of them changed each time, spread over all ranges");
        var held = true;
        foreach (var store in options.Stores)
        {
            await using var scene = await KillScene.StartAsync(store == "postgres", nodes: 0);
            await using var proxy = new CountingProxy(scene.Hub.GrpcUrl);
            held &= await new ResyncCommand(scene, proxy, store, options).PlayAsync();
        }

        return held ? 0 : 1;
    }

    private async Task<bool> PlayAsync()
    {
        await using (var node = await StartAsync(TimeSpan.Zero, joinToken: await scene.Hub.TokenAsync("join")))
        {
            await node.PublishTasksAsync(_board);
            await node.FlushAsync().Within(Within);
            Console.WriteLine($"{store,-8} first time: {proxy.Sent:N0} bytes sent for {Size(_board):N0} bytes of records");
            Console.WriteLine($"{store,-8} commands on the quiet link: {await CommandsAsync(node, elapsed => elapsed < TimeSpan.FromSeconds(5))}");
        }

        return await WithJournalAsync() & await WithoutJournalAsync(cutsMax: 0) & await WithoutJournalAsync(cutsMax: 3);
    }

    private async Task<bool> WithJournalAsync()
    {
        var before = proxy.Sent;
        var changed = Change(1, "changed");
        await using (var offline = await StartAsync(Absence, hub: new Uri("http://127.0.0.1:9")))
        {
            // More than once while there is no Hub: only the last state has to travel.
            foreach (var round in Enumerable.Range(0, 3))
            {
                await offline.PublishTasksAsync([.. changed.Select(task => new HostTask(task) { Status = $"round-{round}" })]);
            }

            await offline.PublishTasksAsync(changed);
        }

        await using var node = await StartAsync(Absence);
        await node.FlushAsync().Within(Within);
        return Print("journal intact after 72 h", proxy.Sent - before, changed, (long)(WireFactor * Size(changed)));
    }

    private async Task<bool> WithoutJournalAsync(int cutsMax)
    {
        foreach (var file in Directory.GetFiles(_state, "journal.db*"))
        {
            File.Delete(file);
        }

        var before = proxy.Sent;
        var status = $"lost-{cutsMax}";
        var changed = Change(2 + cutsMax, status);
        var listed = Math.Min(options.Records, changed.Length * RangeRecords);
        var bound = (long)(WireFactor * Size(changed)) + (ListedBytes * (long)listed);
        await using var node = await StartAsync(TimeSpan.Zero, hasSource: true);
        var isOver = false;
        var commands = CommandsAsync(node, _ => !Volatile.Read(ref isOver));
        var cuts = 0;
        while (await CountAsync(status) < changed.Length)
        {
            if (cuts < cutsMax && proxy.Sent - before > (cuts + 1) * bound / (cutsMax + 1))
            {
                cuts++;
                proxy.Cut();
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System);
        }

        Volatile.Write(ref isOver, true);
        Console.WriteLine($"{store,-8} commands meanwhile: {await commands}");
        // A cut costs the digests of everything once more and what was under way in the window.
        return Print($"journal lost, cut {cuts} times", proxy.Sent - before, changed, (long)(bound * (1 + (0.25 * cuts))));
    }

    /// <summary>Changes evenly spread records, others at each offset.</summary>
    private HostTask[] Change(int offset, string status)
    {
        var step = options.Records / options.Changed;
        for (var i = offset % step; i < _board.Length; i += step)
        {
            _board[i].Status = status;
        }

        return [.. _board.Where(task => task.Status == status)];
    }

    private async Task<HubLink> StartAsync(TimeSpan clockAhead, string? joinToken = null, Uri? hub = null, bool hasSource = false)
    {
        var link = new HubLink(new HubLinkOptions
        {
            HubUrl = hub ?? proxy.Url,
            JoinToken = joinToken,
            StateDirectory = _state,
            TimeProvider = new ShiftedTime(clockAhead),
            SnapshotSource = hasSource ? _ => _board.ToAsyncEnumerable() : null,
        });
        link.Handle("echo", context => Task.FromResult<System.Text.Json.Nodes.JsonNode?>(context.Payload.DeepClone()));
        await link.StartAsync();
        return link;
    }

    /// <summary>One command after the other, from its creation by REST until its result is to be seen by REST.</summary>
    private async Task<string> CommandsAsync(HubLink node, Func<TimeSpan, bool> goesOn)
    {
        var hostId = await HostIdAsync();
        var watch = Stopwatch.StartNew();
        var times = new List<double>();
        while (goesOn(watch.Elapsed) && !node.Completion.IsCompleted)
        {
            var started = watch.Elapsed;
            using var created = await scene.Owner.PostAsJsonAsync($"/api/hosts/{hostId}/commands", new { type = "echo", payload = new { n = times.Count } });
            if (created.IsSuccessStatusCode)
            {
                var id = (await created.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("command").GetProperty("id").GetString();
                while (!(await scene.Owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/commands/{id}")).GetProperty("command").TryGetProperty("finishedAt", out _))
                {
                    await Task.Delay(TimeSpan.FromMilliseconds(1), TimeProvider.System);
                }

                times.Add((watch.Elapsed - started).TotalMilliseconds);
            }
        }

        times.Sort();
        return times.Count == 0
            ? "none"
            : string.Create(CultureInfo.InvariantCulture, $"{times.Count}, p50 {times[times.Count / 2]:F1} ms, p99 {times[times.Count * 99 / 100]:F1} ms, max {times[^1]:F1} ms");
    }

    private async Task<string> HostIdAsync() =>
        (await scene.Owner.GetFromJsonAsync<JsonElement>("/api/hosts")).GetProperty("hosts")[0].GetProperty("id").GetString()!;

    private async Task<int> CountAsync(string status)
    {
        var (count, token) = (0, "");
        var hostId = await HostIdAsync();
        do
        {
            var page = await scene.Owner.GetFromJsonAsync<JsonElement>($"/api/hosts/{hostId}/tasks?status={status}&pageSize=1000&pageToken={Uri.EscapeDataString(token)}");
            count += page.GetProperty("tasks").GetArrayLength();
            token = page.TryGetProperty("nextPageToken", out var next) ? next.GetString()! : "";
        }
        while (token.Length > 0);

        return count;
    }

    private bool Print(string what, long sent, HostTask[] changed, long bound)
    {
        var isHeld = sent <= bound;
        Console.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{store,-8} {what}: {sent:N0} bytes sent for {Size(changed):N0} bytes of {changed.Length} changed records; at most {bound:N0}: {(isHeld ? "held" : "NOT HELD")}"));
        return isHeld;
    }

    // The last state of each as a delta: what has to travel however it is done.
    private static long Size(IEnumerable<HostTask> tasks) => tasks.Sum(task => (long)new Entry
    {
        Seq = 1_000_000,
        Delta = new Delta { RecordId = task.Id, Op = DeltaOp.Upsert, Collection = Collection.Tasks, Version = long.MaxValue / 1_000, Task = task },
    }.CalculateSize());

    /// <summary>The machine's time, some hours ahead.</summary>
    private sealed class ShiftedTime(TimeSpan ahead) : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + ahead;
    }
}

/// <param name="Records">Records of the node.</param>
/// <param name="Changed">Records changed before each return.</param>
/// <param name="Stores">"sqlite", "postgres".</param>
internal sealed record ResyncOptions(int Records, int Changed, string[] Stores);
