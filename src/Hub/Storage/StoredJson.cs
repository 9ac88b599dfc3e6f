using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Hub.Storage;

/// <summary>Free JSON as opaque text columns.</summary>
internal static class StoredJson
{
    private static readonly JsonFormatter Formatter = new(JsonFormatter.Settings.Default);
    private static readonly JsonParser Parser = new(JsonParser.Settings.Default.WithIgnoreUnknownFields(true));

    public static string Write(IMessage? message) => message is null ? "" : Formatter.Format(message);

    public static Struct? ReadStruct(string? text) => string.IsNullOrEmpty(text) ? null : Parser.Parse<Struct>(text);

    public static Value? ReadValue(string? text) => string.IsNullOrEmpty(text) ? null : Parser.Parse<Value>(text);
}
