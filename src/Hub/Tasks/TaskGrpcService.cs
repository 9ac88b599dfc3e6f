using System.Globalization;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;
using Hub.Text;

namespace Hub.Tasks;

/// <summary>hub.v1.TaskService: tasks of nodes without a link, and of all hosts for reading; comments; the conflict ledger.</summary>
internal sealed class TaskGrpcService(
    Access access, Store store, RecordStore records, RecordIntake intake, RecordPages pages, ConflictLedger conflicts, NodeCalls calls, TimeProvider time)
    : TaskService.TaskServiceBase
{
    private const int CommentMax = 64 * 1024;

    public override async Task<SyncTasksResponse> SyncTasks(SyncTasksRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var now = time.NowMs() * 1000;
        var (taken, rejected, conflicting) = await intake.TakeAsync(
            host, RecordCollections.Tasks, request.Tasks, "tasks", context.CancellationToken,
            task => TryReadVersion(task.UpdatedAt, out var dated) ? dated : now); // A date nobody can read must not hold the task back.
        return new() { Ok = true, Synced = taken, Conflicts = { conflicting }, Rejected = { rejected } };
    }

    public override async Task<ListTasksResponse> ListTasks(ListTasksRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var filter = new RecordFilter(Status: request.Status, Agent: request.Assignee, Level: request.Priority);
        var (tasks, next) = await pages.ListAsync<HostTask>(
            host, RecordCollections.Tasks, filter, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Tasks = { tasks }, NextPageToken = next };
    }

    public override async Task<GetTaskResponse> GetTask(GetTaskRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var task = await pages.GetAsync<HostTask>(
            host, RecordCollections.Tasks, request.TaskId, context.CancellationToken, ErrorReason.TaskNotFound);
        return new() { Task = task };
    }

    public override async Task<UpdateTaskResponse> UpdateTask(UpdateTaskRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var task = await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                var stored = RecordPages.Get<HostTask>(tx, host, RecordCollections.Tasks, request.TaskId, ErrorReason.TaskNotFound);
                if (request.ExpectedVersion != 0 && request.ExpectedVersion != stored.Version)
                {
                    throw new HubException(
                        ErrorReason.VersionMismatch, "The task was changed meanwhile; read it again and repeat the change on what it is now.",
                        ("version", $"{stored.Version}"));
                }

                var changed = Changed(stored, CleanText.Of(request));
                changed.Version = RecordStore.NextVersion(tx, stored.Version);
                changed.UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(tx.NowMs).ToString("O");
                if (RecordCollections.Tasks.Fault(request.TaskId, changed) is { } fault)
                {
                    throw fault;
                }

                records.Apply(
                    tx, host.TeamId, host.HostId,
                    new RecordChange(RecordCollections.Tasks, request.TaskId, changed, changed.Version, null, RecordOrigin.Cloud));
                return changed;
            },
            context.CancellationToken);
        return new() { Task = task };
    }

    public override async Task<ListTaskCommentsResponse> ListTaskComments(ListTaskCommentsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var (comments, next) = await pages.ListAsync<TaskComment>(
            host, RecordCollections.TaskComments, new RecordFilter(ParentId: request.TaskId), request.PageSize, request.PageToken,
            context.CancellationToken);
        return new() { Comments = { comments }, NextPageToken = next };
    }

    public override async Task<CreateTaskCommentResponse> CreateTaskComment(CreateTaskCommentRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member, node: true);
        var clean = CleanText.Of(request);
        if (clean.Content.Length is 0 or > CommentMax)
        {
            throw HubException.InvalidField("content", $"A comment has 1 to {CommentMax} characters.");
        }

        if (clean.TaskId.Length > RecordCollection.ShortTextMax)
        {
            throw HubException.InvalidField("task_id", $"A task's id has at most {RecordCollection.ShortTextMax} characters.");
        }

        var draft = new TaskComment
        {
            Id = clean.Id.Length > 0 ? clean.Id : EntityId.New("comment", time),
            TaskId = clean.TaskId,
            Author = clean.Author.Length > 0 ? clean.Author : host.Caller.Name,
            Content = clean.Content,
            Timestamp = clean.Timestamp > 0 ? clean.Timestamp : time.NowMs(),
        };
        if (clean.HasCategory)
        {
            draft.Category = clean.Category;
        }

        if (RecordCollections.TaskComments.Fault(draft.Id, draft) is { } fault)
        {
            throw fault;
        }

        await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                if (!host.IsNode)
                {
                    // A node may comment on a task it has not synced yet.
                    RecordPages.Get<HostTask>(tx, host, RecordCollections.Tasks, draft.TaskId, ErrorReason.TaskNotFound);
                }

                var origin = host.IsNode ? RecordOrigin.Node : RecordOrigin.Cloud;
                var version = RecordCollections.TaskComments.VersionOf(draft, tx.NowMs * 1000);
                records.Apply(
                    tx, host.TeamId, host.HostId, new RecordChange(RecordCollections.TaskComments, draft.Id, draft, version, null, origin));
            },
            context.CancellationToken);
        var stored = await pages.GetAsync<TaskComment>(host, RecordCollections.TaskComments, draft.Id, context.CancellationToken);
        return new() { Comment = stored };
    }

    public override async Task<ListConflictsResponse> ListConflicts(ListConflictsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var (found, next) = await conflicts.ListAsync(
            host, request.IncludeResolved, request.PageSize, request.PageToken, context.CancellationToken);
        return new() { Conflicts = { found }, NextPageToken = next };
    }

    public override async Task<ResolveConflictResponse> ResolveConflict(ResolveConflictRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        return new()
        {
            Conflict = await conflicts.ResolveAsync(host, request.ConflictId, request.Keep == ConflictSide.Cloud, context.CancellationToken),
        };
    }

    private static HostTask Changed(HostTask task, UpdateTaskRequest request)
    {
        task.Title = request.HasTitle ? request.Title : task.Title;
        task.Status = request.HasStatus ? request.Status : task.Status;
        if (request.HasAssignee)
        {
            task.ClearAssignee();
            if (request.Assignee.Length > 0)
            {
                task.Assignee = request.Assignee;
            }
        }

        if (request.HasPriority)
        {
            task.ClearPriority();
            if (request.Priority.Length > 0)
            {
                task.Priority = request.Priority;
            }
        }

        return task;
    }

    /// <summary>Version of a change dated by its text time: its epoch microseconds.</summary>
    /// <returns>False if the text is no ISO 8601 time.</returns>
    private static bool TryReadVersion(string updatedAt, out long version)
    {
        var read = DateTimeOffset.TryParse(
            updatedAt, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal | DateTimeStyles.AdjustToUniversal, out var at);
        version = read ? (at - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond : 0;
        return read;
    }
}
