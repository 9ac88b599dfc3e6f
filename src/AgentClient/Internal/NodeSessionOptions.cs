namespace Hub.AgentClient.Internal;

/// <summary>What a session says of its node in Hello.</summary>
internal sealed record NodeSessionOptions
{
    /// <summary>Random per process start.</summary>
    public string InstanceId { get; init; } = Guid.NewGuid().ToString("N");

    /// <summary>Command types with a handler; an offer of any other type is rejected.</summary>
    public IReadOnlyCollection<string> CommandTypes { get; init; } = [];

    public string NodeVersion { get; init; } = "";

    public string Platform { get; init; } = "";

    public IReadOnlyDictionary<string, string> Labels { get; init; } = new Dictionary<string, string>();

    /// <summary>Whether a re-sync reads the application's own records instead of the mirror.</summary>
    public bool HasSource { get; init; }
}
