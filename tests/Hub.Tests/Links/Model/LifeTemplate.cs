namespace Hub.Tests.Links.Model;

/// <summary>
/// A database with a host in it, of which every life gets a copy. Where there is a file system in memory it is used: what a machine's crash
/// leaves of a disk is not what this model is about.
/// </summary>
public sealed class LifeTemplate : IAsyncLifetime
{
    private const string MemoryFileSystem = "/dev/shm";

    private readonly string _root = Directory.Exists(MemoryFileSystem)
        ? Directory.CreateDirectory(Path.Combine(MemoryFileSystem, $"hub-model-{Guid.NewGuid():N}")).FullName
        : Directory.CreateTempSubdirectory("hub-model-").FullName;

    private int _lives;

    public string HostId { get; private set; } = "";

    public async ValueTask InitializeAsync() => HostId = await SimulatedHub.CreateTemplateAsync(Path.Combine(_root, "hub.db"));

    public string NewDirectory(int seed)
    {
        var directory = Directory.CreateDirectory(Path.Combine(_root, $"{seed}-{Interlocked.Increment(ref _lives)}")).FullName;
        File.Copy(Path.Combine(_root, "hub.db"), Path.Combine(directory, "hub.db"));
        return directory;
    }

    public ValueTask DisposeAsync()
    {
        Directory.Delete(_root, recursive: true);
        return ValueTask.CompletedTask;
    }
}
