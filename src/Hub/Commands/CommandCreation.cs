using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;
using Hub.Approvals;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.Text;

namespace Hub.Commands;

/// <summary>Creates commands: checked, idempotent, durable before they are answered, whether or not the node is there.</summary>
internal sealed partial class CommandCreation(Store store, LinkRegistry links, TimeProvider time)
{
    public const int TypeLengthMax = 100;
    public const int PayloadBytesMax = 256 * 1024;
    public const int AttemptsMax = 10;

    /// <summary>Commands of one host that have not ended.</summary>
    public const int PendingMax = 10_000;

    private static readonly TimeSpan AcceptWithinDefault = TimeSpan.FromHours(1);
    private static readonly TimeSpan FinishWithinDefault = TimeSpan.FromHours(24);
    private static readonly TimeSpan WithinMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan WithinMax = TimeSpan.FromDays(30);

    private const string ByKeySql = $"""
        select {CommandRow.Columns} from commands c
        where c.team_id = @teamId and c.host_id = @hostId and c.idempotency_key = @idempotencyKey
        """;

    /// <summary>All that a creation has to know, at once.</summary>
    private const string FactsSql = """
        select l.command_types,
            (select count(*) from (select 1 as one from commands where host_id = @HostId
                and state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING') limit @PendingMax) open) as pending,
            exists (select 1 from commands where host_id = @HostId and state = 'QUEUED') as has_queued,
            exists (select 1 from approval_policies where team_id = @TeamId) as has_policies,
            (select command_id from commands where team_id = @TeamId and host_id = @HostId and idempotency_key = @IdempotencyKey) as earlier
        from links l where l.host_id = @HostId
        """;

    private static readonly RowsStatement<CommandRow> Insert = new(
        """
        insert into commands (command_id, team_id, host_id, type, payload, state, reason, attempt, max_attempts, idempotency_key, fingerprint,
            created_by, created_at, updated_at, accept_by, finish_within, journal_id, cancel_reason, error, traceparent, approval_policy,
            approver_role, creator_may_decide)
        select r.command_id, r.team_id, r.host_id, r.type, r.payload, r.state, r.reason, r.attempt, r.max_attempts, r.idempotency_key,
            r.fingerprint, r.created_by, r.created_at, r.created_at, r.accept_by, r.finish_within, '', '', '', r.traceparent,
            r.approval_policy, r.approver_role, r.creator_may_decide
        from {rows};
        insert into command_timeline (team_id, command_id, step, state, reason, attempt, at, detail)
        select r.team_id, r.command_id, 1, r.state, r.reason, r.attempt, r.created_at, '' from {rows}
        """,
        Column<CommandRow>.Of("command_id", row => row.CommandId),
        Column<CommandRow>.Of("team_id", row => row.TeamId),
        Column<CommandRow>.Of("host_id", row => row.HostId),
        Column<CommandRow>.Of("type", row => row.Type),
        Column<CommandRow>.Of("payload", row => row.Payload),
        Column<CommandRow>.Of("state", row => row.State),
        Column<CommandRow>.Of("reason", row => row.Reason),
        Column<CommandRow>.Of("attempt", row => row.Attempt),
        Column<CommandRow>.Of("max_attempts", row => row.MaxAttempts),
        Column<CommandRow>.Of("idempotency_key", row => row.IdempotencyKey),
        Column<CommandRow>.Of("fingerprint", row => row.Fingerprint),
        Column<CommandRow>.Of("created_by", row => row.CreatedBy),
        Column<CommandRow>.Of("created_at", row => row.CreatedAt),
        Column<CommandRow>.Of("accept_by", row => row.AcceptBy),
        Column<CommandRow>.Of("finish_within", row => row.FinishWithin),
        Column<CommandRow>.Of("traceparent", row => row.Traceparent),
        Column<CommandRow>.Of("approval_policy", row => row.ApprovalPolicy),
        Column<CommandRow>.Of("approver_role", row => row.ApproverRole),
        Column<CommandRow>.Of("creator_may_decide", row => row.CreatorMayDecide));

    /// <summary>Creates the command and lets its node's link know, or answers a repeat with the one that exists.</summary>
    /// <exception cref="HubException">INVALID_FIELD, IDEMPOTENCY_KEY_REUSED, COMMAND_TYPE_UNKNOWN, COMMANDS_PENDING_MAX.</exception>
    public async Task<(CommandRow Command, bool Created)> CreateAsync(
        HostAccess host, CreateCommandRequest request, string? idempotencyKey, string traceparent, CancellationToken cancellation)
    {
        var clean = CleanText.Of(request).Clone();
        clean.IdempotencyKey = "";
        clean.HostId = "";
        clean.Payload = IdempotencyKeys.Sorted(clean.Payload ?? new Struct());
        var draft = new CommandRow
        {
            CommandId = EntityId.New("cmd", time),
            TeamId = host.TeamId,
            HostId = host.HostId,
            Type = Type(clean.Type),
            Payload = Payload(clean.Payload),
            State = CommandStates.Queued,
            Reason = EnumText<CommandReason>.Of(CommandReason.Unspecified),
            Attempt = 1,
            MaxAttempts = MaxAttempts(clean.MaxAttempts),
            IdempotencyKey = idempotencyKey,
            Fingerprint = IdempotencyKeys.Fingerprint("CreateCommand", host.HostId, clean),
            CreatedBy = host.Caller.Name,
            FinishWithin = (long)Within("finish_within", clean.FinishWithin, FinishWithinDefault).TotalMilliseconds,
            JournalId = "",
            CancelReason = "",
            Error = "",
            Traceparent = traceparent,
        };
        try
        {
            return await WriteAsync(draft, tx => Create(tx, draft, clean, Actor.Of(host.Caller)), cancellation);
        }
        catch (ConstraintException e) when (e.Constraint == "commands_idempotency_key")
        {
            // A twin on another replica was faster; the index picked it, so it is the answer.
            return await store.WriteAsync(host.TeamId, tx => (Earlier(tx, draft) ?? throw e, false), cancellation);
        }
    }

    /// <summary>A node that is linked here is offered the command by the commit that creates it.</summary>
    private async Task<(CommandRow Command, bool Created)> WriteAsync(
        CommandRow draft, Func<StoreTransaction, Creation> create, CancellationToken cancellation)
    {
        if (links.Find(draft.HostId) is { } link)
        {
            try
            {
                var (answer, offers) = await store.WriteFencedAsync(
                    draft.TeamId,
                    link.Identity.Fence,
                    tx =>
                    {
                        var made = create(tx);
                        var isDue = made.Created && made.Command.State == CommandStates.Queued;
                        return (made, isDue ? link.TakeOffers(tx, made.IsNext ? made.Command : null) : null);
                    },
                    cancellation);
                if (offers is not null)
                {
                    link.Send(offers);
                }

                return (answer.Command, answer.Created);
            }
            catch (LinkFencedException)
            {
                // The node has dialled elsewhere since, or may not any more: the command waits for its next link.
            }
        }

        var written = await store.WriteAsync(draft.TeamId, create, cancellation);
        if (written.Created)
        {
            links.Wake(draft.HostId);
        }

        return (written.Command, written.Created);
    }

    private static Creation Create(StoreTransaction tx, CommandRow draft, CreateCommandRequest request, Actor actor)
    {
        var facts = tx.QuerySingle<Facts>(FactsSql, new { draft.TeamId, draft.HostId, draft.IdempotencyKey, PendingMax });
        if (facts.Earlier is not null)
        {
            return new Creation(Earlier(tx, draft)!, Created: false, IsNext: false);
        }

        // Not before the look for a repeat: the instant a request named may be over by the time it is repeated.
        var acceptBy = tx.NowMs + (long)AcceptWithin(request, tx.NowMs).TotalMilliseconds;
        var known = TextList.Read(facts.CommandTypes);
        if (known.Count > 0 && !known.Contains(draft.Type))
        {
            throw new HubException(
                ErrorReason.CommandTypeUnknown, $"The host's node does not know the command type '{draft.Type}'. It knows: {string.Join(", ", known)}.",
                ("command_types", string.Join(",", known)));
        }

        if (facts.Pending >= PendingMax)
        {
            throw new HubException(
                ErrorReason.CommandsPendingMax, $"The host has {PendingMax} commands that have not ended; cancel some or wait.",
                ("limit", $"{PendingMax}"), ("use", $"{facts.Pending}"));
        }

        var row = draft with { CreatedAt = tx.NowMs, UpdatedAt = tx.NowMs, AcceptBy = acceptBy };
        var held = facts.HasPolicies ? ApprovalPolicies.GateOf(tx, row.TeamId, row.Type) : null;
        if ((held ?? (request.RequiresApproval ? ApprovalGate.Asked : null)) is { } gate)
        {
            row = row with
            {
                State = CommandStates.AwaitingApproval,
                Reason = EnumText<CommandReason>.Of(CommandReason.Approval),
                ApprovalPolicy = gate.PolicyName,
                ApproverRole = ApprovalPolicies.RoleText(gate.ApproverRole),
                CreatorMayDecide = gate.CreatorMayDecide,
            };
        }

        tx.Execute(Insert, [row]);
        AuditLog.Append(tx, row.TeamId, actor, AuditAction.CommandCreated, row.CommandId, row.HostId, row.Type);
        tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);
        return new Creation(row, Created: true, IsNext: !facts.HasQueued);
    }

    private static CommandRow? Earlier(StoreTransaction tx, CommandRow draft)
    {
        var earlier = tx.QuerySingleOrDefault<CommandRow>(
            ByKeySql, new { teamId = draft.TeamId, hostId = draft.HostId, idempotencyKey = draft.IdempotencyKey });
        return earlier is null || earlier.Fingerprint == draft.Fingerprint ? earlier : throw IdempotencyKeys.Reused();
    }

    private static TimeSpan AcceptWithin(CreateCommandRequest request, long nowMs)
    {
        var ways = new[] { request.AcceptWithin is not null, request.ExpiresAt is not null, request.Ttl != 0 }.Count(given => given);
        if (ways > 1)
        {
            throw HubException.InvalidField("accept_within", "Send one of accept_within, expires_at and ttl.");
        }

        return request switch
        {
            { ExpiresAt: { } at } => Bounded("expires_at", () => at.ToDateTimeOffset() - DateTimeOffset.FromUnixTimeMilliseconds(nowMs)),
            { Ttl: not 0 } => request.Ttl is > 0 and <= int.MaxValue
                ? Bounded("ttl", () => TimeSpan.FromSeconds(request.Ttl))
                : throw HubException.InvalidField("ttl", "ttl is a number of seconds, from 1 to 30 days."),
            _ => Within("accept_within", request.AcceptWithin, AcceptWithinDefault),
        };
    }

    private static TimeSpan Within(string field, Duration? asked, TimeSpan unset) => asked is null ? unset : Bounded(field, asked.ToTimeSpan);

    private static TimeSpan Bounded(string field, Func<TimeSpan> read)
    {
        try
        {
            if (read() is var within && within >= WithinMin && within <= WithinMax)
            {
                return within;
            }
        }
        catch (InvalidOperationException)
        {
            // Seconds or nanoseconds out of their range, which only gRPC can carry.
        }

        throw HubException.InvalidField(field, $"{field} is 1 second to 30 days from now.");
    }

    private static string Type(string type) => TypePattern().IsMatch(type)
        ? type
        : throw HubException.InvalidField("type", $"A command type has 1 to {TypeLengthMax} letters, digits, dots, dashes, underscores and colons.");

    private static long MaxAttempts(int asked) => asked switch
    {
        0 => 1,
        < 0 or > AttemptsMax => throw HubException.InvalidField("max_attempts", $"max_attempts is 1 to {AttemptsMax}."),
        _ => asked,
    };

    private static string Payload(Struct payload)
    {
        var json = StoredJson.Write(payload);
        return json.Length <= PayloadBytesMax
            ? json
            : throw new HubException(
                ErrorReason.RecordTooLarge, $"A payload has at most {PayloadBytesMax} bytes as JSON.",
                ("limit", $"{PayloadBytesMax}"), ("size", $"{json.Length}"));
    }

    [GeneratedRegex(@"^[A-Za-z0-9._:-]{1,100}\z")]
    private static partial Regex TypePattern();

    /// <param name="IsNext">Nothing else is queued for the node.</param>
    private sealed record Creation(CommandRow Command, bool Created, bool IsNext);

    private sealed record Facts
    {
        public required string CommandTypes { get; init; }
        public long Pending { get; init; }
        public bool HasQueued { get; init; }
        public bool HasPolicies { get; init; }
        public string? Earlier { get; init; }
    }
}
