using System.Text;
using System.Text.Json;

namespace Hub.Transcoding.Json;

/// <summary>
/// Names in free JSON repeat in every element of every list, so those read lately are kept as strings, one table per thread. A name that
/// falls on another's place takes it; nothing grows.
/// </summary>
internal static class NameTable
{
    private const int Places = 256;
    private const int LengthMax = 32;

    [ThreadStatic]
    private static string?[]? _names;

    /// <summary>The property name that the reader stands on.</summary>
    public static string Read(ref Utf8JsonReader reader)
    {
        var name = reader.ValueSpan;
        if (reader.ValueIsEscaped || name.Length is 0 or > LengthMax)
        {
            return reader.GetString()!;
        }

        // Enough to tell the names of one body apart; a full hash would cost as much as it saves.
        var place = ((((name.Length * 31) + name[0]) * 31) + name[^1] + name[name.Length / 2]) & (Places - 1);
        var names = _names ??= new string?[Places];
        if (names[place] is { } known && Ascii.Equals(name, known))
        {
            return known;
        }

        return names[place] = reader.GetString()!;
    }
}
