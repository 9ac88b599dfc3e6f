using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;

namespace Hub.Transcoding.Routes;

/// <summary>
/// The field mask of a PATCH that sends none: every field that its body names, as deep as there are messages. Lists, maps and
/// messages with a JSON form of their own count as a whole; a null is a field to be cleared.
/// </summary>
internal static class ImpliedMask
{
    public static void Read(ref Utf8JsonReader reader, IMessageCodec type, FieldMask mask, string prefix = "")
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            return; // The body itself is null.
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndObject)
        {
            var field = type.Find(reader.GetString()!);
            reader.Read();
            if (field is null)
            {
                reader.Skip();
                continue;
            }

            var path = prefix + field.Descriptor.Name;
            if (reader.TokenType == JsonTokenType.StartObject && field.Message is IObjectCodec message)
            {
                var count = mask.Paths.Count;
                Read(ref reader, message, mask, $"{path}.");
                if (mask.Paths.Count > count)
                {
                    continue;
                }
            }
            else
            {
                reader.Skip();
            }

            if (!mask.Paths.Contains(path))
            {
                mask.Paths.Add(path);
            }
        }
    }
}
