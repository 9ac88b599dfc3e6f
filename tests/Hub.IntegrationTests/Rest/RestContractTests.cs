using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json.Nodes;
using Hub.GrpcRuntime.Tests;
using Hub.TestKit;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Hub.IntegrationTests.Rest;

/// <summary>What the Hub's REST face promises in files: its description, its overlapping paths, clients made from it.</summary>
public sealed class RestContractTests(SqliteStoreFixture fixture) : IClassFixture<SqliteStoreFixture>
{
    private const string DocumentFile = "protos/openapi.json";
    private const string OverlapFile = "protos/overlaps.txt";

    [Fact]
    public async Task OpenApi_OfTheHub_IsTheCommittedFile()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());

        CommittedFile.AssertCurrent(DocumentFile, await hub.Rest.GetStringAsync("/openapi.json"));
    }

    [Fact]
    public async Task OpenApi_OfTheHub_DescribesEveryEndpointInTheWordsOfTheProtos()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());

        var document = JsonNode.Parse(await hub.Rest.GetStringAsync("/openapi.json"))!;

        var described = document["paths"]!.AsObject().SelectMany(path => path.Value!.AsObject(), (path, method) => $"{method.Key.ToUpperInvariant()} {path.Key}").Order();
        var served = Endpoints(hub).Select(endpoint => endpoint.Metadata.GetMetadata<RestEndpointMetadata>()).OfType<RestEndpointMetadata>()
            .Select(endpoint => endpoint.HttpRule).Select(rule => rule.PatternCase switch
            {
                Google.Api.HttpRule.PatternOneofCase.Get => $"GET {rule.Get}",
                Google.Api.HttpRule.PatternOneofCase.Put => $"PUT {rule.Put}",
                Google.Api.HttpRule.PatternOneofCase.Post => $"POST {rule.Post}",
                Google.Api.HttpRule.PatternOneofCase.Delete => $"DELETE {rule.Delete}",
                _ => $"PATCH {rule.Patch}",
            });
        var camel = served.Select(line => System.Text.RegularExpressions.Regex.Replace(line, "_([a-z])", match => match.Groups[1].Value.ToUpperInvariant())).Order();
        Assert.Equal(camel, described);
        var task = document["paths"]!["/api/hosts/{hostId}/tasks/{taskId}"]!["get"]!;
        Assert.Equal("GetTask shows one task", (string?)task["summary"]);
        Assert.Equal("The task.", (string?)task["parameters"]![1]!["description"]);
    }

    [Fact]
    public async Task OpenApi_OfTheHub_PassesAPublicLinter()
    {
        var cli = Path.Combine(await NodeTools.ModulesAsync(), "@redocly", "cli", "bin", "cli.js");

        // Its update check would leave the machine.
        var report = await NodeTools.RunNodeAsync(
            cli, "lint", Path.Combine(NodeTools.RepositoryRoot, DocumentFile), "--config", Path.Combine(NodeTools.RepositoryRoot, ".ci", "redocly.yaml"), "--format=json");

        Assert.Equal(0, (int)JsonNode.Parse(report[report.IndexOf('{', StringComparison.Ordinal)..])!["totals"]!["errors"]!);
    }

    [Fact]
    public async Task TypeScriptClient_MadeFromTheDescription_CompilesAndCallsTheHub()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync("typed");
        var modules = await NodeTools.ModulesAsync();
        using var folder = new TemporaryFolder();
        File.Copy(Path.Combine(AppContext.BaseDirectory, "Rest", "client.ts"), folder.File("client.ts"));
        await File.WriteAllTextAsync(folder.File("package.json"), """{"type":"module"}""");
        await File.WriteAllTextAsync(folder.File("tsconfig.json"), """
            {
              "compilerOptions": {
                "strict": true, "target": "es2022", "module": "node16", "moduleResolution": "node16", "lib": ["es2022", "dom"], "types": [], "outDir": "out"
              },
              "files": ["client.ts"]
            }
            """);
        Directory.CreateSymbolicLink(folder.File("node_modules"), modules);

        await NodeTools.RunNodeAsync(
            Path.Combine(modules, "openapi-typescript", "bin", "cli.js"), Path.Combine(NodeTools.RepositoryRoot, DocumentFile), "-o", folder.File("hub.d.ts"));
        await NodeTools.RunNodeAsync(Path.Combine(modules, "typescript", "bin", "tsc"), "-p", folder.Path);
        var output = await NodeTools.RunNodeAsync(folder.File("out/client.js"), hub.HttpUrl.ToString(), hostId, credential);

        Assert.Equal($"typed {hostId}\nsynced 1\nwrite the client todo\nnot modified\nTASK_NOT_FOUND\n", output);
    }

    [Fact]
    public async Task DocsPage_OfTheHub_LoadsNothingFromElsewhere()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());

        using var page = await hub.Rest.GetAsync("/docs");

        var html = await page.Content.ReadAsStringAsync();
        Assert.Equal("text/html", page.Content.Headers.ContentType?.MediaType);
        Assert.Contains("default-src 'self'", Assert.Single(page.Headers.GetValues("Content-Security-Policy")), StringComparison.Ordinal);
        foreach (var file in new[] { "/docs/page.js", "/docs/style.css", "/openapi.json" })
        {
            Assert.Contains(file, html + await hub.Rest.GetStringAsync("/docs/page.js"), StringComparison.Ordinal);
            Assert.DoesNotContain("http", await hub.Rest.GetStringAsync("/docs/style.css"), StringComparison.Ordinal);
            using var answer = await hub.Rest.GetAsync(file);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        }

        Assert.DoesNotContain("://", html, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Overlaps_OfAllEndpoints_AreTheCommittedList()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());

        CommittedFile.AssertCurrent(OverlapFile, Overlaps.Describe(Overlaps.Among(Endpoints(hub))));
    }

    [Fact]
    public async Task Overlaps_OfAllEndpoints_HaveTheWinnerThatTheListNames()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var matches = new MatchRecorder(hub.Service<DiagnosticListener>());

        foreach (var overlap in Overlaps.Among(Endpoints(hub)))
        {
            using var request = new HttpRequestMessage(new HttpMethod(overlap.Method), overlap.Path);
            using var response = await hub.Rest.SendAsync(request, HttpCompletionOption.ResponseHeadersRead).Within();

            // Endpoints are made anew whenever they are listed, so the name tells them apart.
            Assert.Equal(Overlaps.Name(overlap.Winner), Overlaps.Name(Assert.IsType<RouteEndpoint>(matches.Last)));
        }
    }

    [Fact]
    public async Task Task_AtAKnownVersion_IsNotSentAgain()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        (await node.PostAsJsonAsync($"/api/hosts/{hostId}/tasks/sync", new { tasks = new[] { new { id = "t1", title = "t", status = "todo", updatedAt = "2026-01-01T00:00:00Z" } } })).EnsureSuccessStatusCode();
        using var first = await node.GetAsync($"/api/hosts/{hostId}/tasks/t1");
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/api/hosts/{hostId}/tasks/t1") { Headers = { IfNoneMatch = { first.Headers.ETag! } } };

        using var second = await node.SendAsync(request);

        Assert.Equal(HttpStatusCode.NotModified, second.StatusCode);
    }

    private static IReadOnlyList<RouteEndpoint> Endpoints(HubHost hub) => [.. hub.Service<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()];

    /// <summary>Remembers which endpoint routing chose.</summary>
    private sealed class MatchRecorder : IObserver<KeyValuePair<string, object?>>, IDisposable
    {
        private const string Matched = "Microsoft.AspNetCore.Routing.EndpointMatched";

        private readonly IDisposable _subscription;

        public MatchRecorder(DiagnosticListener listener) => _subscription = listener.Subscribe(this, name => name == Matched);

        public Endpoint? Last { get; private set; }

        public void OnNext(KeyValuePair<string, object?> value)
        {
            if (value is { Key: Matched, Value: HttpContext http })
            {
                Last = http.GetEndpoint();
            }
        }

        public void OnCompleted()
        {
        }

        public void OnError(Exception error)
        {
        }

        public void Dispose() => _subscription.Dispose();
    }

    private sealed class TemporaryFolder : IDisposable
    {
        public string Path { get; } = Directory.CreateTempSubdirectory("hub-client-").FullName;

        public string File(string name) => System.IO.Path.Combine(Path, name);

        public void Dispose() => Directory.Delete(Path, recursive: true);
    }
}
