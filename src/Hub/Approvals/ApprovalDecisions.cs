using Grpc.Core;
using Hub.Audit;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.Text;

namespace Hub.Approvals;

/// <summary>Shows what awaits a person, and takes the decision: by whoever the rule that held the command names.</summary>
internal sealed class ApprovalDecisions(Access access, Store store, LinkRegistry links)
{
    private const int NoteLengthMax = 500;

    /// <summary>Commands of one host that a single decision by task looks through; a task has one or two at a time.</summary>
    private const int ByTaskMax = 1_000;

    private const string TaskField = "taskId";

    private const string PageSql = $"""
        select {CommandRow.ListColumns}, h.name as host_name from commands c join hosts h on h.host_id = c.host_id
        where c.team_id = @teamId and c.state = 'AWAITING_APPROVAL' and (c.created_at, c.command_id) > (@createdAt, @id)
        order by c.created_at, c.command_id limit @limit
        """;

    private const string HostOfSql = "select host_id from commands where command_id = @commandId";

    private const string OfHostSql = $"""
        select {CommandRow.Columns} from commands c
        where c.host_id = @HostId and c.team_id = @TeamId and c.state = 'AWAITING_APPROVAL' order by c.created_at, c.command_id limit @limit
        """;

    /// <param name="hostId">Only those of this host; null for the whole team.</param>
    public async Task<(IReadOnlyList<Approval> Approvals, string NextPageToken)> ListAsync(
        string teamId, string? hostId, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (createdAt, id) = PageToken.Read(pageToken, 0L);
        var sql = hostId is null ? PageSql : PageSql.Replace("order by", "and c.host_id = @hostId order by", StringComparison.Ordinal);
        var rows = await store.QueryAsync<AwaitingRow>(
            TeamScope.Of(teamId), sql, new { teamId, hostId, createdAt, id, limit = size + 1 }, cancellation);
        return (
            [
                .. rows.Take(size).Select(row => new Approval
                {
                    Id = row.CommandId,
                    HostId = row.HostId,
                    HostName = row.HostName,
                    Command = row.ToCommand(),
                }),
            ],
            rows.Count > size ? PageToken.Of(rows[size - 1].CreatedAt, rows[size - 1].CommandId) : "");
    }

    /// <summary>Decides on a command by its id alone.</summary>
    /// <exception cref="HubException">COMMAND_NOT_FOUND, and as <see cref="DecideAsync(ServerCallContext, string, string, bool, string)"/>.</exception>
    public async Task<CommandRow> DecideAsync(ServerCallContext context, string commandId, bool approve, string note)
    {
        var hostId = await store.QuerySingleOrDefaultAsync<string>(
            TeamScope.System, HostOfSql, new { commandId }, context.CancellationToken);
        try
        {
            return await DecideAsync(context, hostId ?? "", commandId, approve, note);
        }
        catch (HubException e) when (e.Reason == ErrorReason.HostNotFound)
        {
            throw NotFound(commandId); // The caller named no host.
        }
    }

    /// <exception cref="HubException">
    /// HOST_NOT_FOUND, COMMAND_NOT_FOUND, COMMAND_NOT_AWAITING_APPROVAL, ROLE_REQUIRED, APPROVER_IS_CREATOR, PRINCIPAL_NOT_ALLOWED.
    /// </exception>
    public async Task<CommandRow> DecideAsync(ServerCallContext context, string hostId, string commandId, bool approve, string note)
    {
        var clean = Note(note);
        var host = await access.HostAsync(context, hostId, TeamRole.Member);
        var held = await store.QuerySingleOrDefaultAsync<CommandRow>(
            TeamScope.Of(host.TeamId),
            $"select {CommandRow.Columns} from commands c where c.host_id = @HostId and c.team_id = @TeamId and c.command_id = @commandId",
            new { host.HostId, host.TeamId, commandId },
            context.CancellationToken) ?? throw NotFound(commandId);
        return (await DecideAsync(context, host, [held], approve, clean))[0];
    }

    /// <summary>Decides on all commands of a host that await approval and are this one, or name this task.</summary>
    /// <exception cref="HubException">As <see cref="DecideAsync(ServerCallContext, string, string, bool, string)"/>.</exception>
    public async Task<IReadOnlyList<CommandRow>> DecideByTaskAsync(
        ServerCallContext context, string hostId, string taskId, bool approve, string note)
    {
        var clean = Note(note);
        var host = await access.HostAsync(context, hostId, TeamRole.Member);
        var awaiting = await store.QueryAsync<CommandRow>(
            TeamScope.Of(host.TeamId), OfHostSql, new { host.HostId, host.TeamId, limit = ByTaskMax }, context.CancellationToken);
        var held = awaiting.Where(row => row.CommandId == taskId || TaskOf(row) == taskId).ToArray();
        return held.Length > 0 ? await DecideAsync(context, host, held, approve, clean) : throw NotFound(taskId);
    }

    /// <summary>"approve" or "reject".</summary>
    /// <exception cref="HubException">INVALID_FIELD.</exception>
    public static bool IsApproval(string decision) => decision switch
    {
        "approve" => true,
        "reject" => false,
        _ => throw HubException.InvalidField("decision", "decision is approve or reject."),
    };

    private async Task<CommandRow[]> DecideAsync(
        ServerCallContext context, HostAccess host, IReadOnlyList<CommandRow> held, bool approve, string note)
    {
        foreach (var row in held)
        {
            // What held it was written into its row, so it can be read before the transaction that decides.
            await RequireApproverAsync(context, host, row);
        }

        var detail = note.Length > 0 ? $"{host.Caller.Name}: {note}" : host.Caller.Name;
        var decided = await store.WriteAsync(
            host.TeamId,
            tx => CommandRows.Change(tx, rows =>
            {
                rows.Load(held.Select(row => (host.HostId, row.CommandId)));
                return held.Select(row => Decide(tx, rows, host, row.CommandId, approve, note, detail)).ToArray();
            }),
            context.CancellationToken);
        links.Wake(host.HostId);
        return decided;
    }

    private static CommandRow Decide(
        StoreTransaction tx, CommandRows rows, HostAccess host, string commandId, bool approve, string note, string detail)
    {
        var decided = CommandMachine.Decide(rows, host.HostId, commandId, approve, detail)
            ?? throw NotAwaiting(); // Somebody else was faster, or it expired.
        AuditLog.Append(
            tx, host.TeamId, Actor.Of(host.Caller), AuditAction.CommandDecided, commandId, host.HostId,
            $"{(approve ? "approved" : "rejected")} {decided.Type}: {note}");
        return decided;
    }

    private async Task RequireApproverAsync(ServerCallContext context, HostAccess host, CommandRow row)
    {
        if (row.StateValue != CommandState.AwaitingApproval)
        {
            throw NotAwaiting();
        }

        await access.HostAsync(context, host.HostId, ApprovalPolicies.RoleOf(row.ApproverRole));
        if (host.Caller is not Principal.User)
        {
            throw new HubException(ErrorReason.PrincipalNotAllowed, "A person decides: sign in instead of using a key.");
        }

        if (!row.CreatorMayDecide && row.CreatedBy == host.Caller.Name)
        {
            throw new HubException(
                ErrorReason.ApproverIsCreator, $"The policy '{row.ApprovalPolicy}' asks for a second person: you created this command.");
        }
    }

    private static string? TaskOf(CommandRow row) =>
        StoredJson.ReadStruct(row.Payload)?.Fields.TryGetValue(TaskField, out var task) == true ? task.StringValue : null;

    private static string Note(string note) => note.Length <= NoteLengthMax
        ? CleanText.Of(note)
        : throw HubException.InvalidField("note", $"A note has at most {NoteLengthMax} characters.");

    private static HubException NotAwaiting() => new(ErrorReason.CommandNotAwaitingApproval, "The command does not await approval.");

    private static HubException NotFound(string commandId) =>
        new(ErrorReason.CommandNotFound, "There is no such command.", ("command_id", commandId));

    private sealed record AwaitingRow : CommandRow
    {
        public required string HostName { get; init; }
    }
}
