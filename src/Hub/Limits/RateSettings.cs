namespace Hub.Limits;

/// <summary>How much each may do; 0 stands for no limit. An allowance is saved up for one second or minute at most.</summary>
internal sealed record RateSettings
{
    /// <summary>Frames and batch entries of a node on its link. Beyond it the link is read more slowly; nothing is refused.</summary>
    public long HostRecordsPerSecond { get; init; } = 5_000;

    /// <summary>Bytes of a node on its link, the same way.</summary>
    public long HostBytesPerSecond { get; init; } = 8 * 1024 * 1024;

    public long TeamRecordsPerSecond { get; init; } = 50_000;

    public long TeamBytesPerSecond { get; init; } = 64 * 1024 * 1024;

    /// <summary>Calls with a host credential besides the link. Nodes that poll make 50 to 80; claims are never counted.</summary>
    public long HostRequestsPerMinute { get; init; } = 1_200;

    /// <summary>Calls of one user or API key.</summary>
    public long CallerRequestsPerMinute { get; init; } = 12_000;

    /// <summary>Calls of all users, keys and hosts of a team; far above what its hosts need together.</summary>
    public long TeamRequestsPerMinute { get; init; } = 300_000;

    public long HostCommandsPerMinute { get; init; } = 6_000;

    public long TeamCommandsPerMinute { get; init; } = 60_000;
}
