using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Json;

/// <summary>A message as an object of its fields: the compiled plan of one message type in one style.</summary>
internal sealed class ObjectCodec<T>(MessageDescriptor descriptor, JsonCodec codec) : MessageCodec<T>, IObjectCodec
    where T : class, IMessage<T>, new()
{
    private readonly Lock _building = new();
    private volatile Plan? _plan;

    // Built at first use and not in the constructor, because message types may contain each other.
    private Plan Fields => _plan ?? Build();

    public override void Write(Utf8JsonWriter writer, T message)
    {
        writer.WriteStartObject();
        WriteFields(writer, message);
        writer.WriteEndObject();
    }

    private void WriteFields(Utf8JsonWriter writer, T message)
    {
        foreach (var field in Fields.InOrder)
        {
            field.Write(writer, message);
        }
    }

    void IObjectCodec.WriteFields(Utf8JsonWriter writer, IMessage message) => WriteFields(writer, (T)message);

    public override void Merge(ref Utf8JsonReader reader, T message)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            throw JsonInputException.Expected("an object", ref reader);
        }

        var plan = Fields;
        var next = 0;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var field = plan.Find(ref reader, ref next);
            reader.Read();
            if (field is null)
            {
                reader.Skip();
                continue;
            }

            try
            {
                field.Read(ref reader, message);
            }
            catch (JsonInputException error) when (error.Under(field.JsonName))
            {
                throw; // Never reached: the filter only completes the path.
            }
        }
    }

    public override IFieldCodec? Find(string name) => Fields.ByText.GetValueOrDefault(name);

    private Plan Build()
    {
        lock (_building)
        {
            return _plan ??= new Plan([.. descriptor.Fields.InDeclarationOrder().Select(codec.CreateField<T>)]);
        }
    }

    private sealed class Plan
    {
        private readonly Dictionary<byte[], FieldCodec<T>>.AlternateLookup<ReadOnlySpan<byte>> _byName;

        public Plan(FieldCodec<T>[] fields)
        {
            InOrder = fields;
            var byName = new Dictionary<byte[], FieldCodec<T>>(Utf8NameComparer.Instance);
            // Where names of different fields collide, the field's JSON name is the stronger claim.
            foreach (var name in new Func<FieldCodec<T>, string>[] { f => f.JsonName, f => FieldNaming.ToCamelCase(f.ProtoName), f => f.ProtoName })
            {
                foreach (var field in fields)
                {
                    ByText.TryAdd(name(field), field);
                }
            }

            foreach (var (name, field) in ByText)
            {
                byName.Add(System.Text.Encoding.UTF8.GetBytes(name), field);
            }

            _byName = byName.GetAlternateLookup<ReadOnlySpan<byte>>();
        }

        public FieldCodec<T>[] InOrder { get; }

        public Dictionary<string, FieldCodec<T>> ByText { get; } = new(StringComparer.Ordinal);

        /// <summary>Looks a property up; <paramref name="next"/> is a guess, since most writers keep the order of the fields.</summary>
        public FieldCodec<T>? Find(ref Utf8JsonReader reader, ref int next)
        {
            if (reader.ValueIsEscaped)
            {
                return ByText.GetValueOrDefault(reader.GetString()!);
            }

            var name = reader.ValueSpan;
            if (next < InOrder.Length && name.SequenceEqual(InOrder[next].Name.EncodedUtf8Bytes))
            {
                return InOrder[next++];
            }

            if (!_byName.TryGetValue(name, out var field))
            {
                return null;
            }

            next = field.Index + 1;
            return field;
        }
    }
}
