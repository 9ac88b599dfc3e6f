using System.Reflection;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Json;

/// <summary>Finds the C# property of a field. Typed access through it needs no boxing, unlike the descriptors' accessors.</summary>
internal static class GeneratedProperties
{
    public static PropertyInfo Find<TMessage>(FieldDescriptor descriptor)
    {
        // Descriptors do not tell the property's name, but generated code has a constant {Property}FieldNumber for every field.
        const string Suffix = "FieldNumber";
        var constant = typeof(TMessage).GetFields(BindingFlags.Public | BindingFlags.Static | BindingFlags.DeclaredOnly)
            .Single(field => field.IsLiteral && field.Name.EndsWith(Suffix, StringComparison.Ordinal)
                && field.GetRawConstantValue() is int number && number == descriptor.FieldNumber);
        return typeof(TMessage).GetProperty(constant.Name[..^Suffix.Length])!;
    }
}
