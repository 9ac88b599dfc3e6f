namespace Hub.TestKit.Faults;

/// <summary>The runnable node of AgentClient as a process, with its own records of what it did and what the Hub acknowledged.</summary>
public sealed class NodeProcess(Uri hubUrl, string joinToken, string directory) : IAsyncDisposable
{
    private ChildProgram? _program;

    /// <summary>Its host's name.</summary>
    public string Name { get; } = Path.GetFileName(directory);

    private string SideEffectsFile => Path.Combine(directory, "side-effects.txt");

    private string AckFile => Path.Combine(directory, "acks.txt");

    public string Errors => _program?.Errors ?? "";

    public void Start()
    {
        Directory.CreateDirectory(directory);
        _program = ChildProgram.Start(
            "Hub.AgentClient.dll",
            [
                "run", "--hub", hubUrl.ToString(), "--join-token", joinToken, "--name", Name, "--state", Path.Combine(directory, "state"),
                "--side-effects", SideEffectsFile, "--ack-log", AckFile,
            ]);
    }

    /// <summary>Gives the node a line; its answer "ok …", or null if it was killed before.</summary>
    /// <param name="limit">How long to wait for the answer; null = as tests wait.</param>
    public async Task<string?> SayAsync(string line, TimeSpan? limit = null)
    {
        var program = _program!;
        return await program.TrySayAsync(line) ? await program.ReadUntilAsync("ok ", limit) : null;
    }

    /// <summary>Every started attempt, as the node wrote it down: "commandId attempt".</summary>
    public IReadOnlyList<string> SideEffects() => ReadLines(SideEffectsFile);

    /// <summary>Every record the Hub acknowledged, as the node wrote it down.</summary>
    public IReadOnlyList<AckedRecord> Acks() =>
        [.. ReadLines(AckFile).Select(line => line.Split(' ')).Select(part => new AckedRecord(part[0], part[1], long.Parse(part[2], null)))];

    public Task KillAsync() => _program!.KillAsync();

    public ValueTask DisposeAsync() => _program?.DisposeAsync() ?? ValueTask.CompletedTask;

    private static string[] ReadLines(string path)
    {
        if (!File.Exists(path))
        {
            return [];
        }

        // A kill may cut the last line short; what has no end was not written.
        using var reader = new StreamReader(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite));
        var text = reader.ReadToEnd();
        var end = text.LastIndexOf('\n');
        return end < 0 ? [] : text[..end].Split('\n');
    }
}

/// <summary>A line of the node's record of acknowledgements.</summary>
public sealed record AckedRecord(string Kind, string Id, long Version);
