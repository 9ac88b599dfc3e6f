using System.Globalization;
using System.Text.Json;
using Google.Protobuf.WellKnownTypes;

namespace Hub.Transcoding.Json;

/// <summary>A free JSON object.</summary>
internal sealed class StructCodec : MessageCodec<Struct>
{
    public override void Write(Utf8JsonWriter writer, Struct value) => FreeJson.Write(writer, value);

    public override void Merge(ref Utf8JsonReader reader, Struct message) => FreeJson.Merge(ref reader, message);
}

/// <summary>A free JSON array.</summary>
internal sealed class ListValueCodec : MessageCodec<ListValue>
{
    public override void Write(Utf8JsonWriter writer, ListValue value) => FreeJson.Write(writer, value);

    public override void Merge(ref Utf8JsonReader reader, ListValue message) => FreeJson.Merge(ref reader, message);
}

/// <summary>Any JSON value, null included.</summary>
internal sealed class JsonValueCodec : MessageCodec<Value>
{
    public override bool TakesNull => true;

    public override void Write(Utf8JsonWriter writer, Value value) => FreeJson.Write(writer, value);

    public override void Merge(ref Utf8JsonReader reader, Value message) => FreeJson.Merge(ref reader, message);
}

/// <summary>JSON whose shape no proto fixes. Its numbers are doubles, so an integer that a double cannot hold is refused.</summary>
internal static class FreeJson
{
    private const long IntegerMax = 1L << 53;
    private const int IntegerDigitsMin = 16; // Shorter integers are below 2^53.

    public static void Write(Utf8JsonWriter writer, Struct value)
    {
        writer.WriteStartObject();
        foreach (var (name, member) in value.Fields)
        {
            writer.WritePropertyName(name);
            Write(writer, member);
        }

        writer.WriteEndObject();
    }

    public static void Write(Utf8JsonWriter writer, ListValue value)
    {
        writer.WriteStartArray();
        foreach (var item in value.Values)
        {
            Write(writer, item);
        }

        writer.WriteEndArray();
    }

    public static void Write(Utf8JsonWriter writer, Value value)
    {
        switch (value.KindCase)
        {
            case Value.KindOneofCase.BoolValue:
                writer.WriteBooleanValue(value.BoolValue);
                break;
            case Value.KindOneofCase.NumberValue:
                DoubleCodec.WriteNumber(writer, value.NumberValue);
                break;
            case Value.KindOneofCase.StringValue:
                writer.WriteStringValue(value.StringValue);
                break;
            case Value.KindOneofCase.StructValue:
                Write(writer, value.StructValue);
                break;
            case Value.KindOneofCase.ListValue:
                Write(writer, value.ListValue);
                break;
            default:
                // A value without a kind can only come from a sloppy binary client; null keeps the answer readable.
                writer.WriteNullValue();
                break;
        }
    }

    public static void Merge(ref Utf8JsonReader reader, Struct message)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw JsonInputException.Expected("an object", ref reader);
        }

        var fields = message.Fields;
        fields.Clear();
        var name = "";
        try
        {
            while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
            {
                name = NameTable.Read(ref reader);
                reader.Read();
                fields[name] = Read(ref reader);
            }
        }
        catch (JsonInputException error) when (error.Under(name))
        {
            throw; // Never reached: the filter only completes the path.
        }
    }

    public static void Merge(ref Utf8JsonReader reader, ListValue message)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw JsonInputException.Expected("an array", ref reader);
        }

        message.Values.Clear();
        for (var index = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; index++)
        {
            try
            {
                message.Values.Add(Read(ref reader));
            }
            catch (JsonInputException error) when (error.Under(index))
            {
                throw; // Never reached: the filter only completes the path.
            }
        }
    }

    public static void Merge(ref Utf8JsonReader reader, Value message)
    {
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                message.NullValue = NullValue.NullValue;
                break;
            case JsonTokenType.True or JsonTokenType.False:
                message.BoolValue = reader.GetBoolean();
                break;
            case JsonTokenType.String:
                message.StringValue = reader.GetString()!;
                break;
            case JsonTokenType.Number:
                message.NumberValue = ReadNumber(ref reader);
                break;
            case JsonTokenType.StartObject:
                var members = new Struct();
                Merge(ref reader, members);
                message.StructValue = members;
                break;
            case JsonTokenType.StartArray:
                var items = new ListValue();
                Merge(ref reader, items);
                message.ListValue = items;
                break;
            default:
                throw JsonInputException.Expected("a JSON value", ref reader);
        }
    }

    private static Value Read(ref Utf8JsonReader reader)
    {
        var value = new Value();
        Merge(ref reader, value);
        return value;
    }

    private static double ReadNumber(ref Utf8JsonReader reader)
    {
        var text = reader.ValueSpan;
        if (text.Length >= IntegerDigitsMin && text.IndexOfAny(".eE"u8) < 0
            && !(long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var integer) && integer is >= -IntegerMax and <= IntegerMax))
        {
            throw new JsonInputException("integers beyond 2^53 lose digits in free JSON; send text instead");
        }

        return DoubleCodec.ReadNumber(ref reader);
    }
}
