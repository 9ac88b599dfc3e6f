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

/// <summary>
/// Creates commands: checked, idempotent, durable before they are answered, whether or not the node is there. Those that are asked for at
/// the same time are created together.
/// </summary>
internal sealed partial class CommandCreation(Store store, LinkRegistry links, TimeProvider time)
    : ISharedWork<CommandCreation.Draft, CommandCreation.Creation>
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
    private static readonly RowsStatement<CommandRow> FactsOf = new(
        $$"""
        select r.command_id, l.command_types,
            (select count(*) from (
                select 1 as one from commands c where c.host_id = r.host_id
                    and c.state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING')
                limit {{PendingMax}}) as unended) as pending,
            exists (select 1 from commands c where c.host_id = r.host_id and c.state = 'QUEUED') as has_queued,
            exists (select 1 from approval_policies p where p.team_id = r.team_id) as has_policies,
            exists (select 1 from commands c
                where c.team_id = r.team_id and c.host_id = r.host_id and c.idempotency_key = r.idempotency_key) as has_earlier
        from {rows} join links l on l.host_id = r.host_id
        """,
        Column<CommandRow>.Of("command_id", row => row.CommandId),
        Column<CommandRow>.Of("team_id", row => row.TeamId),
        Column<CommandRow>.Of("host_id", row => row.HostId),
        Column<CommandRow>.Of("idempotency_key", row => row.IdempotencyKey));

    /// <summary>Creates the command and lets its node's link know, or answers a repeat with the one that exists.</summary>
    /// <exception cref="HubException">INVALID_FIELD, IDEMPOTENCY_KEY_REUSED, COMMAND_TYPE_UNKNOWN, COMMANDS_PENDING_MAX.</exception>
    public async Task<(CommandRow Command, bool Created)> CreateAsync(
        HostAccess host, CreateCommandRequest request, string? idempotencyKey, string traceparent, CancellationToken cancellation)
    {
        var clean = CleanText.Of(request).Clone();
        clean.IdempotencyKey = "";
        clean.HostId = "";
        clean.Payload = IdempotencyKeys.Sorted(clean.Payload ?? new Struct());
        var row = new CommandRow
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
        var draft = new Draft(row, clean, Actor.Of(host.Caller), links.Find(host.HostId));
        try
        {
            return await WriteAsync(draft, cancellation);
        }
        catch (ConstraintException e) when (e.Constraint == "commands_idempotency_key")
        {
            // A twin on another replica was faster; the index picked it, so it is the answer.
            return await WriteAsync(draft, cancellation);
        }
    }

    /// <summary>A node that is linked here is offered the command by the commit that creates it.</summary>
    private async Task<(CommandRow Command, bool Created)> WriteAsync(Draft draft, CancellationToken cancellation)
    {
        Creation creation;
        try
        {
            creation = await store.WriteSharedAsync(draft.Row.TeamId, draft.Link?.Identity.Fence, this, draft, isBulk: false, cancellation);
        }
        catch (LinkFencedException)
        {
            // The node has dialled elsewhere since, or may not any more: the command waits for its next link.
            creation = await store.WriteSharedAsync(
                draft.Row.TeamId, fence: null, this, draft with { Link = null }, isBulk: false, cancellation);
        }

        if (creation.Refusal is { } refusal)
        {
            throw refusal;
        }

        if (creation.Offers is { } offers)
        {
            draft.Link!.Send(offers);
        }
        else if (creation.IsNew)
        {
            links.Wake(draft.Row.HostId);
        }

        return (creation.Command!, creation.IsNew);
    }

    int ISharedWork<Draft, Creation>.Weight(Draft input) => 1;

    IReadOnlyList<Creation> ISharedWork<Draft, Creation>.Run(StoreTransaction tx, IReadOnlyList<Draft> inputs)
    {
        var facts = tx.Query<CommandRow, Facts>(FactsOf, [.. inputs.Select(input => input.Row)]).ToDictionary(found => found.CommandId);
        var creations = new List<Creation>(inputs.Count);
        foreach (var input in inputs)
        {
            try
            {
                creations.Add(Create(tx, input, facts.GetValueOrDefault(input.Row.CommandId), creations));
            }
            catch (HubException refusal)
            {
                creations.Add(new Creation(null, IsNew: false, Refusal: refusal));
            }
        }

        var rows = creations.Where(creation => creation.IsNew).Select(creation => creation.Command!).ToList();
        var queued = rows.Where(row => row.StateValue == CommandState.Queued).ToLookup(row => row.HostId);
        CommandRows.Change(tx, commands =>
        {
            for (var i = 0; i < inputs.Count; i++)
            {
                if (creations[i] is not { IsNew: true, Command: { } row })
                {
                    continue;
                }

                commands.Create(row);
                // Behind others its turn comes when the link takes them.
                if (inputs[i].Link is { } link && row.StateValue == CommandState.Queued
                    && !facts[row.CommandId].HasQueued && queued[row.HostId].Count() == 1)
                {
                    creations[i] = creations[i] with { Offers = link.TakeOffers(commands, row) };
                }
            }
        });
        AuditLog.Append(tx, inputs.Zip(creations).Where(made => made.Second.IsNew).Select(made => ActOf(made.First)));
        return creations;
    }

    private static AuditedAct ActOf(Draft draft) =>
        new(draft.Row.TeamId, draft.Actor, AuditAction.CommandCreated, draft.Row.CommandId, draft.Row.HostId, draft.Row.Type);

    /// <param name="facts">Null if the host is gone.</param>
    /// <param name="before">What the inputs before it came to.</param>
    private static Creation Create(StoreTransaction tx, Draft draft, Facts? facts, IReadOnlyList<Creation> before)
    {
        var row = draft.Row;
        if (facts is null)
        {
            throw Access.HostNotFound(row.HostId);
        }

        var made = before.Where(other => other.IsNew && other.Command!.HostId == row.HostId).Select(other => other.Command!).ToList();
        var twin = row.IdempotencyKey is { } key ? made.Find(other => other.IdempotencyKey == key) : null;
        if ((facts.HasEarlier ? Earlier(tx, row) : twin) is { } earlier)
        {
            return earlier.Fingerprint == row.Fingerprint ? new Creation(earlier, IsNew: false) : throw IdempotencyKeys.Reused();
        }

        // Not before the look for a repeat: the instant a request named may be over by the time it is repeated.
        var acceptBy = tx.NowMs + (long)AcceptWithin(draft.Request, tx.NowMs).TotalMilliseconds;
        var known = TextList.Read(facts.CommandTypes);
        if (known.Count > 0 && !known.Contains(row.Type))
        {
            throw new HubException(
                ErrorReason.CommandTypeUnknown,
                $"The host's node does not know the command type '{row.Type}'. It knows: {string.Join(", ", known)}.",
                ("command_types", string.Join(",", known)));
        }

        if (facts.Pending + made.Count >= PendingMax)
        {
            throw new HubException(
                ErrorReason.CommandsPendingMax, $"The host has {PendingMax} commands that have not ended; cancel some or wait.",
                ("limit", $"{PendingMax}"), ("use", $"{facts.Pending + made.Count}"));
        }

        row = row with { CreatedAt = tx.NowMs, UpdatedAt = tx.NowMs, AcceptBy = acceptBy };
        var held = facts.HasPolicies ? ApprovalPolicies.GateOf(tx, row.TeamId, row.Type) : null;
        if ((held ?? (draft.Request.RequiresApproval ? ApprovalGate.Asked : null)) is { } gate)
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

        return new Creation(row, IsNew: true);
    }

    private static CommandRow Earlier(StoreTransaction tx, CommandRow draft) =>
        tx.QuerySingle<CommandRow>(ByKeySql, new { teamId = draft.TeamId, hostId = draft.HostId, idempotencyKey = draft.IdempotencyKey });

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

    /// <summary>A command that is asked for.</summary>
    /// <param name="Link">The node's, if it is linked here: it is offered the command then.</param>
    internal sealed record Draft(CommandRow Row, CreateCommandRequest Request, Actor Actor, Link? Link);

    /// <summary>What a draft came to: a command, or why there is none.</summary>
    /// <param name="IsNew">Whether it was created, not found as that of an earlier request.</param>
    /// <param name="Offers">Set if it was offered at once, as far as the link had room.</param>
    internal sealed record Creation(CommandRow? Command, bool IsNew, LinkOffers? Offers = null, HubException? Refusal = null);

    private sealed record Facts
    {
        public required string CommandId { get; init; }
        public required string CommandTypes { get; init; }
        public long Pending { get; init; }
        public bool HasQueued { get; init; }
        public bool HasPolicies { get; init; }
        public bool HasEarlier { get; init; }
    }
}
