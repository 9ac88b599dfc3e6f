using System.Text.Json;

namespace Hub.Benchmarks.Swarm;

/// <summary>Common to the commands that start a swarm.</summary>
/// <param name="Store">sqlite or postgres.</param>
/// <param name="Links">Nodes, each with a link.</param>
/// <param name="JsonPath">Where the figures go as JSON; null for nowhere.</param>
internal sealed record SwarmOptions(string Store, int Links, string? JsonPath)
{
    public async Task WriteAsync(object figures)
    {
        if (JsonPath is not null)
        {
            await File.WriteAllTextAsync(JsonPath, JsonSerializer.Serialize(new { machine = Machine.Describe(), store = Store, links = Links, figures }, SwarmPlan.Json));
        }
    }
}
