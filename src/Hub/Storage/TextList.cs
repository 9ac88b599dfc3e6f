using System.Text.Json;

namespace Hub.Storage;

/// <summary>A list of texts as one JSON column.</summary>
internal static class TextList
{
    public const string Empty = "[]";

    public static string Write(IEnumerable<string> texts) => JsonSerializer.Serialize(texts);

    public static IReadOnlyList<string> Read(string json) => json is "" or Empty ? [] : JsonSerializer.Deserialize<string[]>(json) ?? [];
}
