namespace Hub.AgentClient.Node;

/// <summary>What the command line of the runnable node says.</summary>
internal sealed record NodeOptions
{
    public required Uri HubUrl { get; init; }

    public string? JoinToken { get; init; }

    public required string StateDirectory { get; init; }

    public string Name { get; init; } = "";

    public bool Insecure { get; init; }

    public bool AllowShell { get; init; }

    /// <summary>File that gets one line per started attempt of an append command.</summary>
    public string? SideEffectsFile { get; init; }

    /// <summary>File that gets one line per record the Hub acknowledged.</summary>
    public string? AckLogFile { get; init; }

    /// <summary>Tasks to publish at the start.</summary>
    public int PublishTasks { get; init; }
}
