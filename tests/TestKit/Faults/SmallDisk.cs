namespace Hub.TestKit.Faults;

/// <summary>A file system of a few megabytes that can really be full. Mounting one needs root.</summary>
public sealed class SmallDisk : IAsyncDisposable
{
    public const string WhyNot = "Only root may mount a small disk; the limit on file sizes stands in for it in another test.";

    private const int BlockBytes = 4096;

    private SmallDisk(string path) => Path = path;

    public string Path { get; }

    private string Ballast => System.IO.Path.Combine(Path, "ballast");

    /// <returns>Null where this process may not mount.</returns>
    public static async Task<SmallDisk?> TryMountAsync(int megabytes)
    {
        var path = Directory.CreateTempSubdirectory("hub-disk-").FullName;
        if (OperatingSystem.IsLinux() && await SystemTool.TryRunAsync("mount", "-t", "tmpfs", "-o", $"size={megabytes}m", "tmpfs", path))
        {
            return new SmallDisk(path);
        }

        Directory.Delete(path);
        return null;
    }

    /// <summary>Leaves not a byte.</summary>
    public void Fill()
    {
        using var ballast = new FileStream(Ballast, FileMode.Append, FileAccess.Write, FileShare.None, bufferSize: 0);
        try
        {
            while (true)
            {
                ballast.Write(new byte[BlockBytes]);
            }
        }
        catch (IOException)
        {
            // Full.
        }
    }

    /// <summary>Refused by the system while a file is open for writing.</summary>
    public Task MakeReadOnlyAsync() => SystemTool.RunAsync("mount", "-o", "remount,ro", Path);

    public void Free() => File.Delete(Ballast);

    public async ValueTask DisposeAsync()
    {
        await SystemTool.RunAsync("umount", "--lazy", Path);
        Directory.Delete(Path);
    }
}
