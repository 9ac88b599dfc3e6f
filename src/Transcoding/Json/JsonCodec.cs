using System.Buffers;
using System.Collections.Concurrent;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;

namespace Hub.Transcoding.Json;

/// <summary>
/// Converts between messages and JSON in one style, by plans compiled once per message type. Reading accepts every style: JSON
/// names, camelCase and proto names, numbers as text and text as numbers, long and short enum names; unknown fields are ignored,
/// null means unset, the last of several equal names wins. Thread-safe.
/// </summary>
/// <param name="style">How messages are written.</param>
/// <param name="types">The messages that may travel in an Any.</param>
public sealed class JsonCodec(JsonStyle style, TypeRegistry types)
{
    /// <summary>Deepest nesting of objects and arrays that is read; protobuf's own limit for messages.</summary>
    public const int DepthMax = 100;

    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = DepthMax };

    // Plans are correct by construction, so the writer need not check their calls. Answers are never embedded in HTML, so only
    // what JSON itself demands is escaped.
    internal static readonly JsonWriterOptions WriterOptions = new() { SkipValidation = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    [ThreadStatic]
    private static Utf8JsonWriter? _idleWriter;

    private readonly ConcurrentDictionary<MessageDescriptor, IMessageCodec> _messages = new();

    internal JsonStyle Style => style;

    internal TypeRegistry Types => types;

    /// <summary>Writes a message as UTF-8 JSON.</summary>
    public void Write(IMessage message, IBufferWriter<byte> output)
    {
        ArgumentNullException.ThrowIfNull(message);
        var writer = _idleWriter ?? new Utf8JsonWriter(output, WriterOptions);
        _idleWriter = null; // A writer that threw is not used again.
        writer.Reset(output);
        For(message.Descriptor).Write(writer, message);
        writer.Flush();
        _idleWriter = writer;
    }

    /// <summary>Writes a message as JSON text.</summary>
    public string Format(IMessage message)
    {
        var output = new ArrayBufferWriter<byte>();
        Write(message, output);
        return Encoding.UTF8.GetString(output.WrittenSpan);
    }

    /// <summary>Reads a message from JSON text.</summary>
    /// <exception cref="JsonInputException">The text is not JSON or does not fit the message.</exception>
    public T Parse<T>(string json)
        where T : IMessage, new()
    {
        var message = new T();
        Merge(Encoding.UTF8.GetBytes(json), message);
        return message;
    }

    /// <summary>Reads UTF-8 JSON into a message. Text that no store can hold is mended first, in place in the given buffer.</summary>
    /// <exception cref="JsonInputException">The text is not JSON or does not fit the message.</exception>
    public void Merge(Span<byte> json, IMessage message)
    {
        ArgumentNullException.ThrowIfNull(message);
        var codec = For(message.Descriptor);
        ReadDocument(json, (ref reader) => codec.Merge(ref reader, message));
    }

    internal delegate void ReadValue(ref Utf8JsonReader reader);

    /// <summary>Runs the one reader of a whole JSON text and turns its complaints into ours.</summary>
    internal static void ReadDocument(Span<byte> json, ReadValue read)
    {
        var reader = new Utf8JsonReader(TextCleaner.Clean(json), ReaderOptions);
        try
        {
            reader.Read();
            read(ref reader);
            if (reader.Read())
            {
                throw new JsonInputException("more than one JSON value");
            }
        }
        catch (JsonException error)
        {
            throw JsonInputException.Syntax(error);
        }
    }

    internal IMessageCodec For(MessageDescriptor descriptor) => _messages.GetOrAdd(descriptor, static (type, self) => self.CreateMessage(type), this);

    internal FieldCodec<TMessage> CreateField<TMessage>(FieldDescriptor field)
        where TMessage : class, IMessage<TMessage>
    {
        if (field.IsMap)
        {
            var key = field.MessageType.FindFieldByNumber(1);
            var value = field.MessageType.FindFieldByNumber(2);
            return Instance<FieldCodec<TMessage>>(
                typeof(MapField<,,>), [typeof(TMessage), ValueType(key), ValueType(value)], field, style, ValueCodecOf(value));
        }

        return Instance<FieldCodec<TMessage>>(
            field.IsRepeated ? typeof(ListField<,>) : typeof(SingularField<,>), [typeof(TMessage), ValueType(field)], field, style, ValueCodecOf(field));
    }

    private static T Instance<T>(System.Type generic, System.Type[] arguments, params object[] parameters) =>
        (T)Activator.CreateInstance(generic.MakeGenericType(arguments), parameters)!;

    private IMessageCodec CreateMessage(MessageDescriptor type)
    {
        if (IsWrapper(type))
        {
            return Instance<IMessageCodec>(typeof(WrapperCodec<>), [type.ClrType], type, this);
        }

        return type.FullName switch
        {
            "google.protobuf.Timestamp" => new TimestampCodec(),
            "google.protobuf.Duration" => new DurationCodec(),
            "google.protobuf.FieldMask" => new FieldMaskCodec(style),
            "google.protobuf.Struct" => new StructCodec(),
            "google.protobuf.Value" => new JsonValueCodec(),
            "google.protobuf.ListValue" => new ListValueCodec(),
            "google.protobuf.Any" => new AnyCodec(this),
            _ => Instance<IMessageCodec>(typeof(ObjectCodec<>), [type.ClrType], type, this),
        };
    }

    // The C# type that generated code shows for one value of the field.
    private static System.Type ValueType(FieldDescriptor field) => field.FieldType switch
    {
        FieldType.Bool => typeof(bool),
        FieldType.Int32 or FieldType.SInt32 or FieldType.SFixed32 => typeof(int),
        FieldType.Int64 or FieldType.SInt64 or FieldType.SFixed64 => typeof(long),
        FieldType.UInt32 or FieldType.Fixed32 => typeof(uint),
        FieldType.UInt64 or FieldType.Fixed64 => typeof(ulong),
        FieldType.Double => typeof(double),
        FieldType.Float => typeof(float),
        FieldType.String => typeof(string),
        FieldType.Bytes => typeof(ByteString),
        FieldType.Enum => field.EnumType.ClrType,
        FieldType.Message when WrappedField(field) is { } inner =>
            ValueType(inner) is { IsValueType: true } type ? typeof(Nullable<>).MakeGenericType(type) : ValueType(inner),
        FieldType.Message => field.MessageType.ClrType,
        _ => throw new NotSupportedException($"{field.FullName}: groups have no JSON form."),
    };

    private object ValueCodecOf(FieldDescriptor field)
    {
        switch (field.FieldType)
        {
            case FieldType.Bool:
                return new BoolCodec();
            case FieldType.Int32 or FieldType.SInt32 or FieldType.SFixed32:
                return new IntegerCodec<int>("a 32-bit integer", asText: false);
            case FieldType.Int64 or FieldType.SInt64 or FieldType.SFixed64:
                return new IntegerCodec<long>("a 64-bit integer", asText: !style.Int64AsNumber);
            case FieldType.UInt32 or FieldType.Fixed32:
                return new IntegerCodec<uint>("an unsigned 32-bit integer", asText: false);
            case FieldType.UInt64 or FieldType.Fixed64:
                return new IntegerCodec<ulong>("an unsigned 64-bit integer", asText: !style.Int64AsNumber);
            case FieldType.Double:
                return new DoubleCodec();
            case FieldType.Float:
                return new FloatCodec();
            case FieldType.String:
                return new StringCodec();
            case FieldType.Bytes:
                return new BytesCodec();
            case FieldType.Enum:
                return Instance<object>(typeof(EnumCodec<>), [field.EnumType.ClrType], field.EnumType, style);
            case FieldType.Message when WrappedField(field) is { } inner:
                return ValueType(inner) is { IsValueType: true } type
                    ? Instance<object>(typeof(NullableCodec<>), [type], ValueCodecOf(inner))
                    : ValueCodecOf(inner);
            default:
                return For(field.MessageType);
        }
    }

    // The value field of a wrapper message; null for all other messages.
    private static FieldDescriptor? WrappedField(FieldDescriptor field) =>
        IsWrapper(field.MessageType) ? field.MessageType.FindFieldByNumber(1) : null;

    private static bool IsWrapper(MessageDescriptor type) => type.File == WrappersReflection.Descriptor;
}
