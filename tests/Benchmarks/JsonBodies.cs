using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.Benchmarks;

/// <summary>What nodes send all day, in the sizes they send it.</summary>
internal static class JsonBodies
{
    private const int Agents = 6;
    private const int Tasks = 200;

    public static HeartbeatRequest Heartbeat()
    {
        var heartbeat = new HeartbeatRequest
        {
            HostId = "host_0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a",
            ContractVersion = Value.ForString("host-heartbeat.v1"),
            Status = "online",
            Timestamp = 1_767_225_600_000,
            Metrics = Of(("totalRequests", 48_211), ("totalErrors", 12), ("rps", 3.25), ("uptimeMs", 86_400_000)),
            RequestCounts = Of(("/tasks", 1200), ("/chat/messages", 811), ("/heartbeat", 4200)),
            Source = Of(("hostname", "build-box-3"), ("version", "0.1.34"), ("platform", "linux")),
        };
        for (var i = 0; i < Agents; i++)
        {
            heartbeat.Agents.Add(Of(("name", $"agent-{i}"), ("status", "working"), ("task", $"task-{i}"), ("lastSeen", 1_767_225_599_000 + i), ("idle", false)));
            heartbeat.ActiveTasks.Add(Of(("id", $"task-{i}"), ("title", "Review the storage layer"), ("assignee", $"agent-{i}"), ("priority", "P1")));
        }

        return heartbeat;
    }

    public static SyncTasksRequest TaskSync()
    {
        var sync = new SyncTasksRequest { HostId = "host_0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a" };
        for (var i = 0; i < Tasks; i++)
        {
            sync.Tasks.Add(new HostTask
            {
                Id = string.Create(CultureInfo.InvariantCulture, $"task-1767225600000-{i:x8}"),
                Title = "Make the link resume where it stopped, also after the disk was full",
                Status = i % 3 == 0 ? "doing" : "todo",
                Assignee = $"agent-{i % 6}",
                Priority = "P2",
                UpdatedAt = "2026-01-01T00:00:00.000Z",
                CreatedAt = "2025-12-31T12:00:00.000Z",
                Description = "The outbox keeps what was not acknowledged. \"Full\" means refused, never lost; see the protocol.",
                Reviewer = "agent-5",
                DoneCriteria = { "the test is green", "nothing is sent twice" },
                Tags = { "link", "storage" },
                Metadata = Of(("lane", "core"), ("attempt", i), ("blocked", false)),
            });
        }

        return sync;
    }

    private static Struct Of(params (string Name, object Value)[] members)
    {
        var result = new Struct();
        foreach (var (name, value) in members)
        {
            result.Fields[name] = value switch
            {
                string text => Value.ForString(text),
                bool flag => Value.ForBool(flag),
                _ => Value.ForNumber(Convert.ToDouble(value, CultureInfo.InvariantCulture)),
            };
        }

        return result;
    }
}

/// <summary>The same shapes as plain classes, for System.Text.Json.</summary>
internal sealed record HeartbeatBody
{
    public string? HostId { get; init; }

    public object? ContractVersion { get; init; }

    public string? Status { get; init; }

    public long Timestamp { get; init; }

    public List<Dictionary<string, object?>>? Agents { get; init; }

    public List<Dictionary<string, object?>>? ActiveTasks { get; init; }

    public List<Dictionary<string, object?>>? SlowTasks { get; init; }

    public Dictionary<string, object?>? Metrics { get; init; }

    public Dictionary<string, object?>? RequestCounts { get; init; }

    public Dictionary<string, object?>? Source { get; init; }
}

internal sealed record TaskSyncBody
{
    public string? HostId { get; init; }

    public List<TaskBody>? Tasks { get; init; }
}

internal sealed record TaskBody
{
    public string? Id { get; init; }

    public string? Title { get; init; }

    public string? Status { get; init; }

    public string? Assignee { get; init; }

    public string? Priority { get; init; }

    public string? UpdatedAt { get; init; }

    public string? Description { get; init; }

    public string? Reviewer { get; init; }

    public string? CreatedAt { get; init; }

    public string? CreatedBy { get; init; }

    public List<string>? DoneCriteria { get; init; }

    public List<string>? BlockedBy { get; init; }

    public List<string>? Tags { get; init; }

    public Dictionary<string, object?>? Metadata { get; init; }

    public long Version { get; init; }
}
