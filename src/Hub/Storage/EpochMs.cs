using Google.Protobuf.WellKnownTypes;

namespace Hub.Storage;

/// <summary>Times are epoch milliseconds in the database and Timestamps in what is ours on the wire.</summary>
internal static class EpochMs
{
    public static Timestamp ToTimestamp(long epochMs) => DateTimeOffset.FromUnixTimeMilliseconds(epochMs).ToTimestamp();

    public static Timestamp? ToTimestamp(long? epochMs) => epochMs is { } value ? ToTimestamp(value) : null;

    public static long NowMs(this TimeProvider time) => time.GetUtcNow().ToUnixTimeMilliseconds();
}
