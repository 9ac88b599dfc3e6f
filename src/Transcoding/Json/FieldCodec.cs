using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Json;

/// <summary>A field as seen by code that does not know the message's type.</summary>
internal interface IFieldCodec
{
    public FieldDescriptor Descriptor { get; }

    /// <summary>The codec of the field's messages; null for scalars, lists and maps.</summary>
    public IMessageCodec? Message { get; }

    /// <summary>Writes the value alone; null for an unset message.</summary>
    public void WriteValue(Utf8JsonWriter writer, IMessage message);

    /// <summary>Replaces the field's value by the JSON value whose first token the reader stands on.</summary>
    public void Read(ref Utf8JsonReader reader, IMessage message);

    /// <summary>Sets the field, or adds to a list, from text that stands outside JSON: a path variable, a query parameter, a header.</summary>
    public void ReadText(string text, IMessage message);
}

/// <summary>One field of a message type in one style.</summary>
internal abstract class FieldCodec<TMessage> : IFieldCodec
    where TMessage : class, IMessage<TMessage>
{
    private static readonly JsonSerializerOptions TextOptions = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    protected FieldCodec(FieldDescriptor descriptor, JsonStyle style, IMessageCodec? message)
    {
        Descriptor = descriptor;
        Message = message;
        Index = descriptor.ContainingType.Fields.InDeclarationOrder().IndexOf(descriptor);
        Name = JsonEncodedText.Encode(style.NameOf(descriptor), JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
    }

    public FieldDescriptor Descriptor { get; }

    public IMessageCodec? Message { get; }

    /// <summary>Position in the order of declaration.</summary>
    public int Index { get; }

    /// <summary>The name that answers carry.</summary>
    public JsonEncodedText Name { get; }

    public string JsonName => Descriptor.JsonName;

    public string ProtoName => Descriptor.Name;

    /// <summary>Writes name and value, or nothing where the style leaves the field out.</summary>
    public abstract void Write(Utf8JsonWriter writer, TMessage message);

    public abstract void WriteValue(Utf8JsonWriter writer, TMessage message);

    public abstract void Read(ref Utf8JsonReader reader, TMessage message);

    protected abstract void ReadText(ref Utf8JsonReader reader, TMessage message);

    void IFieldCodec.WriteValue(Utf8JsonWriter writer, IMessage message) => WriteValue(writer, (TMessage)message);

    void IFieldCodec.Read(ref Utf8JsonReader reader, IMessage message) => Read(ref reader, (TMessage)message);

    void IFieldCodec.ReadText(string text, IMessage message)
    {
        // Text is taken as a JSON string, so that it converts in exactly one way wherever it comes from.
        var reader = new Utf8JsonReader(JsonSerializer.SerializeToUtf8Bytes(TextCleaner.Clean(text), TextOptions));
        reader.Read();
        ReadText(ref reader, (TMessage)message);
    }
}

/// <summary>A scalar, enum, wrapper or message that occurs at most once.</summary>
internal sealed class SingularField<TMessage, T> : FieldCodec<TMessage>
    where TMessage : class, IMessage<TMessage>
{
    private readonly ValueCodec<T> _codec;
    private readonly Func<TMessage, T> _get;
    private readonly Action<TMessage, T> _set;
    private readonly Presence _presence;
    private readonly Unset _whenUnset;

    public SingularField(FieldDescriptor descriptor, JsonStyle style, ValueCodec<T> codec)
        : base(descriptor, style, codec as IMessageCodec)
    {
        var property = GeneratedProperties.Find<TMessage>(descriptor);
        _codec = codec;
        _get = property.GetMethod!.CreateDelegate<Func<TMessage, T>>();
        _set = property.SetMethod!.CreateDelegate<Action<TMessage, T>>();
        _presence = descriptor.FieldType == FieldType.Message ? Presence.NotNull : descriptor.HasPresence ? Presence.Flag : Presence.NotDefault;
        _whenUnset = _presence == Presence.NotDefault
            ? style.WriteDefaults ? Unset.WriteValue : Unset.LeaveOut
            : style.ExplicitNulls && descriptor.RealContainingOneof is null ? Unset.WriteNull : Unset.LeaveOut;
    }

    private enum Presence
    {
        NotDefault,
        NotNull,
        Flag,
    }

    private enum Unset
    {
        LeaveOut,
        WriteValue,
        WriteNull,
    }

    public override void Write(Utf8JsonWriter writer, TMessage message)
    {
        var value = _get(message);
        if (_whenUnset == Unset.WriteValue || IsSet(message, value))
        {
            writer.WritePropertyName(Name);
            _codec.Write(writer, value);
        }
        else if (_whenUnset == Unset.WriteNull)
        {
            writer.WriteNull(Name);
        }
    }

    public override void WriteValue(Utf8JsonWriter writer, TMessage message)
    {
        var value = _get(message);
        if (_presence == Presence.NotDefault || IsSet(message, value))
        {
            _codec.Write(writer, value);
        }
        else
        {
            writer.WriteNullValue();
        }
    }

    public override void Read(ref Utf8JsonReader reader, TMessage message)
    {
        if (reader.TokenType == JsonTokenType.Null && !_codec.TakesNull)
        {
            Descriptor.Accessor.Clear(message);
        }
        else
        {
            _set(message, _codec.Read(ref reader));
        }
    }

    protected override void ReadText(ref Utf8JsonReader reader, TMessage message) => Read(ref reader, message);

    private bool IsSet(TMessage message, T value) => _presence switch
    {
        Presence.NotNull => value is not null,
        Presence.Flag => Descriptor.Accessor.HasValue(message),
        _ => !_codec.IsDefault(value),
    };
}

/// <summary>A repeated field.</summary>
internal sealed class ListField<TMessage, T>(FieldDescriptor descriptor, JsonStyle style, ValueCodec<T> codec)
    : FieldCodec<TMessage>(descriptor, style, null)
    where TMessage : class, IMessage<TMessage>
{
    private readonly Func<TMessage, RepeatedField<T>> _get =
        GeneratedProperties.Find<TMessage>(descriptor).GetMethod!.CreateDelegate<Func<TMessage, RepeatedField<T>>>();
    private readonly bool _writeEmpty = style.WriteDefaults;

    public override void Write(Utf8JsonWriter writer, TMessage message)
    {
        if (_writeEmpty || _get(message).Count > 0)
        {
            writer.WritePropertyName(Name);
            WriteValue(writer, message);
        }
    }

    public override void WriteValue(Utf8JsonWriter writer, TMessage message)
    {
        writer.WriteStartArray();
        foreach (var item in _get(message))
        {
            codec.Write(writer, item);
        }

        writer.WriteEndArray();
    }

    public override void Read(ref Utf8JsonReader reader, TMessage message)
    {
        var list = _get(message);
        list.Clear(); // The last of several equal names wins.
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (reader.TokenType != JsonTokenType.StartArray)
        {
            throw JsonInputException.Expected("an array", ref reader);
        }

        for (var index = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; index++)
        {
            if (reader.TokenType == JsonTokenType.Null && !codec.TakesNull)
            {
                continue;
            }

            try
            {
                list.Add(codec.Read(ref reader));
            }
            catch (JsonInputException error) when (error.Under(index))
            {
                throw; // Never reached: the filter only completes the path.
            }
        }
    }

    protected override void ReadText(ref Utf8JsonReader reader, TMessage message) => _get(message).Add(codec.Read(ref reader));
}

/// <summary>A map field.</summary>
internal sealed class MapField<TMessage, TKey, TValue>(FieldDescriptor descriptor, JsonStyle style, ValueCodec<TValue> codec)
    : FieldCodec<TMessage>(descriptor, style, null)
    where TMessage : class, IMessage<TMessage>
    where TKey : notnull
{
    private readonly Func<TMessage, Google.Protobuf.Collections.MapField<TKey, TValue>> _get = GeneratedProperties.Find<TMessage>(descriptor)
        .GetMethod!.CreateDelegate<Func<TMessage, Google.Protobuf.Collections.MapField<TKey, TValue>>>();
    private readonly KeyCodec<TKey> _keys = KeyCodec<TKey>.Create();
    private readonly bool _writeEmpty = style.WriteDefaults;

    public override void Write(Utf8JsonWriter writer, TMessage message)
    {
        if (_writeEmpty || _get(message).Count > 0)
        {
            writer.WritePropertyName(Name);
            WriteValue(writer, message);
        }
    }

    public override void WriteValue(Utf8JsonWriter writer, TMessage message)
    {
        writer.WriteStartObject();
        foreach (var (key, value) in _get(message))
        {
            _keys.Write(writer, key);
            codec.Write(writer, value);
        }

        writer.WriteEndObject();
    }

    public override void Read(ref Utf8JsonReader reader, TMessage message)
    {
        var map = _get(message);
        map.Clear(); // The last of several equal names wins.
        if (reader.TokenType == JsonTokenType.Null)
        {
            return;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw JsonInputException.Expected("an object", ref reader);
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var name = reader.GetString()!;
            reader.Read();
            try
            {
                var key = _keys.Parse(name);
                if (reader.TokenType != JsonTokenType.Null || codec.TakesNull)
                {
                    map[key] = codec.Read(ref reader);
                }
            }
            catch (JsonInputException error) when (error.Under(name))
            {
                throw; // Never reached: the filter only completes the path.
            }
        }
    }

    protected override void ReadText(ref Utf8JsonReader reader, TMessage message) => Read(ref reader, message);
}
