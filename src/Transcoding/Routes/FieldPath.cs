using System.Text.Json;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;

namespace Hub.Transcoding.Routes;

/// <summary>A field of a message, or of a message inside it, named like <c>a.b.c</c>.</summary>
internal sealed class FieldPath
{
    private readonly IFieldCodec[] _fields;
    private readonly string _name;

    private FieldPath(IFieldCodec[] fields)
    {
        _fields = fields;
        _name = string.Join('.', fields.Select(field => field.Descriptor.JsonName));
    }

    public IFieldCodec Field => _fields[^1];

    /// <summary>Finds a path by JSON or proto names; null where a name is not known or stands behind something else than a message.</summary>
    public static FieldPath? Find(JsonCodec codec, MessageDescriptor type, string path)
    {
        var names = path.Split('.');
        var fields = new IFieldCodec[names.Length];
        var message = codec.For(type);
        for (var i = 0; i < names.Length; i++)
        {
            if (message?.Find(names[i]) is not { } field)
            {
                return null;
            }

            fields[i] = field;
            message = field.Message;
        }

        return new FieldPath(fields);
    }

    /// <summary>Finds a path that an option of a contract names; a wrong name is a fault of the contract and stops the start.</summary>
    public static FieldPath Require(JsonCodec codec, MessageDescriptor type, string path, string use) =>
        Find(codec, type, path) ?? throw new InvalidOperationException($"{use}: {type.FullName} has no field {path}.");

    /// <summary>The path in the names that a style writes.</summary>
    public string NameIn(JsonStyle style) => string.Join('.', _fields.Select(field => style.NameOf(field.Descriptor)));

    /// <summary>Whether this field is the other one or lies inside it.</summary>
    public bool IsWithin(FieldPath other) =>
        _fields.Length >= other._fields.Length && _fields.AsSpan(0, other._fields.Length).SequenceEqual(other._fields);

    /// <summary>Sets the field, or adds to it if it is a list, and makes the messages on the way to it.</summary>
    public void ReadText(string text, IMessage message)
    {
        // A parameter without a value, as forms send it, leaves everything but text unset.
        if (text.Length == 0 && Field.Descriptor.FieldType is not (FieldType.String or FieldType.Bytes))
        {
            return;
        }

        try
        {
            Field.ReadText(text, Owner(message));
        }
        catch (JsonInputException error) when (error.Under(_name))
        {
            throw; // Never reached: the filter only completes the path.
        }
    }

    /// <summary>The message that holds the field, made if it is missing.</summary>
    public IMessage Owner(IMessage message)
    {
        foreach (var field in _fields.AsSpan(0, _fields.Length - 1))
        {
            var accessor = field.Descriptor.Accessor;
            if (accessor.GetValue(message) is not IMessage next)
            {
                next = field.Message!.Create();
                accessor.SetValue(message, next);
            }

            message = next;
        }

        return message;
    }

    /// <summary>Writes the field's value; null where a message on the way to it is unset.</summary>
    public void WriteValue(Utf8JsonWriter writer, IMessage message)
    {
        IMessage? owner = message;
        foreach (var field in _fields.AsSpan(0, _fields.Length - 1))
        {
            owner = owner is null ? null : field.Descriptor.Accessor.GetValue(owner) as IMessage;
        }

        if (owner is null)
        {
            writer.WriteNullValue();
        }
        else
        {
            Field.WriteValue(writer, owner);
        }
    }

    /// <summary>The field's value; null where a message on the way to it is unset.</summary>
    public object? Value(IMessage message)
    {
        object? value = message;
        foreach (var field in _fields)
        {
            if (value is not IMessage owner)
            {
                return null;
            }

            value = field.Descriptor.Accessor.GetValue(owner);
        }

        return value;
    }
}
