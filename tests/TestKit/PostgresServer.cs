using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Npgsql;

namespace Hub.TestKit;

/// <summary>
/// A private PostgreSQL on 127.0.0.1 from the installed binaries, thrown away at the end. Commits are not forced to disk (fsync=off) unless
/// that is asked for, but they are otherwise complete (synchronous_commit=on), so a killed server process loses nothing that was acknowledged.
/// </summary>
public sealed class PostgresServer : IAsyncDisposable
{
    private const string InstallHint = "PostgreSQL is not installed: apt-get install -y --no-install-recommends postgresql";

    // Another process may take the free port between our look and the server's bind.
    private const int StartAttemptsMax = 5;

    private static readonly Lazy<Task<PostgresServer>> Shared = new(StartSharedAsync);

    private readonly string _binaries;

    private readonly string _directory;

    // Whom the server runs as, which may not be root; null = as we are.
    private readonly string? _user;

    private readonly string _durability;

    private int _port;

    private int _databases;

    private PostgresServer(string binaries, string directory, string? user, bool forced)
    {
        _durability = forced ? "-c fsync=on" : "-c fsync=off -c full_page_writes=off";
        _binaries = binaries;
        _directory = directory;
        _user = user;
    }

    /// <summary>The one of this test process, started at first use and stopped at process end. Tests that stop a server start their own.</summary>
    public static Task<PostgresServer> SharedAsync() => Shared.Value;

    public string ConnectionString(string database) => $"Host=127.0.0.1;Port={_port};Username=hub;Database={database};Include Error Detail=true";

    /// <param name="forced">Commits are forced to disk.</param>
    public static async Task<PostgresServer> StartNewAsync(bool forced = false)
    {
        var binaries = Directory.Exists("/usr/lib/postgresql")
            ? Directory.GetDirectories("/usr/lib/postgresql")
                .OrderByDescending(d => int.TryParse(Path.GetFileName(d), CultureInfo.InvariantCulture, out var version) ? version : 0)
                .Select(d => Path.Combine(d, "bin"))
                .FirstOrDefault(d => File.Exists(Path.Combine(d, "initdb")))
            : null;
        if (binaries is null)
        {
            throw new InvalidOperationException(InstallHint);
        }
        var directory = Directory.CreateTempSubdirectory("hub-postgres-").FullName;
        string? user = null;
        if (Environment.UserName == "root")
        {
            user = await SystemTool.TryRunAsync("id", ["-u", "postgres"]) ? "postgres" : "nobody";
            await SystemTool.RunAsync("chown", [user, directory]);
        }
        var server = new PostgresServer(binaries, directory, user, forced);
        await server.RunToolAsync(
            "initdb", "-D", server.Data, "-U", "hub", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions");
        for (var attempt = 1; ; attempt++)
        {
            server._port = FreePort();
            try
            {
                await server.StartAsync();
                return server;
            }
            catch (InvalidOperationException) when (attempt < StartAttemptsMax)
            {
            }
        }
    }

    /// <summary>A new empty database; returns its connection string.</summary>
    /// <param name="template">What the new database is a copy of; nobody may be connected to it.</param>
    public async Task<string> CreateDatabaseAsync(string template = "template0")
    {
        var name = $"hub_{Interlocked.Increment(ref _databases)}";
        await using var connection = new NpgsqlConnection(ConnectionString("postgres"));
        await connection.OpenAsync();
        await using var create = new NpgsqlCommand($"create database {name} template {template} strategy file_copy", connection);
        await create.ExecuteNonQueryAsync();
        return ConnectionString(name);
    }

    /// <summary>Starts again on the same port, after <see cref="KillAsync"/> or <see cref="StopAsync"/>.</summary>
    public Task StartAsync() => RunToolAsync(
        "pg_ctl", "-D", Data, "-l", Path.Combine(_directory, "server.log"), "-w", "-t", "30", "start", "-o",
        $"-c listen_addresses=127.0.0.1 -c port={_port} -k {_directory} {_durability} -c synchronous_commit=on -c max_connections=200");

    /// <summary>Ends all sessions and shuts down in order.</summary>
    public Task StopAsync() => RunToolAsync("pg_ctl", "-D", Data, "-w", "-t", "30", "stop", "-m", "fast");

    /// <summary>Ends all processes at once, as a crash does; the next start recovers.</summary>
    public Task KillAsync() => RunToolAsync("pg_ctl", "-D", Data, "-w", "-t", "30", "stop", "-m", "immediate");

    /// <summary>Stops all its processes in the middle of what they do (SIGSTOP): connections stay open, and nothing is answered.</summary>
    public Task PauseAsync() => SignalAsync("STOP");

    public Task ResumeAsync() => SignalAsync("CONT");

    /// <summary>Gives a folder to the user the server runs as.</summary>
    public Task GiveAsync(string path) => _user is null ? Task.CompletedTask : SystemTool.RunAsync("chown", [_user, path]);

    /// <summary>SIGKILL to the main process; the others notice and end. The next start waits for them.</summary>
    public async Task KillHardAsync()
    {
        var main = int.Parse((await File.ReadAllLinesAsync(PidFile))[0], CultureInfo.InvariantCulture);
        using var process = Process.GetProcessById(main);
        process.Kill();
        await process.WaitForExitAsync().Within();
    }

    public async ValueTask DisposeAsync()
    {
        if (File.Exists(PidFile))
        {
            await KillAsync();
        }
        Directory.Delete(_directory, recursive: true);
    }

    private async Task SignalAsync(string signal)
    {
        var main = (await File.ReadAllLinesAsync(PidFile))[0];
        // The main process first, so that the list of its children is complete; one that runs again ends those whose client went meanwhile.
        await SystemTool.RunAsync(
            "sh", ["-c", $"kill -{signal} {main} && for child in $(ps -o pid= --ppid {main}); do kill -{signal} $child || true; done"]);
    }

    private string Data => Path.Combine(_directory, "data");

    private string PidFile => Path.Combine(Data, "postmaster.pid");

    private static async Task<PostgresServer> StartSharedAsync()
    {
        var server = await StartNewAsync();
        AppDomain.CurrentDomain.ProcessExit += (_, _) => server.DisposeAsync().AsTask().Wait(WithinExtensions.DefaultLimit);
        return server;
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private Task RunToolAsync(string tool, params string[] arguments)
    {
        var path = Path.Combine(_binaries, tool);
        return _user is null
            ? SystemTool.RunAsync(path, arguments)
            : SystemTool.RunAsync("setpriv", ["--reuid", _user, "--regid", _user == "nobody" ? "nogroup" : _user, "--clear-groups", "env", $"HOME={_directory}", path, .. arguments]);
    }
}
