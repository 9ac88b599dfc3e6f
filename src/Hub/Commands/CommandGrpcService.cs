using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Approvals;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Limits;
using Hub.Links;
using Hub.Storage;
using Hub.Text;

namespace Hub.Commands;

/// <summary>hub.v1.CommandService: people create and follow commands, nodes without a link claim and report them.</summary>
internal sealed class CommandGrpcService(
    Access access, RateLimits rates, Store store, CommandCreation creation, ApprovalDecisions approvals, HostDirectory directory, NodeCalls calls,
    Presence presence, LinkRegistry links, ProgressBoard progress)
    : CommandService.CommandServiceBase
{
    private const string PendingWord = "pending";
    private const int ReasonLengthMax = 500;

    /// <summary>A poll takes at most this many; its node works through them one by one.</summary>
    private const int ClaimMax = 50;

    private const string PageSql = $"""
        select {CommandRow.ListColumns} from commands c
        where c.host_id = @hostId and c.team_id = @teamId and (c.created_at, c.command_id) < (@createdAt, @id)
        order by c.created_at desc, c.command_id desc limit @limit
        """;

    /// <summary>The timeline. Its first row has the command too.</summary>
    private const string OneSql = $"""
        select {CommandRow.Columns},
            t.state as step_state, t.reason as step_reason, t.attempt as step_attempt, t.at as step_at, t.detail as step_detail
        from command_timeline t left join commands c on c.command_id = t.command_id and t.step = 1
        where t.command_id = @commandId and t.team_id = @teamId order by t.step
        """;

    public override async Task<CreateCommandResponse> CreateCommand(CreateCommandRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        rates.CommandCreated(host.TeamId, host.HostId);
        var key = IdempotencyKeys.Of(request.IdempotencyKey, context);
        var traceparent = context.RequestHeaders.GetValue("traceparent") ?? "";
        var (command, created) = await creation.CreateAsync(host, request, key, traceparent, context.CancellationToken);
        return new() { Command = Show(command), Created = created };
    }

    public override async Task<ListCommandsResponse> ListCommands(ListCommandsRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        if (host.IsNode && request.Status == PendingWord)
        {
            await calls.HeardAsync(host);
            return new() { Commands = { await ClaimAsync(host, context.CancellationToken) } };
        }

        var size = PageToken.Size(request.PageSize);
        var (createdAt, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var states = request.Status.Length == 0 ? [] : CommandStates.Named(request.Status);
        if (request.Status.Length > 0 && states.Count == 0)
        {
            throw HubException.InvalidField("status", "status is a word such as pending, running, completed, or the name of a state.");
        }

        var rows = await store.QueryAsync<CommandRow>(
            TeamScope.Of(host.TeamId),
            states.Count == 0
                ? PageSql
                : PageSql.Replace("order by", $"and {store.Dialect.In("c.state", "states")} order by", StringComparison.Ordinal),
            new
            {
                hostId = host.HostId,
                teamId = host.TeamId,
                states = store.Dialect.InValue(states),
                createdAt,
                id,
                limit = size + 1,
            },
            context.CancellationToken);
        return new()
        {
            Commands = { rows.Take(size).Select(Show) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].CreatedAt, rows[size - 1].CommandId) : "",
        };
    }

    public override async Task<GetCommandResponse> GetCommand(GetCommandRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Command = await ReadAsync(host, request.CommandId, context.CancellationToken) };
    }

    public override async Task<ExplainCommandResponse> ExplainCommand(ExplainCommandRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var command = await ReadAsync(host, request.CommandId, context.CancellationToken);
        var response = new ExplainCommandResponse { Why = CommandExplanations.Of(command, command.Timeline[^1].Detail) };
        if (!CommandStates.IsTerminal(command.State))
        {
            response.Host = HostExplanations.Of(await directory.GetAsync(host.TeamId, host.HostId, context.CancellationToken));
        }

        return response;
    }

    public override async Task<CancelCommandResponse> CancelCommand(CancelCommandRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var reason = Reason(request.Reason);
        var (command, ask) = await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                var answer = CommandRows.Change(tx, rows =>
                {
                    var asked = CommandMachine.RequestCancel(rows, FindOrThrow(rows, host, request.CommandId), reason);
                    return (FindOrThrow(rows, host, request.CommandId), asked);
                });
                AuditLog.Append(
                    tx, host.TeamId, Actor.Of(host.Caller), AuditAction.CommandCancelled, request.CommandId, host.HostId, reason);
                return answer;
            },
            context.CancellationToken);
        if (ask)
        {
            links.Wake(host.HostId);
        }

        return new() { Command = Show(command) };
    }

    public override async Task<DecideCommandResponse> DecideCommand(DecideCommandRequest request, ServerCallContext context)
    {
        var decided = await approvals.DecideAsync(context, request.HostId, request.CommandId, request.Approve, request.Reason);
        return new() { Command = Show(decided) };
    }

    public override async Task<AckCommandResponse> AckCommand(AckCommandRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var clean = CleanText.Of(request);
        var command = await store.WriteAsync(
            host.TeamId,
            tx => CommandRows.Change(tx, rows =>
            {
                var row = FindOrThrow(rows, host, clean.CommandId);
                var attempt = clean.Attempt == 0 ? (int)row.Attempt : clean.Attempt;
                switch (clean.Action)
                {
                    case "ack":
                        CommandMachine.NodeAccepted(rows, host.HostId, journalId: "", row.CommandId, attempt);
                        break;
                    case "complete":
                        var outcome = PolledOutcome.OfComplete(row.CommandId, attempt, clean.Result);
                        CommandMachine.NodeFinished(rows, host.HostId, outcome, PolledOutcome.RefusalOf(outcome));
                        break;
                    case "fail":
                        CommandMachine.NodeFinished(rows, host.HostId, PolledOutcome.OfFail(row.CommandId, attempt, clean.Error));
                        break;
                    default:
                        throw HubException.InvalidField("action", "action is ack, complete or fail.");
                }

                return FindOrThrow(rows, host, clean.CommandId);
            }),
            context.CancellationToken);
        return new() { Command = Show(command) };
    }

    public override async Task<PutCommandResultResponse> PutCommandResult(PutCommandResultRequest request, ServerCallContext context)
    {
        var host = await access.NodeAsync(context, request.HostId);
        var result = StoredJson.Write(CleanText.Of(request).Result ?? Value.ForNull());
        var command = await store.WriteAsync(
            host.TeamId,
            tx => CommandRows.Change(tx, rows =>
            {
                var row = FindOrThrow(rows, host, request.CommandId);
                return request.Attempt == 0 || request.Attempt == row.Attempt ? CommandMachine.StoreResult(rows, row, result) : row;
            }),
            context.CancellationToken);
        return new() { Command = Show(command) };
    }

    /// <summary>A poll with the host's own credential takes what it returns. A node with a live link is served there.</summary>
    private async Task<IReadOnlyList<HostCommand>> ClaimAsync(HostAccess host, CancellationToken cancellation)
    {
        if (links.IsLive(host.HostId))
        {
            return [];
        }

        var rows = await store.WriteAsync(
            host.TeamId,
            tx => tx.QuerySingle<string>("select state from links where host_id = @HostId", new { host.HostId }) == LinkState.Live
                ? []
                : CommandRows.Change(tx, rows => CommandMachine.Offer(rows, host.HostId, ClaimMax, CommandMachine.OfferToPoll)),
            cancellation);
        return [.. rows.Select(Show)];
    }

    private async Task<HostCommand> ReadAsync(HostAccess host, string commandId, CancellationToken cancellation)
    {
        var rows = await store.FindAsync<StepRow>(TeamScope.Of(host.TeamId), OneSql, new { teamId = host.TeamId, commandId }, cancellation);
        if (rows.Count == 0 || rows[0].HostId != host.HostId)
        {
            throw NotFound(commandId);
        }

        var command = Show(rows[0]);
        command.Timeline.AddRange(rows.Select(row => row.ToTransition()));
        if (CommandStates.IsHeldByNode(command.State) && presence.LostSince(host.HostId) is { } lostSince)
        {
            command.ContactLostSince = EpochMs.ToTimestamp(lostSince);
        }

        return command;
    }

    private HostCommand Show(CommandRow row) => progress.Overlay(row.ToCommand());

    private static CommandRow FindOrThrow(CommandRows rows, HostAccess host, string commandId) =>
        rows.Find(host.HostId, commandId) ?? throw NotFound(commandId);

    private static string Reason(string reason) => reason.Length <= ReasonLengthMax
        ? CleanText.Of(reason)
        : throw HubException.InvalidField("reason", $"A reason has at most {ReasonLengthMax} characters.");

    private static HubException NotFound(string commandId) =>
        new(ErrorReason.CommandNotFound, "The host has no such command.", ("command_id", commandId));

    /// <summary>An entry of a timeline; the first is the command too.</summary>
    private sealed record StepRow : CommandRow
    {
        public required string StepState { get; init; }
        public required string StepReason { get; init; }
        public long StepAttempt { get; init; }
        public long StepAt { get; init; }
        public required string StepDetail { get; init; }

        public CommandTransition ToTransition() => new()
        {
            State = EnumText<CommandState>.Parse(StepState),
            Reason = EnumText<CommandReason>.Parse(StepReason),
            Attempt = (int)StepAttempt,
            At = EpochMs.ToTimestamp(StepAt),
            Detail = StepDetail,
        };
    }
}
