using System.Collections.Frozen;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.Json;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Json;

/// <summary>Enums: written by name (long or short), read by long name, short name (in any case) or number. Unknown numbers pass, unknown names do not.</summary>
internal sealed class EnumCodec<T> : ValueCodec<T>
    where T : struct, Enum
{
    private readonly FrozenDictionary<int, JsonEncodedText> _names;
    private readonly FrozenDictionary<string, int> _numbers;
    private readonly string _expected;

    public EnumCodec(EnumDescriptor descriptor, JsonStyle style)
    {
        var names = new Dictionary<int, JsonEncodedText>();
        var numbers = new Dictionary<string, int>(StringComparer.OrdinalIgnoreCase);
        foreach (var value in descriptor.Values)
        {
            var shortName = EnumNames.Short(value);
            names.TryAdd(value.Number, JsonEncodedText.Encode(style.ShortEnumValues ? shortName : value.Name));
            numbers[value.Name] = value.Number;
            numbers.TryAdd(shortName, value.Number);
        }

        _names = names.ToFrozenDictionary();
        _numbers = numbers.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);
        _expected = $"a value of {descriptor.Name}";
    }

    public override bool TakesNull => typeof(T) == typeof(Google.Protobuf.WellKnownTypes.NullValue);

    public override void Write(Utf8JsonWriter writer, T value)
    {
        var number = Unsafe.BitCast<T, int>(value);
        if (TakesNull)
        {
            writer.WriteNullValue();
        }
        else if (_names.TryGetValue(number, out var name))
        {
            writer.WriteStringValue(name);
        }
        else
        {
            writer.WriteNumberValue(number);
        }
    }

    public override T Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null && TakesNull)
        {
            return default;
        }

        if ((reader.TokenType == JsonTokenType.String && _numbers.TryGetValue(reader.GetString()!, out var number))
            || (reader.TokenType is JsonTokenType.String or JsonTokenType.Number
                && int.TryParse(reader.ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out number)))
        {
            return Unsafe.BitCast<int, T>(number);
        }

        throw JsonInputException.Expected(_expected, ref reader);
    }
}

/// <summary>The rule of enum value names: HOST_STATE_ONLINE of HostState is ONLINE in short.</summary>
internal static class EnumNames
{
    public static string Short(EnumValueDescriptor value)
    {
        var prefix = Prefix(value.EnumDescriptor.Name);
        return value.Name.StartsWith(prefix, StringComparison.Ordinal) && value.Name.Length > prefix.Length
            && char.IsAsciiLetter(value.Name[prefix.Length])
            ? value.Name[prefix.Length..]
            : value.Name;
    }

    private static string Prefix(string typeName)
    {
        var prefix = new StringBuilder(typeName.Length + 4);
        for (var i = 0; i < typeName.Length; i++)
        {
            // A word starts at an upper-case letter after a lower-case one or a digit, and at the last letter of an acronym (HTTPCode).
            var startsWord = i > 0 && char.IsAsciiLetterUpper(typeName[i])
                && (!char.IsAsciiLetterUpper(typeName[i - 1]) || (i + 1 < typeName.Length && char.IsAsciiLetterLower(typeName[i + 1])));
            prefix.Append(startsWord ? "_" : "").Append(char.ToUpperInvariant(typeName[i]));
        }

        return prefix.Append('_').ToString();
    }
}
