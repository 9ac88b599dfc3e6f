using System.Data.Common;
using System.Globalization;
using System.Net.Http.Headers;
using Hub.Hosting;
using Hub.Storage;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;

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

    public int ProcessId => _program!.ProcessId;

    public string Errors => _program?.Errors ?? "";

    /// <param name="directory">Its data folder.</param>
    /// <param name="options">Of a database made by a <see cref="StoreFixture"/>; SQLite uses the folder.</param>
    internal static Task<HubProcess> StartAsync(string directory, StoreOptions options) =>
        StartAsync(directory, options.Backend == StoreBackend.Sqlite ? null : options.ConnectionString, new Dictionary<string, string>());

    /// <param name="directory">Its data folder.</param>
    /// <param name="postgres">Connection string; null for a SQLite file in the folder.</param>
    /// <param name="settings">Further settings from its environment.</param>
    public static async Task<HubProcess> StartAsync(string directory, string? postgres, IReadOnlyDictionary<string, string> settings)
    {
        static string Url() => $"http://127.0.0.1:{ChildProgram.FreePort()}";

        var hub = new HubProcess(new Dictionary<string, string>(settings)
        {
            [HubSettings.HttpUrlKey] = Url(),
            [HubSettings.GrpcUrlKey] = Url(),
            [HubSettings.AdminUrlKey] = Url(),
            [HubSettings.DataDirectoryKey] = directory,
            [HubSettings.DataBackendKey] = postgres is null ? "sqlite" : "postgres",
            [HubSettings.DatabaseUrlKey] = postgres ?? "",
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

    /// <summary>A further team; the Hub starts with one.</summary>
    public async Task AddTeamAsync(string team)
    {
        await using var store = await Store.OpenAsync(
            Settings().Store with { Migrate = false }, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None);
        await store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute("insert into teams (team_id, name, created_at) values (@team, @team, @NowMs)", new { team, tx.NowMs }));
    }

    /// <summary>A connection beside the Hub's own, which sees what is committed.</summary>
    public DbConnection Connect()
    {
        var store = Settings().Store;
        DbConnection connection;
        if (store.Backend == StoreBackend.Sqlite)
        {
            SqliteLibrary.Load();
            connection = new SqliteConnection($"Data Source={store.SqlitePath};Pooling=False");
        }
        else
        {
            connection = new NpgsqlConnection(store.ConnectionString + ";Pooling=false;Command Timeout=0");
        }

        connection.Open();
        return connection;
    }

    /// <summary>A REST client with a bearer token; it outlives restarts.</summary>
    public HttpClient As(string token) => new()
    {
        BaseAddress = HttpUrl,
        DefaultRequestHeaders = { Authorization = new AuthenticationHeaderValue("Bearer", token) },
    };

    /// <summary>As `ulimit -f`, from now on: a write beyond it fails. Null lifts it.</summary>
    public Task LimitFilesAsync(long? bytes) => SystemTool.RunAsync(
        "prlimit", $"--pid={ProcessId}", $"--fsize={bytes?.ToString(CultureInfo.InvariantCulture) ?? "unlimited"}:unlimited");

    /// <summary>SIGTERM: it drains its links, and ends in its own time.</summary>
    public async Task StopAsync()
    {
        await SystemTool.RunAsync("kill", "-TERM", ProcessId.ToString(CultureInfo.InvariantCulture));
        await _program!.WaitForExitAsync();
    }

    public Task KillAsync() => _program!.KillAsync();

    private HubSettings Settings() => HubSettings.Read(
        new ConfigurationBuilder().AddInMemoryCollection(_environment.Select(pair => KeyValuePair.Create(pair.Key, (string?)pair.Value))).Build());

    public ValueTask DisposeAsync() => _program?.DisposeAsync() ?? ValueTask.CompletedTask;
}
