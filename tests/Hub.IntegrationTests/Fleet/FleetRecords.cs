using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Hub.IntegrationTests.Fleet;

/// <summary>A collection as node and Hub both can show it.</summary>
/// <param name="List">Where the Hub lists it, below the host.</param>
/// <param name="Items">The list's field.</param>
/// <param name="Fields">What is compared; the first is the id.</param>
internal sealed record FleetCollection(string Name, string List, string Items, params string[] Fields)
{
    public string IdOf(JsonNode record) => record[Fields[0]]!.GetValue<string>();

    /// <summary>A line per record, in the order of their ids.</summary>
    public IReadOnlyList<string> Lines(IEnumerable<JsonNode> records) =>
        [.. records.Select(record => string.Join('|', Fields.Select(field => TextOf(record[field])))).Order(StringComparer.Ordinal)];

    public static string HashOf(IEnumerable<string> lines) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', lines))))[..16];

    /// <summary>Numbers by their value and objects by their text, whoever wrote them.</summary>
    private static string TextOf(JsonNode? value) => value?.GetValueKind() switch
    {
        null or JsonValueKind.Null => "",
        JsonValueKind.Number => double.Parse(value.ToJsonString(), CultureInfo.InvariantCulture).ToString("R", CultureInfo.InvariantCulture),
        JsonValueKind.String => value.GetValue<string>(),
        _ => value.ToJsonString(),
    };
}

/// <summary>The records a node holds: they change in place and stay few, so that whatever grows is not theirs.</summary>
internal sealed class FleetRecords
{
    public const string RunId = "arun-1";

    public static readonly FleetCollection Tasks = new("tasks", "tasks", "tasks", "id", "title", "status", "assignee", "priority", "updatedAt");

    public static readonly FleetCollection Reflections =
        new("reflections", "reflections", "reflections", "id", "pain", "confidence", "severity", "author", "updatedAt");

    public static readonly FleetCollection Insights =
        new("insights", "insights", "insights", "id", "title", "status", "score", "priority", "updatedAt");

    public static readonly FleetCollection Runs = new("runs", "runs", "runs", "id", "agentId", "objective", "status", "costUsd", "updatedAt");

    public static readonly FleetCollection RunEvents =
        new("run_events", $"runs/{RunId}/events", "events", "id", "type", "agentId", "runId", "payload", "createdAt");

    public static readonly FleetCollection TrustEvents =
        new("trust_events", "trust-events", "events", "id", "agentId", "type", "severity", "summary", "metadata", "emittedAt");

    public static readonly FleetCollection Approvals =
        new("run_approvals", "run-approvals", "items", "eventId", "agentId", "title", "urgency");

    public static readonly FleetCollection Contexts = new("contexts", "context", "contexts", "agent", "computedAt");

    public static readonly FleetCollection Chat = new("chat", "chat", "messages", "id", "from", "content", "channel", "timestamp");

    public static readonly IReadOnlyList<FleetCollection> All =
        [Tasks, Reflections, Insights, Runs, RunEvents, TrustEvents, Approvals, Contexts, Chat];

    private readonly Dictionary<string, SortedDictionary<string, JsonObject>> _records =
        All.ToDictionary(collection => collection.Name, _ => new SortedDictionary<string, JsonObject>(StringComparer.Ordinal));

    public IReadOnlyCollection<JsonObject> this[FleetCollection collection] => _records[collection.Name].Values;

    public void Put(FleetCollection collection, JsonObject record) => _records[collection.Name][collection.IdOf(record)] = record;

    public void Remove(FleetCollection collection, string id) => _records[collection.Name].Remove(id);

    public IReadOnlyList<JsonObject> Of(FleetCollection collection, IEnumerable<string> ids) =>
        [.. ids.Where(_records[collection.Name].ContainsKey).Select(id => _records[collection.Name][id])];
}
