namespace Hub.Storage;

/// <summary>
/// Ids the Hub makes: a kind and a UUIDv7, safe in a URL, ordered by time, and never equal to a literal path segment.
/// </summary>
internal static class EntityId
{
    public static string New(string kind, long nowMs) => $"{kind}-{Guid.CreateVersion7(DateTimeOffset.FromUnixTimeMilliseconds(nowMs))}";

    public static string New(string kind, TimeProvider time) => New(kind, time.NowMs());
}
