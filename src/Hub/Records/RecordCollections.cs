using System.Collections.Frozen;
using Hub.Contracts.V1;
using Hub.Usage;

namespace Hub.Records;

/// <summary>All collections the Hub syncs.</summary>
internal static class RecordCollections
{
    public static readonly RecordCollection Tasks =
        new(Collection.Tasks, "tasks", WatchKind.Task, WatchKind.TaskDeleted, HostTask.Descriptor)
        {
            HistoryIn = ["done", "cancelled", "resolved_externally"],
            Status = "status",
            Agent = "assignee",
            Level = "priority",
        };

    public static readonly RecordCollection TaskComments =
        new(Collection.TaskComments, "task_comments", WatchKind.TaskComment, WatchKind.TaskCommentDeleted, TaskComment.Descriptor)
        {
            HistoryIn = [],
            Agent = "author",
            Parent = "task_id",
            ChangedAt = "timestamp",
        };

    public static readonly RecordCollection Reflections =
        new(Collection.Reflections, "reflections", WatchKind.Reflection, WatchKind.ReflectionDeleted, Reflection.Descriptor)
        {
            HistoryIn = [],
            Agent = "author",
            Level = "severity",
            ChangedAt = "updated_at",
        };

    public static readonly RecordCollection Insights =
        new(Collection.Insights, "insights", WatchKind.Insight, WatchKind.InsightDeleted, Insight.Descriptor)
        {
            HistoryIn = ["closed"],
            Status = "status",
            Level = "priority",
            ChangedAt = "updated_at",
        };

    public static readonly RecordCollection Runs =
        new(Collection.Runs, "runs", WatchKind.Run, WatchKind.RunDeleted, AgentRun.Descriptor)
        {
            HistoryIn = ["completed", "failed", "cancelled", "archived"],
            Status = "status",
            Agent = "agent_id",
            ChangedAt = "updated_at",
        };

    public static readonly RecordCollection RunEvents =
        new(Collection.RunEvents, "run_events", WatchKind.RunEvent, WatchKind.RunEventDeleted, RunEvent.Descriptor)
        {
            HistoryIn = [],
            IsLog = true,
            Status = "type",
            Agent = "agent_id",
            Parent = "run_id",
            ChangedAt = "created_at",
        };

    public static readonly RecordCollection TrustEvents =
        new(Collection.TrustEvents, "trust_events", WatchKind.TrustEvent, WatchKind.TrustEventDeleted, TrustEvent.Descriptor)
        {
            HistoryIn = [],
            IsLog = true,
            Agent = "agent_id",
            Level = "severity",
            ChangedAt = "emitted_at",
        };

    public static readonly RecordCollection RunApprovals =
        new(Collection.RunApprovals, "run_approvals", WatchKind.RunApproval, WatchKind.RunApprovalDeleted, RunApproval.Descriptor, "event_id")
        {
            Agent = "agent_id",
            Level = "urgency",
            Parent = "run_id",
        };

    public static readonly RecordCollection Contexts =
        new(Collection.Contexts, "contexts", WatchKind.Context, WatchKind.ContextDeleted, AgentContext.Descriptor, "agent")
        {
            ChangedAt = "computed_at",
        };

    public static readonly RecordCollection UsageSnapshots =
        new(Collection.Usage, "usage", WatchKind.Usage, WatchKind.UsageDeleted, UsageSnapshot.Descriptor)
        {
            IsPermanent = true,
            Derive = UsageLedger.Add,
        };

    public static readonly IReadOnlyList<RecordCollection> All =
        [Tasks, TaskComments, Reflections, Insights, Runs, RunEvents, TrustEvents, RunApprovals, Contexts, UsageSnapshots];

    private static readonly FrozenDictionary<Collection, RecordCollection> ByCollection = All.ToFrozenDictionary(item => item.Collection);
    private static readonly FrozenDictionary<string, RecordCollection> ByName = All.ToFrozenDictionary(item => item.Name, StringComparer.Ordinal);
    private static readonly FrozenDictionary<WatchKind, RecordCollection> ByKind = All.ToFrozenDictionary(item => item.Changed);

    /// <summary>Null for one the Hub does not know.</summary>
    public static RecordCollection? Find(Collection collection) => ByCollection.GetValueOrDefault(collection);

    /// <summary>The collection whose changes have the kind, or null.</summary>
    public static RecordCollection? Find(WatchKind changed) => ByKind.GetValueOrDefault(changed);

    public static RecordCollection Named(string name) => ByName[name];
}
