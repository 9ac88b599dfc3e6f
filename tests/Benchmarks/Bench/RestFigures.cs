using System.Diagnostics;
using System.Net.Http.Headers;
using System.Net.Http.Json;
using System.Text.Json;
using Hub.Benchmarks.Swarm;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Bench;

/// <summary>What dashboards and nodes without a link call most, over HTTP/1.1.</summary>
internal static class RestFigures
{
    private const int Hosts = 100;
    private const int Tasks = 50;
    private const int InFlight = 16;
    private const double Share = 0.8;

    /// <summary>Until the runtime has compiled both for good.</summary>
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(30);

    public static IEnumerable<Figure> All =>
    [
        Of("rest-hosts", $"a list of {Hosts} hosts", scene => new(HttpMethod.Get, "/api/hosts?pageSize=100", "/hosts", scene.ApiKey, null)),
        Of("rest-heartbeat", "a heartbeat", scene => new(
            HttpMethod.Post, $"/api/hosts/{scene.HostId}/heartbeat", "/heartbeat", scene.Credential,
            new { status = "online", agents = new[] { new { id = "agent", status = "working" } }, activeTasks = new[] { new { id = "task-1" } } })),
        Of("rest-tasks", $"a sync of {Tasks} tasks that are stored", scene => new(
            HttpMethod.Post, $"/api/hosts/{scene.HostId}/tasks/sync", "/tasks", scene.Credential,
            new { tasks = Enumerable.Range(0, Tasks).Select(i => new { id = $"task-{i}", title = "Load", status = "doing", description = new string('x', 100) }) })),
    ];

    private static Figure Of(string name, string what, Func<Scene, Call> callOf) => new(
        name,
        "Kestrel, the same statements, System.Text.Json with generated code",
        FormattableString.Invariant($"{what}: {Share}x the floor"),
        Figure.Rate,
        medians => medians[Figure.Ours][0] >= Share * medians[Figure.Floor][0],
        new Contender(Figure.Ours, async seconds =>
        {
            await using var scene = await Scene.StartAsync();
            return await LoadAsync(scene.Hub, callOf(scene), call => call.Path, seconds);
        }),
        new Contender(Figure.Floor, async seconds =>
        {
            await using var scene = await Scene.StartAsync();
            await using var floor = ChildProgram.Start("Hub.Benchmarks.dll", ["rest-floor", scene.File]);
            var port = (await floor.ReadPortsAsync())[0];
            return await LoadAsync(new Uri($"http://127.0.0.1:{port}"), callOf(scene), call => call.FloorPath, seconds);
        }));

    private static async Task<double[]> LoadAsync(Uri server, Call call, Func<Call, string> pathOf, double seconds)
    {
        using var client = new HttpClient
        {
            BaseAddress = server,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", call.Token) },
        };
        var body = call.Body is null ? null : JsonSerializer.SerializeToUtf8Bytes(call.Body, SwarmPlan.Json);
        var latencies = new LatencyHistogram();
        var (clock, until) = (Stopwatch.StartNew(), WarmUp + TimeSpan.FromSeconds(seconds));
        await Task.WhenAll(Enumerable.Range(0, InFlight).Select(_ => Task.Run(async () =>
        {
            for (var sent = clock.Elapsed; sent < until; sent = clock.Elapsed)
            {
                using var request = new HttpRequestMessage(call.Method, pathOf(call));
                if (body is not null)
                {
                    request.Content = new ByteArrayContent(body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
                }

                using var response = await client.SendAsync(request);
                response.EnsureSuccessStatusCode();
                await response.Content.CopyToAsync(Stream.Null);
                if (sent > WarmUp)
                {
                    latencies.Add(clock.Elapsed - sent);
                }
            }
        })));
        return [latencies.Count / seconds, latencies.Quantile(0.5).TotalMicroseconds, latencies.Quantile(0.99).TotalMicroseconds];
    }

    /// <param name="Body">Sent as JSON; null for none.</param>
    private sealed record Call(HttpMethod Method, string Path, string FloorPath, string Token, object? Body);

    /// <summary>A Hub with hosts, one of which has tasks.</summary>
    private sealed class Scene : IAsyncDisposable
    {
        private readonly SwarmScene _scene;

        private Scene(SwarmScene scene, string apiKey, string hostId, string credential)
        {
            _scene = scene;
            (ApiKey, HostId, Credential) = (apiKey, hostId, credential);
        }

        public Uri Hub => _scene.Hubs[0].HttpUrl;

        public string File => _scene.File;

        public string ApiKey { get; }

        public string HostId { get; }

        public string Credential { get; }

        public static async Task<Scene> StartAsync()
        {
            var scene = await SwarmScene.StartAsync("sqlite");
            var plan = await scene.PlanAsync();
            using var people = scene.Hubs[0].As(plan.ApiKey);
            var first = default(JsonElement);
            for (var host = 0; host < Hosts; host++)
            {
                using var enrolled = await people.PostAsJsonAsync("/api/hosts/enroll", new { name = $"host-{host:000}", idempotencyKey = $"host-{host}" });
                enrolled.EnsureSuccessStatusCode();
                first = host == 0 ? await enrolled.Content.ReadFromJsonAsync<JsonElement>() : first;
            }

            return new Scene(
                scene, plan.ApiKey, first.GetProperty("host").GetProperty("id").GetString()!, first.GetProperty("credential").GetProperty("token").GetString()!);
        }

        public ValueTask DisposeAsync() => _scene.DisposeAsync();
    }
}
