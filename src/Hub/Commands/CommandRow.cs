using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>A command as one query reads it.</summary>
internal record CommandRow
{
    /// <summary>Largest result that lists and watches show, in characters; GetCommand shows all of it.</summary>
    private const string ListedResultMax = "65536";

    public const string Columns = SharedColumns + ", c.result, c.late_result";

    /// <summary>Without results so large that a page of them would be.</summary>
    public const string ListColumns = SharedColumns + $"""
        , case when length(c.result) <= {ListedResultMax} then c.result end as result,
        case when length(c.late_result) <= {ListedResultMax} then c.late_result end as late_result
        """;

    private const string SharedColumns = """
        c.command_id, c.team_id, c.host_id, c.type, c.payload, c.state, c.reason, c.attempt, c.max_attempts, c.idempotency_key, c.fingerprint,
        c.created_by, c.created_at, c.updated_at, c.accept_by, c.finish_within, c.offered_until, c.accepted_at, c.finish_by, c.finished_at,
        c.journal_id, c.cancel_requested_at, c.cancel_by, c.cancel_reason, c.error, c.traceparent, c.approval_policy, c.approver_role,
        c.creator_may_decide
        """;

    public required string CommandId { get; init; }
    public required string TeamId { get; init; }
    public required string HostId { get; init; }
    public required string Type { get; init; }
    public required string Payload { get; init; }
    public required string State { get; init; }
    public required string Reason { get; init; }
    public long Attempt { get; init; }
    public long MaxAttempts { get; init; }
    public string? IdempotencyKey { get; init; }
    public required string Fingerprint { get; init; }
    public required string CreatedBy { get; init; }
    public long CreatedAt { get; init; }
    public long UpdatedAt { get; init; }
    public long AcceptBy { get; init; }

    /// <summary>Milliseconds from acceptance.</summary>
    public long FinishWithin { get; init; }
    public long? OfferedUntil { get; init; }
    public long? AcceptedAt { get; init; }
    public long? FinishBy { get; init; }
    public long? FinishedAt { get; init; }
    public required string JournalId { get; init; }
    public long? CancelRequestedAt { get; init; }
    public long? CancelBy { get; init; }
    public required string CancelReason { get; init; }
    public string? Result { get; init; }
    public required string Error { get; init; }
    public string? LateResult { get; init; }
    public required string Traceparent { get; init; }

    /// <summary>The rule that held it for approval; empty if none did.</summary>
    public string ApprovalPolicy { get; init; } = "";
    public string ApproverRole { get; init; } = "";
    public bool CreatorMayDecide { get; init; } = true;

    public CommandState StateValue => EnumText<CommandState>.Parse(State);

    public CommandReason ReasonValue => EnumText<CommandReason>.Parse(Reason);

    public bool IsTerminal => CommandStates.IsTerminal(StateValue);

    public HostCommand ToCommand()
    {
        var command = new HostCommand
        {
            Id = CommandId,
            CommandId = CommandId,
            HostId = HostId,
            Type = Type,
            Payload = StoredJson.ReadStruct(Payload) ?? new Struct(),
            State = StateValue,
            Reason = ReasonValue,
            Status = CommandStates.StatusWord(StateValue),
            Attempt = (int)Attempt,
            MaxAttempts = (int)MaxAttempts,
            IdempotencyKey = IdempotencyKey ?? "",
            CreatedBy = CreatedBy,
            CreatedAt = EpochMs.ToTimestamp(CreatedAt),
            UpdatedAt = EpochMs.ToTimestamp(UpdatedAt),
            ExpiresAt = EpochMs.ToTimestamp(AcceptBy),
            AcceptedAt = EpochMs.ToTimestamp(AcceptedAt),
            FinishedAt = EpochMs.ToTimestamp(FinishedAt),
            Result = StoredJson.ReadValue(Result),
            Error = Error,
            LateResult = StoredJson.ReadValue(LateResult),
            CancelRequestedAt = EpochMs.ToTimestamp(CancelRequestedAt),
            FinishWithin = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(FinishWithin)),
            Traceparent = Traceparent,
            ApprovalPolicy = ApprovalPolicy,
            ApproverRole = ApproverRole,
        };
        return command;
    }

    /// <summary>The offer of the row's present attempt.</summary>
    public CommandOffer ToOffer(long nowMs) => new()
    {
        CommandId = CommandId,
        IdempotencyKey = IdempotencyKey ?? "",
        Type = Type,
        Payload = StoredJson.ReadStruct(Payload) ?? new Struct(),
        Attempt = (int)Attempt,
        AcceptWithin = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(Math.Max(0, AcceptBy - nowMs))),
        FinishWithin = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(FinishWithin)),
        Traceparent = Traceparent,
    };
}
