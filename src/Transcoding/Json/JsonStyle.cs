using Google.Protobuf.Reflection;
using Hub.Options.V1;

namespace Hub.Transcoding.Json;

/// <summary>How one REST surface writes messages as JSON. Reading accepts every style at once.</summary>
public sealed record JsonStyle
{
    /// <summary>The plain proto3 JSON mapping.</summary>
    public static JsonStyle Default { get; } = new();

    /// <summary>Fields are written under their proto names instead of lowerCamelCase; an explicit json_name still wins.</summary>
    public bool ProtoFieldNames { get; init; }

    /// <summary>64-bit integers are written as JSON numbers instead of strings.</summary>
    public bool Int64AsNumber { get; init; }

    /// <summary>Scalars without presence are written at their default, and empty lists and maps are written.</summary>
    public bool WriteDefaults { get; init; }

    /// <summary>Unset messages and unset optional scalars are written as null; members of a oneof never are.</summary>
    public bool ExplicitNulls { get; init; }

    /// <summary>Enum values are written without the prefix that their type's name demands.</summary>
    public bool ShortEnumValues { get; init; }

    /// <summary>The name that answers carry for a field.</summary>
    internal string NameOf(FieldDescriptor field)
    {
        var hasOwnName = field.ToProto().HasJsonName; // Only an explicit json_name is in the descriptor.
        return ProtoFieldNames && !hasOwnName ? field.Name : field.JsonName;
    }

    internal static JsonStyle Of(Surface surface) => new()
    {
        ProtoFieldNames = surface.FieldNames == FieldNames.Proto,
        Int64AsNumber = surface.Int64AsNumber,
        WriteDefaults = surface.WriteDefaults,
        ExplicitNulls = surface.ExplicitNulls,
        ShortEnumValues = surface.ShortEnumValues,
    };
}
