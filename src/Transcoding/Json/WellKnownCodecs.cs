using System.Buffers.Text;
using System.Globalization;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;

namespace Hub.Transcoding.Json;

/// <summary>A wrapper that stands alone (an answer, a list element of Any): its value without an object around it.</summary>
internal sealed class WrapperCodec<T>(MessageDescriptor descriptor, JsonCodec codec) : MessageCodec<T>
    where T : class, IMessage<T>, new()
{
    private readonly FieldCodec<T> _value = codec.CreateField<T>(descriptor.FindFieldByNumber(1));

    public override void Write(Utf8JsonWriter writer, T value) => _value.WriteValue(writer, value);

    public override void Merge(ref Utf8JsonReader reader, T message) => _value.Read(ref reader, message);
}

/// <summary>RFC 3339 text, in UTC when written, with any offset when read.</summary>
internal sealed class TimestampCodec : MessageCodec<Timestamp>
{
    private const int LengthMax = 30; // 0001-01-01T00:00:00.000000000Z
    private const int SecondsLength = 19;
    private const long SecondsMin = -62135596800; // 0001-01-01T00:00:00Z
    private const long SecondsMax = 253402300799; // 9999-12-31T23:59:59Z

    public override void Write(Utf8JsonWriter writer, Timestamp value)
    {
        if (value.Seconds is < SecondsMin or > SecondsMax || value.Nanos is < 0 or >= Fractions.NanosPerSecond)
        {
            throw new InvalidOperationException("The timestamp is outside the years 1 to 9999.");
        }

        Span<byte> text = stackalloc byte[LengthMax];
        DateTime.UnixEpoch.AddSeconds(value.Seconds).TryFormat(text, out var length, "yyyy-MM-ddTHH:mm:ss", CultureInfo.InvariantCulture);
        length += Fractions.Write(text[length..], value.Nanos);
        text[length++] = (byte)'Z';
        writer.WriteStringValue(text[..length]);
    }

    public override void Merge(ref Utf8JsonReader reader, Timestamp message)
    {
        if (reader.TokenType != JsonTokenType.String || !TryParse(reader.GetString()!, message))
        {
            throw JsonInputException.Expected("an RFC 3339 time", ref reader);
        }
    }

    private static bool TryParse(string text, Timestamp message)
    {
        if (text.Length <= SecondsLength
            || !DateTime.TryParseExact(text.AsSpan(0, SecondsLength), ["yyyy-MM-dd'T'HH:mm:ss", "yyyy-MM-dd't'HH:mm:ss"], CultureInfo.InvariantCulture,
                DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var time)
            || !Fractions.TryRead(text.AsSpan(SecondsLength), out var nanos, out var rest)
            || !TryReadOffset(rest, out var offset))
        {
            return false;
        }

        var seconds = ((time - DateTime.UnixEpoch).Ticks / TimeSpan.TicksPerSecond) - offset;
        if (seconds is < SecondsMin or > SecondsMax)
        {
            return false;
        }

        message.Seconds = seconds;
        message.Nanos = nanos;
        return true;
    }

    // Offset in seconds: Z, +hh:mm or -hh:mm.
    private static bool TryReadOffset(ReadOnlySpan<char> text, out long seconds)
    {
        seconds = 0;
        if (text is "Z" or "z")
        {
            return true;
        }

        if (text.Length != 6 || text[0] is not ('+' or '-')
            || !TimeSpan.TryParseExact(text[1..], "hh\\:mm", CultureInfo.InvariantCulture, out var offset))
        {
            return false;
        }

        seconds = (long)offset.TotalSeconds * (text[0] == '-' ? -1 : 1);
        return true;
    }
}

/// <summary>Seconds with up to nine decimals and an "s" behind them.</summary>
internal sealed class DurationCodec : MessageCodec<Duration>
{
    private const int LengthMax = 32;
    private const long SecondsMax = 315_576_000_000; // 10 000 years, the type's own bound.

    public override void Write(Utf8JsonWriter writer, Duration value)
    {
        if (value.Seconds is < -SecondsMax or > SecondsMax || value.Nanos is <= -Fractions.NanosPerSecond or >= Fractions.NanosPerSecond
            || Math.Sign(value.Seconds) * Math.Sign(value.Nanos) < 0)
        {
            throw new InvalidOperationException("The duration is outside 10 000 years or has mixed signs.");
        }

        Span<byte> text = stackalloc byte[LengthMax];
        var length = 0;
        if (value.Seconds < 0 || value.Nanos < 0)
        {
            text[length++] = (byte)'-';
        }

        Utf8Formatter.TryFormat(Math.Abs(value.Seconds), text[length..], out var digits);
        length += digits;
        length += Fractions.Write(text[length..], Math.Abs(value.Nanos));
        text[length++] = (byte)'s';
        writer.WriteStringValue(text[..length]);
    }

    public override void Merge(ref Utf8JsonReader reader, Duration message)
    {
        if (reader.TokenType != JsonTokenType.String || !TryParse(reader.GetString()!, message))
        {
            throw JsonInputException.Expected("a duration such as \"1.5s\"", ref reader);
        }
    }

    private static bool TryParse(ReadOnlySpan<char> text, Duration message)
    {
        var sign = text is ['-', ..] ? -1 : 1;
        text = sign < 0 ? text[1..] : text;
        var digits = text.IndexOfAnyExceptInRange('0', '9');
        if (digits <= 0 || !long.TryParse(text[..digits], NumberStyles.None, CultureInfo.InvariantCulture, out var seconds) || seconds > SecondsMax
            || !Fractions.TryRead(text[digits..], out var nanos, out var rest) || rest is not "s")
        {
            return false;
        }

        message.Seconds = sign * seconds;
        message.Nanos = sign * nanos;
        return true;
    }
}

/// <summary>The decimals of times and durations: none, three, six or nine digits.</summary>
internal static class Fractions
{
    public const int NanosPerSecond = 1_000_000_000;
    private const int DigitsMax = 9;

    public static int Write(Span<byte> target, int nanos)
    {
        if (nanos == 0)
        {
            return 0;
        }

        var (value, digits) = nanos % 1_000_000 == 0 ? (nanos / 1_000_000, 3) : nanos % 1_000 == 0 ? (nanos / 1_000, 6) : (nanos, 9);
        target[0] = (byte)'.';
        for (var i = digits; i > 0; i--, value /= 10)
        {
            target[i] = (byte)('0' + (value % 10));
        }

        return digits + 1;
    }

    /// <summary>Reads an optional point with one to nine digits; more would be lost silently and are refused.</summary>
    public static bool TryRead(ReadOnlySpan<char> text, out int nanos, out ReadOnlySpan<char> rest)
    {
        nanos = 0;
        rest = text;
        if (text is not ['.', ..])
        {
            return true;
        }

        var end = 1;
        while (end < text.Length && char.IsAsciiDigit(text[end]))
        {
            nanos = end <= DigitsMax ? (nanos * 10) + (text[end] - '0') : nanos;
            end++;
        }

        var digits = end - 1;
        if (digits is < 1 or > DigitsMax)
        {
            return false;
        }

        for (var i = digits; i < DigitsMax; i++)
        {
            nanos *= 10;
        }

        rest = text[end..];
        return true;
    }
}

/// <summary>Paths joined by commas, in the names of the style; both styles are read.</summary>
internal sealed class FieldMaskCodec(JsonStyle style) : MessageCodec<FieldMask>
{
    public override void Write(Utf8JsonWriter writer, FieldMask value) =>
        writer.WriteStringValue(string.Join(',', style.ProtoFieldNames ? value.Paths : value.Paths.Select(FieldNaming.ToCamelCase)));

    public override void Merge(ref Utf8JsonReader reader, FieldMask message)
    {
        if (reader.TokenType != JsonTokenType.String)
        {
            throw JsonInputException.Expected("field paths joined by commas", ref reader);
        }

        message.Paths.Clear();
        message.Paths.AddRange(reader.GetString()!
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(FieldNaming.ToSnakeCase));
    }
}
