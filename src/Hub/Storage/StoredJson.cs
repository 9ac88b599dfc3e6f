using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;

namespace Hub.Storage;

/// <summary>Free JSON as opaque text columns.</summary>
internal static class StoredJson
{
    // What is written is compared with what was stored, so its text stays as it is; what is read only has to be read quickly.
    private static readonly JsonFormatter Formatter = new(JsonFormatter.Settings.Default);
    private static readonly JsonCodec Codec = new(JsonStyle.Default, TypeRegistry.Empty);

    public static string Write(IMessage? message) => message is null ? "" : Formatter.Format(message);

    public static Struct? ReadStruct(string? text) => string.IsNullOrEmpty(text) ? null : Codec.Parse<Struct>(text);

    public static Value? ReadValue(string? text) => string.IsNullOrEmpty(text) ? null : Codec.Parse<Value>(text);
}
