using System.Globalization;
using System.Net.Http.Headers;
using Hub.Hosting;
using Hub.Storage;

namespace Hub.TestKit.Faults;

/// <summary>`hub serve` as a process, on ports that stay the same when it is killed and started again.</summary>
public sealed class HubProcess : IAsyncDisposable
{
    private const string Assembly = "Hub.dll";

    private readonly Dictionary<string, string> _environment;
    private ChildProgram? _program;

    private HubProcess(Dictionary<string, string> environment) => _environment = environment;

    public Uri HttpUrl => new(_environment[HubSettings.HttpUrlKey]);

    public Uri GrpcUrl => new(_environment[HubSettings.GrpcUrlKey]);

    public Uri AdminUrl => new(_environment[HubSettings.AdminUrlKey]);

    public string Errors => _program?.Errors ?? "";

    /// <param name="directory">Its data folder.</param>
    /// <param name="options">Of a database made by a <see cref="StoreFixture"/>; SQLite uses the folder.</param>
    internal static async Task<HubProcess> StartAsync(string directory, StoreOptions options)
    {
        static string Url() => $"http://127.0.0.1:{ChildProgram.FreePort()}";

        var hub = new HubProcess(new Dictionary<string, string>
        {
            [HubSettings.HttpUrlKey] = Url(),
            [HubSettings.GrpcUrlKey] = Url(),
            [HubSettings.AdminUrlKey] = Url(),
            [HubSettings.DataDirectoryKey] = directory,
            [HubSettings.DataBackendKey] = options.Backend == StoreBackend.Sqlite ? "sqlite" : "postgres",
            [HubSettings.DatabaseUrlKey] = options.ConnectionString,
        });
        await hub.StartAsync();
        return hub;
    }

    /// <summary>Starts it (again) and returns once it serves.</summary>
    public async Task StartAsync()
    {
        _program = ChildProgram.Start(Assembly, ["serve"], _environment);
        if (await _program.ReadUntilAsync("Hub serves") is null)
        {
            throw new InvalidOperationException($"The Hub did not start: {_program.Errors}");
        }
    }

    /// <summary>What `hub token …` prints.</summary>
    public async Task<string> TokenAsync(params string[] arguments)
    {
        await using var token = ChildProgram.Start(Assembly, ["token", .. arguments], _environment);
        return await token.ReadUntilAsync("") ?? throw new InvalidOperationException($"No token: {token.Errors}");
    }

    /// <summary>A REST client with a bearer token; it outlives restarts.</summary>
    public HttpClient As(string token) => new()
    {
        BaseAddress = HttpUrl,
        DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
    };

    /// <summary>As `ulimit -f`, from now on: a write beyond it fails. Null lifts it.</summary>
    public Task LimitFilesAsync(long? bytes) => SystemTool.RunAsync(
        "prlimit", $"--pid={_program!.ProcessId}", $"--fsize={bytes?.ToString(CultureInfo.InvariantCulture) ?? "unlimited"}:unlimited");

    public Task KillAsync() => _program!.KillAsync();

    public ValueTask DisposeAsync() => _program?.DisposeAsync() ?? ValueTask.CompletedTask;
}
