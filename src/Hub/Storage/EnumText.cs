using System.Collections.Frozen;
using System.Reflection;
using Google.Protobuf.Reflection;

namespace Hub.Storage;

/// <summary>
/// The text a proto enum value has in the database and in error reasons: its proto name without the prefix every value of the type
/// shares, so COMMAND_STATE_QUEUED is "QUEUED" everywhere.
/// </summary>
internal static class EnumText<T>
    where T : struct, Enum
{
    private static readonly FrozenDictionary<T, string> Texts = ReadTexts();
    private static readonly FrozenDictionary<string, T> Values =
        Texts.ToFrozenDictionary(pair => pair.Value, pair => pair.Key, StringComparer.Ordinal);

    public static string Of(T value) => Texts[value];

    public static T Parse(string text) => Values[text];

    public static bool TryParse(string text, out T value) => Values.TryGetValue(text, out value);

    private static FrozenDictionary<T, string> ReadTexts()
    {
        var names = typeof(T).GetFields(BindingFlags.Public | BindingFlags.Static).ToDictionary(
            field => (T)field.GetValue(null)!,
            field => field.GetCustomAttribute<OriginalNameAttribute>()?.Name ?? field.Name);

        // The zero value is <PREFIX>_UNSPECIFIED by the lint rules, which gives the prefix.
        const string zeroSuffix = "UNSPECIFIED";
        var zero = names[default];
        var prefix = zero.EndsWith(zeroSuffix, StringComparison.Ordinal) ? zero[..^zeroSuffix.Length] : "";
        return names.ToFrozenDictionary(pair => pair.Key, pair => pair.Value[prefix.Length..]);
    }
}
