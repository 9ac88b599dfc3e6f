using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>The bounds of a link: the Hub's settings, where it gave any, within what this node can do.</summary>
internal sealed record LinkLimits(int WindowBatches, long WindowBytes, long RecordBytesMax)
{
    /// <summary>Entries of one batch.</summary>
    public const int BatchEntriesMax = 1_000;

    /// <summary>Bytes of one batch, unless a single record is larger.</summary>
    public const int BatchBytesMax = 64 * 1024;

    /// <summary>Interval of heartbeats until the Hub says otherwise.</summary>
    public static readonly TimeSpan HeartbeatDefault = TimeSpan.FromSeconds(25);

    public static readonly LinkLimits Default = new(256, 4 * 1024 * 1024, 512 * 1024);

    public static LinkLimits From(Settings settings) => new(
        settings.WindowBatches > 0 ? settings.WindowBatches : Default.WindowBatches,
        settings.WindowBytes > 0 ? settings.WindowBytes : Default.WindowBytes,
        settings.RecordBytesMax > 0 ? settings.RecordBytesMax : Default.RecordBytesMax);
}
