using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Xunit.Sdk;

namespace Hub.GrpcRuntime.Tests;

/// <summary>The public interoperability cases in every direction; one run of a peer's client covers all of its cases.</summary>
public sealed class InteropCaseTests(InteropCaseTests.Peers peers) : IClassFixture<InteropCaseTests.Peers>
{
    /// <summary>Names the Python program; the Python directions run only where it is set (see run-python.sh).</summary>
    private const string PythonVariable = "GRPC_INTEROP_PYTHON";

    /// <summary>Names the folder of the Python code generated from testing.proto.</summary>
    private const string PythonProtosVariable = "GRPC_INTEROP_PYTHON_PROTOS";

    private const string PythonMissing = $"{PythonVariable} is not set; run tests/GrpcRuntime.Tests/interop/run-python.sh";

    public static TheoryData<string> Cases => InteropCases.Theory;

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task OursToOurs_Case_Passes(string name)
    {
        var server = await peers.OurServer;
        using var client = new InteropClient(server.Address, peerSeesFlags: true);

        await client.RunAsync(name);

        Assert.True(server.Log.Errors.Count == 0, string.Join('\n', server.Log.Errors));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task JavaScriptToOurs_Case_Passes(string name)
    {
        InteropCases.SkipIfNotApplicable(InteropDirection.JavaScriptToOurs, name);

        Assert.Equal("ok", (await peers.JavaScriptResults).GetProperty(name).GetString());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task OursToJavaScript_Case_Passes(string name)
    {
        InteropCases.SkipIfNotApplicable(InteropDirection.OursToJavaScript, name);
        using var client = new InteropClient((await peers.JavaScriptServer).Address, peerSeesFlags: false);

        await client.RunAsync(name);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task PythonToOurs_Case_Passes(string name)
    {
        InteropCases.SkipIfNotApplicable(InteropDirection.PythonToOurs, name);

        Assert.Equal("ok", (await peers.PythonResults).GetProperty(name).GetString());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public async Task OursToPython_Case_Passes(string name)
    {
        InteropCases.SkipIfNotApplicable(InteropDirection.OursToPython, name);
        using var client = new InteropClient((await peers.PythonServer).Address, peerSeesFlags: false);

        await client.RunAsync(name);
    }

    [Fact]
    public void Table_OfTheReadme_IsThatOfTheTests()
    {
        var readme = File.ReadAllText(Peers.PathOf("README.md"));
        foreach (var name in InteropCases.Names)
        {
            var row = $"| {name} | {string.Join(" | ", Enum.GetValues<InteropDirection>().Select(to => InteropCases.Cell(to, name)))} |";
            Assert.True(readme.Contains(row, StringComparison.Ordinal), $"README.md of the interop folder lacks: {row}");
        }
    }

    /// <summary>The servers and the runs of foreign clients, each started by the first test that needs it.</summary>
    public sealed class Peers : IAsyncLifetime
    {
        private readonly Lazy<Task<EchoServer>> _ourServer = new(() => EchoServer.StartAsync(
            options: options => options.ResponseCompressionAlgorithm = "gzip",
            services: services => services.AddSingleton<InteropService>(),
            map: app =>
            {
                InteropService.TapRequests(app);
                app.MapGrpcService<InteropService>();
            }));

        private readonly Lazy<Task<ServerProcess>> _javaScriptServer = new(
            () => NodeTools.StartNodeAsync(PathOf("interop-server.js"), PathOf("testing.proto")));

        private readonly Lazy<Task<ServerProcess>> _pythonServer = new(
            () => Programs.StartServerAsync(Python, [PathOf("interop_server.py"), PythonProtos], PythonMissing));

        private readonly Lazy<Task<JsonElement>> _javaScriptResults;
        private readonly Lazy<Task<JsonElement>> _pythonResults;

        public Peers()
        {
            _javaScriptResults = new(async () => Parse(await NodeTools.RunNodeAsync(
                PathOf("interop-client.js"), await OurAuthorityAsync(), PathOf("testing.proto"))));
            _pythonResults = new(async () => Parse(await Programs.RunAsync(
                Python, [PathOf("interop_client.py"), await OurAuthorityAsync(), PythonProtos], PythonMissing, TimeSpan.FromSeconds(60))));
        }

        internal Task<EchoServer> OurServer => _ourServer.Value;

        internal Task<ServerProcess> JavaScriptServer => _javaScriptServer.Value;

        internal Task<ServerProcess> PythonServer => _pythonServer.Value;

        internal Task<JsonElement> JavaScriptResults => _javaScriptResults.Value;

        internal Task<JsonElement> PythonResults => _pythonResults.Value;

        private static string Python =>
            Environment.GetEnvironmentVariable(PythonVariable) ?? throw SkipException.ForSkip(PythonMissing);

        private static string PythonProtos => Environment.GetEnvironmentVariable(PythonProtosVariable) ?? ".";

        public static string PathOf(string file) => Path.Combine(NodeTools.TestFolder, "interop", file);

        public ValueTask InitializeAsync() => ValueTask.CompletedTask;

        public async ValueTask DisposeAsync()
        {
            foreach (var server in (Lazy<Task<ServerProcess>>[])[_javaScriptServer, _pythonServer])
            {
                if (server is { IsValueCreated: true, Value.IsCompletedSuccessfully: true })
                {
                    await (await server.Value).DisposeAsync();
                }
            }

            if (_ourServer.IsValueCreated)
            {
                await (await _ourServer.Value).DisposeAsync();
            }
        }

        private static JsonElement Parse(string output)
        {
            using var json = JsonDocument.Parse(output);
            return json.RootElement.Clone();
        }

        private async Task<string> OurAuthorityAsync() => new Uri((await OurServer).Address).Authority;
    }
}
