using System.Text.Json.Nodes;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;

namespace Hub.Transcoding.OpenApi;

/// <summary>JSON Schemas of messages, one component for every message and style that the document speaks of.</summary>
internal sealed class OpenApiSchemas(ProtoComments comments)
{
    private readonly SortedDictionary<string, JsonNode> _components = new(StringComparer.Ordinal);
    private readonly Dictionary<(string Message, JsonStyle Style), string> _names = [];

    public JsonObject Components => new(_components.Select(entry => KeyValuePair.Create<string, JsonNode?>(entry.Key, entry.Value)));

    /// <summary>Adds a component that no message stands for.</summary>
    public JsonObject Reference(string name, Func<JsonObject> create)
    {
        if (!_components.ContainsKey(name))
        {
            _components[name] = create();
        }

        return ReferenceTo(name);
    }

    /// <summary>What a message looks like: its own JSON form, or a reference to its component.</summary>
    public JsonObject Message(MessageDescriptor type, RestSurface surface)
    {
        if (OwnForm(type, surface) is { } form)
        {
            return form;
        }

        if (!_names.TryGetValue((type.FullName, surface.Codec.Style), out var name))
        {
            // The same message may look different on another surface.
            name = type.FullName;
            for (var i = 2; _names.ContainsValue(name); i++)
            {
                name = $"{type.FullName}-{i}";
            }

            _names.Add((type.FullName, surface.Codec.Style), name);
            _components[name] = Object(type, surface, []);
        }

        return ReferenceTo(name);
    }

    /// <summary>A message as an object without some of its fields, which travel elsewhere.</summary>
    public JsonObject Object(MessageDescriptor type, RestSurface surface, IReadOnlyCollection<FieldDescriptor> without)
    {
        var properties = new JsonObject();
        foreach (var field in type.Fields.InDeclarationOrder().Except(without))
        {
            properties[surface.Codec.Style.NameOf(field)] = Field(field, surface);
        }

        var schema = new JsonObject { ["type"] = "object" };
        Describe(schema, type);
        if (properties.Count > 0)
        {
            schema["properties"] = properties;
        }

        return schema;
    }

    public JsonObject Field(FieldDescriptor field, RestSurface surface)
    {
        JsonObject schema;
        if (field.IsMap)
        {
            schema = new JsonObject { ["type"] = "object", ["additionalProperties"] = Value(field.MessageType.FindFieldByNumber(2), surface) };
        }
        else if (field.IsRepeated)
        {
            schema = new JsonObject { ["type"] = "array", ["items"] = Value(field, surface) };
        }
        else
        {
            schema = Value(field, surface);
            if (surface.Options.ExplicitNulls && field.HasPresence && field.RealContainingOneof is null)
            {
                schema = OrNull(schema);
            }
        }

        Describe(schema, field);
        return schema;
    }

    public static JsonObject OrNull(JsonObject schema)
    {
        if (schema["type"] is JsonValue type && !schema.ContainsKey("enum"))
        {
            schema["type"] = new JsonArray((string)type!, "null");
            return schema;
        }

        return schema.ContainsKey("type") || schema.ContainsKey("$ref") ? new JsonObject { ["anyOf"] = new JsonArray(schema, new JsonObject { ["type"] = "null" }) } : schema;
    }

    private JsonObject Value(FieldDescriptor field, RestSurface surface) => field.FieldType switch
    {
        FieldType.Bool => Type("boolean"),
        FieldType.Int32 or FieldType.SInt32 or FieldType.SFixed32 => Type("integer", "int32"),
        FieldType.UInt32 or FieldType.Fixed32 => Type("integer", "uint32"),
        FieldType.Int64 or FieldType.SInt64 or FieldType.SFixed64 => Type(surface.Options.Int64AsNumber ? "integer" : "string", "int64"),
        FieldType.UInt64 or FieldType.Fixed64 => Type(surface.Options.Int64AsNumber ? "integer" : "string", "uint64"),
        FieldType.Float => Type("number", "float"),
        FieldType.Double => Type("number", "double"),
        FieldType.String => Type("string"),
        FieldType.Bytes => new JsonObject { ["type"] = "string", ["contentEncoding"] = "base64" },
        FieldType.Enum => Enum(field.EnumType, surface),
        _ => Message(field.MessageType, surface),
    };

    private JsonObject Enum(EnumDescriptor type, RestSurface surface)
    {
        if (type.FullName == "google.protobuf.NullValue")
        {
            return Type("null");
        }

        var values = type.Values.Select(value => surface.Options.ShortEnumValues ? EnumNames.Short(value) : value.Name).Distinct();
        var schema = new JsonObject { ["type"] = "string", ["enum"] = new JsonArray([.. values.Select(value => JsonValue.Create(value))]) };
        Describe(schema, type);
        return schema;
    }

    // Messages that are not written as objects of their fields.
    private JsonObject? OwnForm(MessageDescriptor type, RestSurface surface)
    {
        if (type.File.Name == "google/protobuf/wrappers.proto")
        {
            return OrNull(Value(type.FindFieldByNumber(1), surface));
        }

        return type.FullName switch
        {
            "google.protobuf.Timestamp" => Type("string", "date-time"),
            "google.protobuf.Duration" => new JsonObject { ["type"] = "string", ["pattern"] = "^-?[0-9]+(\\.[0-9]{1,9})?s$" },
            "google.protobuf.FieldMask" => Type("string"),
            "google.protobuf.Struct" => new JsonObject { ["type"] = "object", ["additionalProperties"] = true },
            "google.protobuf.ListValue" => new JsonObject { ["type"] = "array", ["items"] = new JsonObject() },
            "google.protobuf.Value" => [],
            "google.protobuf.Any" => new JsonObject
            {
                ["type"] = "object",
                ["properties"] = new JsonObject { ["@type"] = Type("string") },
                ["required"] = new JsonArray("@type"),
                ["additionalProperties"] = true,
            },
            _ => null,
        };
    }

    // A property's own comment says more than its type's.
    private void Describe(JsonObject schema, IDescriptor descriptor)
    {
        if (comments.Of(descriptor) is { Length: > 0 } comment)
        {
            schema["description"] = comment;
        }
    }

    private static JsonObject ReferenceTo(string name) => new() { ["$ref"] = $"#/components/schemas/{name}" };

    private static JsonObject Type(string type, string? format = null)
    {
        var schema = new JsonObject { ["type"] = type };
        if (format is not null)
        {
            schema["format"] = format;
        }

        return schema;
    }
}
