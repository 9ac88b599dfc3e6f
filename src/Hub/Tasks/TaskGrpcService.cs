using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Storage;
using Hub.Text;

namespace Hub.Tasks;

/// <summary>hub.v1.TaskService: tasks of nodes without a link, and of all hosts for reading.</summary>
internal sealed class TaskGrpcService(Access access, Store store, TaskRecords records, Presence presence, TimeProvider time)
    : TaskService.TaskServiceBase
{
    /// <summary>Largest batch a node may send; the contract's own is 200.</summary>
    private const int BatchMax = 1_000;

    private const string PageSql = """
        select task_id, version, body from tasks
        where host_id = @hostId and team_id = @teamId and deleted_at is null and (version, task_id) < (@version, @id)
        order by version desc, task_id desc limit @limit
        """;

    private const string PageByStatusSql = """
        select task_id, version, body from tasks
        where host_id = @hostId and team_id = @teamId and status = @status and deleted_at is null and (version, task_id) < (@version, @id)
        order by version desc, task_id desc limit @limit
        """;

    private const string OneSql = """
        select task_id, version, body from tasks
        where host_id = @hostId and team_id = @teamId and task_id = @taskId and deleted_at is null
        """;

    public override async Task<SyncTasksResponse> SyncTasks(SyncTasksRequest request, ServerCallContext context)
    {
        var host = await access.NodeAsync(context, request.HostId);
        if (request.Tasks.Count > BatchMax)
        {
            throw HubException.InvalidField("tasks", $"Send at most {BatchMax} tasks at once.");
        }

        await presence.HeardByRestAsync(host.TeamId, host.HostId, isHeartbeat: false, heartbeat: null);
        var now = time.NowMs() * 1000;
        var response = new SyncTasksResponse { Ok = true };
        var changes = new List<TaskChange>(request.Tasks.Count);
        foreach (var task in request.Tasks)
        {
            var clean = CleanText.Of(task);
            if (TaskRules.Fault(clean.Id, clean) is { } fault)
            {
                response.Rejected.Add(new RejectedItem { Id = clean.Id, Reason = EnumText<ErrorReason>.Of(fault.Reason), Detail = fault.Message });
                continue;
            }

            // A date nobody can read must not hold the task back: it counts as changed now.
            var version = TaskRecords.TryReadVersion(clean.UpdatedAt, out var dated) ? dated : now;
            changes.Add(new TaskChange(clean.Id, clean, version, null, RecordOrigin.Node, "", 0));
        }

        if (changes.Count > 0)
        {
            var applied = await store.WriteAsync(
                host.TeamId,
                tx => changes.ConvertAll(change => (change.TaskId, Applied: records.Apply(tx, host.TeamId, host.HostId, change))),
                context.CancellationToken);
            response.Synced = applied.Count;
            response.Conflicts.AddRange(applied.Where(item => item.Applied.ConflictId is not null).Select(item => item.TaskId));
        }

        return response;
    }

    public override async Task<ListTasksResponse> ListTasks(ListTasksRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var size = PageToken.Size(request.PageSize);
        var (version, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var rows = await store.ReadAsync(
            TeamScope.Of(host.TeamId),
            reader => reader.QueryAsync<TaskRow>(
                request.Status.Length == 0 ? PageSql : PageByStatusSql,
                new { hostId = host.HostId, teamId = host.TeamId, status = request.Status, version, id, limit = size + 1 }),
            context.CancellationToken);
        return new()
        {
            Tasks = { rows.Take(size).Select(row => TaskRecords.ToTask(row.Body, row.Version)) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].Version, rows[size - 1].TaskId) : "",
        };
    }

    public override async Task<GetTaskResponse> GetTask(GetTaskRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var row = await store.ReadAsync(
            TeamScope.Of(host.TeamId),
            reader => reader.QuerySingleOrDefaultAsync<TaskRow>(
                OneSql, new { hostId = host.HostId, teamId = host.TeamId, taskId = request.TaskId }),
            context.CancellationToken) ?? throw NotFound(request.TaskId);
        return new() { Task = TaskRecords.ToTask(row.Body, row.Version) };
    }

    public override async Task<UpdateTaskResponse> UpdateTask(UpdateTaskRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var task = await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                var row = tx.QuerySingleOrDefault<TaskRow>(OneSql, new { hostId = host.HostId, teamId = host.TeamId, taskId = request.TaskId })
                    ?? throw NotFound(request.TaskId);
                if (request.ExpectedVersion != 0 && request.ExpectedVersion != row.Version)
                {
                    throw new HubException(
                        ErrorReason.VersionMismatch, "The task was changed meanwhile; read it again and repeat the change on what it is now.",
                        ("version", $"{row.Version}"));
                }

                var changed = Changed(TaskRecords.ToTask(row.Body, row.Version), CleanText.Of(request));
                changed.Version = TaskRecords.NextVersion(tx, row.Version);
                changed.UpdatedAt = DateTimeOffset.FromUnixTimeMilliseconds(tx.NowMs).ToString("O");
                if (TaskRules.Fault(row.TaskId, changed) is { } fault)
                {
                    throw fault;
                }

                records.Apply(
                    tx, host.TeamId, host.HostId, new TaskChange(row.TaskId, changed, changed.Version, null, RecordOrigin.Cloud, "", 0));
                return changed;
            },
            context.CancellationToken);
        return new() { Task = task };
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

    private static HubException NotFound(string taskId) => new(ErrorReason.TaskNotFound, "The host has no such task.", ("task_id", taskId));

    private sealed record TaskRow(string TaskId, long Version, byte[] Body);
}
