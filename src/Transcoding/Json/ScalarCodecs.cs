using System.Buffers.Text;
using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Json;
using Google.Protobuf;

namespace Hub.Transcoding.Json;

internal sealed class BoolCodec : ValueCodec<bool>
{
    public override void Write(Utf8JsonWriter writer, bool value) => writer.WriteBooleanValue(value);

    public override bool Read(ref Utf8JsonReader reader)
    {
        return reader.TokenType switch
        {
            JsonTokenType.True => true,
            JsonTokenType.False => false,
            JsonTokenType.String when reader.ValueTextEquals("true"u8) || reader.ValueTextEquals("1"u8) => true,
            JsonTokenType.String when reader.ValueTextEquals("false"u8) || reader.ValueTextEquals("0"u8) => false,
            _ => throw JsonInputException.Expected("true or false", ref reader),
        };
    }
}

/// <summary>Integers, from JSON numbers and from their text.</summary>
internal sealed class IntegerCodec<T>(string expected, bool asText) : ValueCodec<T>
    where T : struct, IBinaryInteger<T>, IMinMaxValue<T>
{
    private const int DigitsMax = 20; // Sign and digits of the longest 64-bit integer.

    public override void Write(Utf8JsonWriter writer, T value)
    {
        Span<byte> digits = stackalloc byte[DigitsMax];
        value.TryFormat(digits, out var length, default, CultureInfo.InvariantCulture);
        if (asText)
        {
            writer.WriteStringValue(digits[..length]);
        }
        else
        {
            writer.WriteRawValue(digits[..length], skipInputValidation: true);
        }
    }

    public override T Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType is JsonTokenType.Number or JsonTokenType.String
            && (T.TryParse(reader.ValueSpan, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var value)
                || TryReadFraction(reader.ValueSpan, out value)))
        {
            return value;
        }

        throw JsonInputException.Expected(expected, ref reader);
    }

    // The JSON mapping allows 1.0 and 1e3 for integers.
    private static bool TryReadFraction(ReadOnlySpan<byte> text, out T value)
    {
        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        value = default;
        if (!decimal.TryParse(text, Style, CultureInfo.InvariantCulture, out var number) || number != decimal.Truncate(number)
            || number < decimal.CreateChecked(T.MinValue) || number > decimal.CreateChecked(T.MaxValue))
        {
            return false;
        }

        value = T.CreateChecked(number);
        return true;
    }
}

internal sealed class DoubleCodec : ValueCodec<double>
{
    private const long IntegerMax = 1L << 53; // Beyond it neighbouring integers are the same double.

    public override void Write(Utf8JsonWriter writer, double value) => WriteNumber(writer, value);

    public override double Read(ref Utf8JsonReader reader) => ReadNumber(ref reader);

    // Minus zero differs from the default on the wire as well.
    public override bool IsDefault(double value) => BitConverter.DoubleToInt64Bits(value) == 0;

    public static void WriteNumber(Utf8JsonWriter writer, double value)
    {
        // Most numbers are counts and times, which format much faster as integers. Minus zero keeps its sign.
        var integer = (long)value;
        if (integer == value && integer is not 0 and > -IntegerMax and < IntegerMax)
        {
            writer.WriteNumberValue(integer);
        }
        else if (double.IsFinite(value))
        {
            writer.WriteNumberValue(value);
        }
        else
        {
            writer.WriteStringValue(double.IsNaN(value) ? "NaN"u8 : value > 0 ? "Infinity"u8 : "-Infinity"u8);
        }
    }

    public static double ReadNumber(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Number && TryReadSmallInteger(reader.ValueSpan, out var integer))
        {
            return integer;
        }

        if (reader.TokenType == JsonTokenType.String)
        {
            if (reader.ValueTextEquals("NaN"u8))
            {
                return double.NaN;
            }

            if (reader.ValueTextEquals("Infinity"u8))
            {
                return double.PositiveInfinity;
            }

            if (reader.ValueTextEquals("-Infinity"u8))
            {
                return double.NegativeInfinity;
            }
        }

        const NumberStyles Style = NumberStyles.AllowLeadingSign | NumberStyles.AllowDecimalPoint | NumberStyles.AllowExponent;
        if (reader.TokenType is JsonTokenType.Number or JsonTokenType.String
            && double.TryParse(reader.ValueSpan, Style, CultureInfo.InvariantCulture, out var value) && double.IsFinite(value))
        {
            return value;
        }

        throw JsonInputException.Expected("a number", ref reader);
    }

    // The same numbers need no floating-point parser either.
    private static bool TryReadSmallInteger(ReadOnlySpan<byte> digits, out double value)
    {
        const int ExactDigitsMax = 15;
        value = 0;
        if (digits.Length > ExactDigitsMax)
        {
            return false;
        }

        var integer = 0L;
        foreach (var digit in digits)
        {
            if (digit is < (byte)'0' or > (byte)'9')
            {
                return false; // A sign as well: -0 is not 0.
            }

            integer = (integer * 10) + (digit - '0');
        }

        value = integer;
        return true;
    }
}

internal sealed class FloatCodec : ValueCodec<float>
{
    public override void Write(Utf8JsonWriter writer, float value)
    {
        if (float.IsFinite(value))
        {
            writer.WriteNumberValue(value);
        }
        else
        {
            DoubleCodec.WriteNumber(writer, value);
        }
    }

    public override float Read(ref Utf8JsonReader reader)
    {
        var number = DoubleCodec.ReadNumber(ref reader);
        var value = (float)number;
        return float.IsInfinity(value) && double.IsFinite(number)
            ? throw JsonInputException.Expected("a number that fits a float", ref reader)
            : value;
    }

    public override bool IsDefault(float value) => BitConverter.SingleToInt32Bits(value) == 0;
}

/// <summary>Text; numbers and booleans are taken as they were written, since some clients send either.</summary>
internal sealed class StringCodec : ValueCodec<string>
{
    public override void Write(Utf8JsonWriter writer, string value) => writer.WriteStringValue(value);

    public override string Read(ref Utf8JsonReader reader) => reader.TokenType switch
    {
        JsonTokenType.String => reader.GetString()!,
        JsonTokenType.Number or JsonTokenType.True or JsonTokenType.False => Encoding.UTF8.GetString(reader.ValueSpan),
        _ => throw JsonInputException.Expected("a string", ref reader),
    };

    public override bool IsDefault(string value) => value.Length == 0;
}

/// <summary>Bytes: written as base64, read as base64 or base64url with or without padding.</summary>
internal sealed class BytesCodec : ValueCodec<ByteString>
{
    public override void Write(Utf8JsonWriter writer, ByteString value) => writer.WriteBase64StringValue(value.Span);

    public override ByteString Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.String)
        {
            if (reader.TryGetBytesFromBase64(out var bytes))
            {
                return UnsafeByteOperations.UnsafeWrap(bytes);
            }

            var text = reader.GetString()!.Replace('+', '-').Replace('/', '_');
            if (Base64Url.IsValid(text))
            {
                return UnsafeByteOperations.UnsafeWrap(Base64Url.DecodeFromChars(text));
            }
        }

        throw JsonInputException.Expected("base64 text", ref reader);
    }

    public override bool IsDefault(ByteString value) => value.IsEmpty;
}
