using Hub.TestKit;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Swarm;

/// <summary>Hubs as processes of their own over a new database, in a folder that goes with them.</summary>
internal sealed class SwarmScene : IAsyncDisposable
{
    public static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    /// <summary>One API key stands for all people here, and must not be held back as one.</summary>
    public static readonly Dictionary<string, string> Settings = new()
    {
        ["HUB_HOST_REQUESTS_PER_MINUTE"] = "0",
        ["HUB_CALLER_REQUESTS_PER_MINUTE"] = "0",
        ["HUB_TEAM_REQUESTS_PER_MINUTE"] = "0",
        ["HUB_TEAM_RECORDS_PER_SECOND"] = "0",
    };

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-swarm-");
    private readonly List<HubProcess> _hubs = [];
    private PostgresServer? _postgres;

    private SwarmScene()
    {
    }

    public IReadOnlyList<HubProcess> Hubs => _hubs;

    /// <param name="store">sqlite or postgres.</param>
    /// <param name="hubs">Several share a PostgreSQL.</param>
    /// <param name="forced">PostgreSQL forces its commits to disk.</param>
    /// <param name="environment">Of the Hubs, beside <see cref="Settings"/>.</param>
    public static async Task<SwarmScene> StartAsync(
        string store, int hubs = 1, bool forced = false, IReadOnlyDictionary<string, string>? environment = null)
    {
        var scene = new SwarmScene();
        try
        {
            string? database = null;
            if (store == "postgres")
            {
                scene._postgres = await PostgresServer.StartNewAsync(forced);
                database = await scene._postgres.CreateDatabaseAsync();
            }

            Dictionary<string, string> settings = new([.. Settings, .. environment ?? new Dictionary<string, string>()]);
            for (var i = 0; i < hubs; i++)
            {
                scene._hubs.Add(await HubProcess.StartAsync(scene._directory.FullName, database, settings));
            }

            return scene;
        }
        catch
        {
            await scene.DisposeAsync();
            throw;
        }
    }

    /// <summary>The SQLite file.</summary>
    public string File => Directory.GetFiles(_directory.FullName, "*.db").Single();

    /// <summary>A plan for the default team, or for another, which is made.</summary>
    public async Task<SwarmPlan> PlanAsync(string? team = null)
    {
        if (team is not null)
        {
            await _hubs[^1].AddTeamAsync(team);
        }

        return new SwarmPlan
        {
            Hubs = [.. _hubs.Select(hub => hub.GrpcUrl)],
            Rest = _hubs[^1].HttpUrl,
            ApiKey = await _hubs[^1].TokenAsync("api-key", "--team", team ?? "default"),
        };
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var hub in _hubs)
        {
            await hub.DisposeAsync();
        }

        if (_postgres is not null)
        {
            await _postgres.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }
}
