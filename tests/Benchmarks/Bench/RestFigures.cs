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
        Staying(Figure.Ours, async () =>
        {
            var scene = await Scene.StartAsync();
            var call = callOf(scene);
            return new Served(scene, floor: null, scene.Hub, call, call.Path);
        }),
        Staying(Figure.Floor, async () =>
        {
            var scene = await Scene.StartAsync();
            var floor = ChildProgram.Start("Hub.Benchmarks.dll", ["rest-floor", scene.File]);
            try
            {
                var port = (await floor.ReadPortsAsync())[0];
                var call = callOf(scene);
                return new Served(scene, floor, new Uri($"http://127.0.0.1:{port}"), call, call.FloorPath);
            }
            catch
            {
                await floor.DisposeAsync();
                await scene.DisposeAsync();
                throw;
            }
        }));

    /// <summary>Warmed up once and kept, so that its turns follow the other's within seconds: a machine's speed changes from minute to minute.</summary>
    private static Contender Staying(string name, Func<Task<Served>> startAsync)
    {
        Served? served = null;
        return new Contender(name, async seconds =>
        {
            if (served is null)
            {
                served = await startAsync();
                await served.LoadAsync(WarmUp);
            }

            return await served.LoadAsync(TimeSpan.FromSeconds(seconds));
        })
        {
            EndAsync = () => served is null ? ValueTask.CompletedTask : served.DisposeAsync(),
        };
    }

    /// <summary>A server and what is asked of it.</summary>
    private sealed class Served(Scene scene, ChildProgram? floor, Uri server, Call call, string path) : IAsyncDisposable
    {
        private readonly HttpClient _client = new()
        {
            BaseAddress = server,
            DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", call.Token) },
        };

        private readonly byte[]? _body = call.Body is null ? null : JsonSerializer.SerializeToUtf8Bytes(call.Body, SwarmPlan.Json);

        public async Task<double[]> LoadAsync(TimeSpan duration)
        {
            var latencies = new LatencyHistogram();
            var clock = Stopwatch.StartNew();
            await Task.WhenAll(Enumerable.Range(0, InFlight).Select(_ => Task.Run(async () =>
            {
                for (var sent = clock.Elapsed; sent < duration; sent = clock.Elapsed)
                {
                    using var request = new HttpRequestMessage(call.Method, path);
                    if (_body is not null)
                    {
                        request.Content = new ByteArrayContent(_body) { Headers = { ContentType = new MediaTypeHeaderValue("application/json") } };
                    }

                    using var response = await _client.SendAsync(request);
                    response.EnsureSuccessStatusCode();
                    await response.Content.CopyToAsync(Stream.Null);
                    latencies.Add(clock.Elapsed - sent);
                }
            })));
            return [latencies.Count / duration.TotalSeconds, latencies.Quantile(0.5).TotalMicroseconds, latencies.Quantile(0.99).TotalMicroseconds];
        }

        public async ValueTask DisposeAsync()
        {
            _client.Dispose();
            if (floor is not null)
            {
                await floor.DisposeAsync();
            }

            await scene.DisposeAsync();
        }
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
