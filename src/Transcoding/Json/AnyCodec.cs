using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;

namespace Hub.Transcoding.Json;

/// <summary>A message of any known type: its fields beside "@type", or its own JSON form under "value".</summary>
internal sealed class AnyCodec(JsonCodec codec) : MessageCodec<Any>
{
    public override void Write(Utf8JsonWriter writer, Any value)
    {
        writer.WriteStartObject();
        if (value.TypeUrl.Length > 0)
        {
            var type = codec.Types.Find(Any.GetTypeName(value.TypeUrl))
                ?? throw new InvalidOperationException($"The type {value.TypeUrl} of an Any is not in the type registry.");
            var content = codec.For(type);
            var message = content.Create();
            message.MergeFrom(value.Value);
            writer.WriteString("@type"u8, value.TypeUrl);
            if (content is IObjectCodec fields)
            {
                fields.WriteFields(writer, message);
            }
            else
            {
                writer.WritePropertyName("value"u8);
                content.Write(writer, message);
            }
        }

        writer.WriteEndObject();
    }

    public override void Merge(ref Utf8JsonReader reader, Any message)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw JsonInputException.Expected("an object", ref reader);
        }

        // The type may stand behind the fields it explains, so a copy of the reader looks for it first.
        var typeUrl = FindType(reader);
        if (typeUrl is null)
        {
            var content = reader;
            content.Read();
            if (content.TokenType != JsonTokenType.EndObject)
            {
                throw new JsonInputException("expected the message's type under @type");
            }

            reader = content;
            return;
        }

        var type = FindKnown(typeUrl);
        var body = codec.For(type);
        var inner = body.Create();
        if (body is IObjectCodec)
        {
            body.Merge(ref reader, inner); // @type is an unknown field to it and ignored.
        }
        else
        {
            MergeValue(ref reader, body, inner);
        }

        message.TypeUrl = typeUrl;
        message.Value = inner.ToByteString();
    }

    private static string? FindType(Utf8JsonReader reader)
    {
        string? typeUrl = null;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var isType = reader.ValueTextEquals("@type"u8);
            reader.Read();
            if (isType && reader.TokenType == JsonTokenType.String)
            {
                typeUrl = reader.GetString();
            }

            reader.Skip();
        }

        return typeUrl;
    }

    private static void MergeValue(ref Utf8JsonReader reader, IMessageCodec body, IMessage inner)
    {
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var isValue = reader.ValueTextEquals("value"u8);
            reader.Read();
            if (!isValue)
            {
                reader.Skip();
                continue;
            }

            try
            {
                body.Merge(ref reader, inner);
            }
            catch (JsonInputException error) when (error.Under("value"))
            {
                throw; // Never reached: the filter only completes the path.
            }
        }
    }

    private MessageDescriptor FindKnown(string typeUrl)
    {
        var type = codec.Types.Find(Any.GetTypeName(typeUrl));
        if (type is not null)
        {
            return type;
        }

        var error = new JsonInputException("expected a known message type");
        error.Under("@type");
        throw error;
    }
}
