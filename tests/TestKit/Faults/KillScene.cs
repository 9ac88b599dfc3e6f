using Hub.Storage;

namespace Hub.TestKit.Faults;

/// <summary>What a run may kill.</summary>
public enum KillTarget
{
    Hub,
    Node,
    Postgres,
}

/// <summary>A Hub and its nodes as processes of their own over a new database, in a folder that goes with them.</summary>
public sealed class KillScene : IAsyncDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-kill-");
    private readonly List<NodeProcess> _nodes = [];

    private KillScene()
    {
    }

    public HubProcess Hub { get; private set; } = null!;

    public IReadOnlyList<NodeProcess> Nodes => _nodes;

    /// <summary>A REST client with the rights of the team's owner.</summary>
    public HttpClient Owner { get; private set; } = null!;

    /// <summary>Of this scene alone; null where the store is SQLite.</summary>
    public PostgresServer? Postgres { get; private set; }

    /// <summary>What there is to kill.</summary>
    public IReadOnlyList<KillTarget> Targets => Postgres is null ? [KillTarget.Hub, KillTarget.Node] : [KillTarget.Hub, KillTarget.Node, KillTarget.Postgres];

    /// <summary>A new file in the scene's folder.</summary>
    public string FileNamed(string name) => Path.Combine(_directory.FullName, name);

    public static async Task<KillScene> StartAsync(bool postgres, int nodes)
    {
        var scene = new KillScene();
        try
        {
            await scene.BuildAsync(postgres, nodes);
            return scene;
        }
        catch
        {
            await scene.DisposeAsync();
            throw;
        }
    }

    public async Task KillAsync(KillTarget target, int node)
    {
        switch (target)
        {
            case KillTarget.Hub:
                await Hub.KillAsync();
                await Hub.StartAsync();
                break;
            case KillTarget.Node:
                await Nodes[node].KillAsync();
                Nodes[node].Start();
                break;
            case KillTarget.Postgres:
                await Postgres!.KillHardAsync();
                await Postgres.StartAsync();
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(target));
        }
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var node in _nodes)
        {
            await node.DisposeAsync();
        }

        Owner?.Dispose();
        if (Hub is not null)
        {
            await Hub.DisposeAsync();
        }

        if (Postgres is not null)
        {
            await Postgres.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }

    private async Task BuildAsync(bool postgres, int nodes)
    {
        var options = new StoreOptions { Backend = StoreBackend.Sqlite };
        if (postgres)
        {
            Postgres = await PostgresServer.StartNewAsync();
            options = new StoreOptions { Backend = StoreBackend.Postgres, ConnectionString = await Postgres.CreateDatabaseAsync() };
        }

        Hub = await HubProcess.StartAsync(_directory.FullName, options);
        Owner = Hub.As(await Hub.TokenAsync("user", "--email", "owner@example.com"));
        for (var i = 0; i < nodes; i++)
        {
            _nodes.Add(new NodeProcess(Hub.GrpcUrl, await Hub.TokenAsync("join"), Path.Combine(_directory.FullName, $"node-{i}")));
        }
    }
}
