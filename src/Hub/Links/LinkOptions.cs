using System.ComponentModel.DataAnnotations;

namespace Hub.Links;

/// <summary>Section Hub:Links.</summary>
internal sealed class LinkOptions
{
    public const string Section = "Hub:Links";

    /// <summary>Interval of a node's heartbeats: 100 ms to 120 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.1", "00:02:00")]
    public TimeSpan HeartbeatInterval { get; set; } = TimeSpan.FromSeconds(25);

    /// <summary>The Hub sends a frame at least this often: 100 ms to 15 s, because a node gives a silent path up after 35 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.1", "00:00:15")]
    public TimeSpan HubHeartbeatInterval { get; set; } = TimeSpan.FromSeconds(15);

    /// <summary>Age at which a link is ended to rebalance, ±10 %: 1 min to 7 d.</summary>
    [Range(typeof(TimeSpan), "00:01:00", "7.00:00:00")]
    public TimeSpan MaxAge { get; set; } = TimeSpan.FromHours(12);

    /// <summary>A node has this long to say Hello.</summary>
    public static readonly TimeSpan HelloWithin = TimeSpan.FromSeconds(10);

    /// <summary>A node that reads nothing for this long is disconnected.</summary>
    public static readonly TimeSpan SlowConsumerAfter = TimeSpan.FromSeconds(30);

    /// <summary>Time to get the last frame out.</summary>
    public static readonly TimeSpan GoodbyeWithin = TimeSpan.FromSeconds(5);

    /// <summary>Unacknowledged batches per lane.</summary>
    public const int WindowBatches = 256;

    /// <summary>Unacknowledged bytes per lane.</summary>
    public const int WindowBytes = 4 * 1024 * 1024;

    /// <summary>Largest single record.</summary>
    public const int RecordBytesMax = 512 * 1024;

    /// <summary>Most entries of one batch.</summary>
    public const int BatchEntriesMax = 1_000;

    /// <summary>Largest frame a node may send: a batch of 64 KiB, or one record alone.</summary>
    public const int FrameBytesMax = 1024 * 1024;

    /// <summary>Offers a node may hold without having accepted them.</summary>
    public const int OffersMax = 64;
}
