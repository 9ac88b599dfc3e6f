using System.Globalization;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.Benchmarks;

/// <summary>What nodes send all day, in the sizes they send it.</summary>
internal static class JsonBodies
{
    private const long Now = 1_767_225_600_000;
    private const int Agents = 6;
    private const int Tasks = 200;

    /// <summary>As reflectt-node sends it every 30 s.</summary>
    public static HeartbeatRequest Heartbeat()
    {
        var heartbeat = new HeartbeatRequest
        {
            HostId = "host_0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a",
            ContractVersion = Value.ForString("host-heartbeat.v1"),
            Status = "online",
            Timestamp = Now,
            Metrics = Of(
                ("totalRequests", 48_211), ("totalErrors", 12), ("rps", 3.25),
                ("rolling", Of(("requests", 811), ("errors", 3), ("errorRate", 0.37), ("windowMinutes", 15)))),
            RequestCounts = Of(("total", 48_211), ("errors", 12), ("windowMs", 900_000), ("errorRatePct", 0.37)),
            Source = Of(
                ("hostId", "host_0197a3c2-7d10-7a41-9a40-5f6f4c1d2e3a"), ("hostName", "build-box-3"), ("hostType", "linux"), ("uptimeMs", 86_400_000)),
        };
        for (var i = 0; i < Agents; i++)
        {
            heartbeat.Agents.Add(Of(
                ("id", $"agent-{i}"), ("name", $"agent-{i}"), ("status", "active"), ("currentTaskId", $"task-{Now}-{i}"),
                ("lastSeenAt", Now - 1_200), ("lastObservedAt", Now - 800), ("taskCounts", Of(("todo", 4), ("doing", 1), ("blocked", 0)))));
            heartbeat.ActiveTasks.Add(Of(
                ("id", $"task-{Now}-{i}"), ("title", "Review the storage layer"), ("status", "doing"), ("assignee", $"agent-{i}"),
                ("priority", "P1"), ("updatedAt", Now - 60_000)));
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
                Struct inner => Value.ForStruct(inner),
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
