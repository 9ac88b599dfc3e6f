using System.Text.Json.Nodes;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;

namespace Hub.AgentClient.Internal;

/// <summary>Between the JSON the application sees and the protobuf values that travel.</summary>
internal static class Json
{
    public static JsonObject ToJson(Struct value) => JsonNode.Parse(JsonFormatter.Default.Format(value))!.AsObject();

    public static Value ToValue(JsonNode node) => Value.Parser.ParseJson(node.ToJsonString());

    public static Struct ToStruct(JsonObject node) => Struct.Parser.ParseJson(node.ToJsonString());
}
