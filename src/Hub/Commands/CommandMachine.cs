using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// The state machine of commands (stream-protocol.md §4). Rows are the truth: every transition is one update guarded by (state, attempt) with
/// a timeline entry, inside the caller's transaction; a transition whose guard fails did not happen. Terminal states never change.
/// </summary>
internal static class CommandMachine
{
    /// <summary>An offer on a link is withdrawn after this, and made again.</summary>
    public static readonly TimeSpan OfferOnLink = TimeSpan.FromSeconds(30);

    /// <summary>An offer served to a poll is withdrawn after this.</summary>
    public static readonly TimeSpan OfferToPoll = TimeSpan.FromSeconds(90);

    /// <summary>A node has this long to answer a cancel.</summary>
    public static readonly TimeSpan CancelWithin = TimeSpan.FromSeconds(10);

    /// <summary>Error text is cut to this many characters.</summary>
    public const int ErrorTextMax = 2_000;

    private const string OneSql = $"select {CommandRow.Columns} from commands c where c.host_id = @hostId and c.command_id = @commandId";

    private const string QueuedSql = $"""
        select {CommandRow.Columns} from commands c where c.host_id = @hostId and c.state = 'QUEUED' order by c.created_at, c.command_id limit @limit
        """;

    private const string OpenSql = $"""
        select {CommandRow.Columns} from commands c
        where c.host_id = @hostId and c.state in ('OFFERED', 'ACCEPTED', 'RUNNING') order by c.created_at, c.command_id
        """;

    private const string RemovedSql = $"""
        select {CommandRow.Columns} from commands c
        where c.host_id = @hostId and c.state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING')
        order by c.created_at, c.command_id limit @limit
        """;

    private const string AttemptEndedSql = """
        insert into command_timeline (team_id, command_id, step, state, reason, attempt, at, detail)
        values (@teamId, @commandId, (select coalesce(max(step), 0) + 1 from command_timeline where command_id = @commandId),
            @state, @reason, @attempt, @now, @detail)
        """;

    public static CommandRow? Find(StoreTransaction tx, string hostId, string commandId) =>
        tx.QuerySingleOrDefault<CommandRow>(OneSql, new { hostId, commandId });

    /// <summary>Whether anything is queued for the node or under way there.</summary>
    public static bool HasOpen(StoreTransaction tx, string hostId) => tx.QuerySingleOrDefault<long?>(
        "select 1 from commands where host_id = @hostId and state in ('QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING') limit 1", new { hostId }) is not null;

    /// <summary>Takes the oldest queued commands for the node and marks them offered.</summary>
    public static IReadOnlyList<CommandRow> Offer(StoreTransaction tx, string hostId, int limit, TimeSpan offeredFor)
    {
        var rows = tx.Query<CommandRow>(QueuedSql, new { hostId, limit });
        var until = tx.NowMs + (long)offeredFor.TotalMilliseconds;
        return
        [
            .. rows.Where(row => row.AcceptBy > tx.NowMs
                && Move(tx, row, CommandState.Offered, CommandReason.Unspecified, offeredUntil: until)),
        ];
    }

    /// <summary>A person decided on a command that awaits approval.</summary>
    /// <returns>False if it does not await approval.</returns>
    public static bool Decide(StoreTransaction tx, CommandRow row, bool approve, string detail) =>
        row.StateValue == CommandState.AwaitingApproval
        && (approve
            ? Move(tx, row, CommandState.Queued, CommandReason.Approval, detail)
            : Move(tx, row, CommandState.Rejected, CommandReason.Approval, detail));

    /// <summary>Withdraws offers the node did not take: its link ended. Uses up no attempt.</summary>
    public static void WithdrawOffers(StoreTransaction tx, string hostId)
    {
        // An offer with a cancel on it is not made again: it ends when its time to answer does.
        var offers = tx.Query<CommandRow>(OpenSql, new { hostId })
            .Where(row => row.StateValue == CommandState.Offered && row.CancelRequestedAt is null);
        foreach (var row in offers)
        {
            Move(tx, row, CommandState.Queued, CommandReason.LinkEnded);
        }
    }

    /// <summary>
    /// The node took an attempt and waits for the word to start it. Only KEEP starts it, and KEEP is given once the row says that this journal
    /// holds the attempt: when the journal is lost after that, the attempt is LOST and not offered again.
    /// </summary>
    public static Verdict NodeAccepted(StoreTransaction tx, string hostId, string journalId, string commandId, int attempt)
    {
        var row = Find(tx, hostId, commandId);
        if (row is null || row.Attempt != attempt)
        {
            return Verdict.Forget;
        }

        switch (row.StateValue)
        {
            // A polling node, which has no journal here, runs what it was served whatever it is told: its command ends as it says.
            case CommandState.Queued or CommandState.Offered when row.CancelRequestedAt is not null && journalId.Length > 0:
                Move(tx, row, CommandState.Cancelled, CommandReason.CancelRequested, row.CancelReason);
                return Verdict.Forget;
            case CommandState.Queued or CommandState.Offered:
                return Move(
                    tx, row, CommandState.Accepted, CommandReason.Unspecified, journalId: journalId, acceptedAt: tx.NowMs,
                    finishBy: tx.NowMs + row.FinishWithin)
                    ? Verdict.Keep
                    : Verdict.Forget;
            case CommandState.Accepted when row.JournalId == journalId:
            case CommandState.Running when row.JournalId == journalId && journalId.Length == 0:
                return Verdict.Keep; // A repeat.
            default:
                return Verdict.Forget; // Of a journal's that runs, too: who asks is a copy of the disk from before the start.
        }
    }

    /// <summary>The node started an accepted attempt.</summary>
    public static void NodeStarted(StoreTransaction tx, string hostId, string journalId, string commandId, int attempt)
    {
        if (Find(tx, hostId, commandId) is not { } row || row.Attempt != attempt)
        {
            return;
        }

        switch (row.StateValue)
        {
            case CommandState.Accepted:
                Move(tx, row, CommandState.Running, CommandReason.Unspecified);
                break;
            case CommandState.Queued or CommandState.Offered:
                // A node that does not wait for the word, or a Hub restored from a backup: it runs, so the row says so.
                Move(
                    tx, row, CommandState.Running, CommandReason.Unspecified, journalId: journalId, acceptedAt: tx.NowMs,
                    finishBy: tx.NowMs + row.FinishWithin);
                break;
        }
    }

    /// <summary>How an attempt ended, as the node says. Too late for a terminal command: kept beside its state.</summary>
    /// <param name="refusal">Why the node refused it, if it did.</param>
    public static void NodeFinished(
        StoreTransaction tx, string hostId, CommandOutcome outcome, CommandReason refusal = CommandReason.NodeRefused)
    {
        if (Find(tx, hostId, outcome.CommandId) is not { } row)
        {
            return;
        }

        var (state, reason) = outcome.State switch
        {
            CommandState.Succeeded => (CommandState.Succeeded, CommandReason.Unspecified),
            CommandState.Rejected => (CommandState.Rejected, refusal),
            CommandState.Cancelled => (CommandState.Cancelled, CommandReason.CancelRequested),
            CommandState.Interrupted => (CommandState.Interrupted, CommandReason.NodeRestarted),
            _ => (CommandState.Failed, CommandReason.NodeFailed),
        };
        var result = outcome.Result is null ? null : StoredJson.Write(outcome.Result);
        if (row.IsTerminal || row.Attempt != outcome.Attempt)
        {
            KeepLateResult(tx, row, outcome, state);
            return;
        }

        if (row.StateValue == CommandState.AwaitingApproval)
        {
            return; // Never offered: nobody can have run it.
        }

        var error = Cut(outcome.Error);
        End(tx, row, state, reason, error, result, retry: state is CommandState.Failed or CommandState.Interrupted);
    }

    /// <summary>The host was deleted: what is open ends, in batches.</summary>
    /// <returns>How many were ended.</returns>
    public static int HostRemoved(StoreTransaction tx, string hostId, int limit)
    {
        var rows = tx.Query<CommandRow>(RemovedSql, new { hostId, limit });
        foreach (var row in rows)
        {
            Move(tx, row, CommandState.Cancelled, CommandReason.HostRemoved);
        }

        return rows.Count;
    }

    /// <summary>Stores a result that came by itself because it is too large for a link.</summary>
    public static void StoreResult(StoreTransaction tx, CommandRow row, string result)
    {
        var column = row.IsTerminal && row.StateValue is not (CommandState.Succeeded or CommandState.Failed) ? "late_result" : "result";
        if (tx.Execute(
            $"update commands set {column} = @result where command_id = @CommandId and {column} is null", new { row.CommandId, result }) == 1)
        {
            tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);
        }
    }

    /// <summary>
    /// Somebody asks for a cancel. Where no node can have started it the answer is immediate; else the node is asked.
    /// </summary>
    /// <returns>True if the node has to be asked.</returns>
    public static bool RequestCancel(StoreTransaction tx, CommandRow row, string detail)
    {
        if (row.StateValue is CommandState.AwaitingApproval or CommandState.Queued)
        {
            Move(tx, row, CommandState.Cancelled, CommandReason.CancelRequested, detail);
            return false;
        }

        if (row.IsTerminal || row.CancelRequestedAt is not null)
        {
            return false;
        }

        tx.Execute(
            """
            update commands set cancel_requested_at = @now, cancel_by = @cancelBy, cancel_reason = @detail where command_id = @CommandId
            """,
            new { row.CommandId, now = tx.NowMs, cancelBy = tx.NowMs + (long)CancelWithin.TotalMilliseconds, detail });
        tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);
        return true;
    }

    /// <summary>The commands of a host whose cancel its node has not answered.</summary>
    public static IReadOnlyList<CommandRow> CancelsUnanswered(StoreTransaction tx, string hostId) =>
        [.. tx.Query<CommandRow>(OpenSql, new { hostId }).Where(row => row.CancelRequestedAt is not null)];

    /// <summary>
    /// Brings what the rows say and what a node says it holds together, inside Hello's transaction.
    /// </summary>
    public static IReadOnlyList<CommandVerdict> Reconcile(
        StoreTransaction tx, string hostId, string journalId, IReadOnlyCollection<RunningCommand> running)
    {
        foreach (var row in tx.Query<CommandRow>(OpenSql, new { hostId }))
        {
            // An attempt that runs and has yet to start is not the same one: the node is a copy of its disk from before the start.
            var held = running.FirstOrDefault(item => item.CommandId == row.CommandId && item.Attempt == row.Attempt
                && !(row.StateValue == CommandState.Running && item.State == NodeCommandState.Accepted));
            if (row.StateValue == CommandState.Offered)
            {
                // An offer belongs to the link it was made on. One the node took is settled by its verdict below.
                if (row.CancelRequestedAt is null)
                {
                    Move(tx, row, CommandState.Queued, CommandReason.LinkEnded);
                }
                else if (held is null)
                {
                    Move(tx, row, CommandState.Cancelled, CommandReason.CancelRequested, row.CancelReason);
                }
            }
            else if (row.JournalId.Length > 0 && row.JournalId != journalId)
            {
                End(tx, row, CommandState.Lost, CommandReason.JournalLost, "The node's journal was lost or replaced.", null, retry: true);
            }
            else if (row.JournalId.Length > 0 && held is null)
            {
                End(tx, row, CommandState.Interrupted, CommandReason.NodeRestarted, "The node no longer holds it.", null, retry: true);
            }
        }

        return [.. running.Select(held => new CommandVerdict
        {
            CommandId = held.CommandId,
            Attempt = held.Attempt,
            Verdict = VerdictOn(tx, hostId, journalId, held),
        })];
    }

    /// <summary>What is due by the Hub's clock: expiry, withdrawn offers, lost attempts, unanswered cancels.</summary>
    /// <returns>True if the command is queued now and may be offered.</returns>
    public static bool Due(StoreTransaction tx, string hostId, string commandId)
    {
        if (Find(tx, hostId, commandId) is not { IsTerminal: false } row)
        {
            return false;
        }

        var state = row.StateValue;
        if (row.CancelBy <= tx.NowMs)
        {
            Move(tx, row, CommandState.Cancelled, CommandReason.NodeSilent, row.CancelReason);
        }
        else if (CommandStates.IsHeldByNode(state))
        {
            if (row.FinishBy <= tx.NowMs)
            {
                Move(tx, row, CommandState.Lost, CommandReason.FinishTimeout, "The node did not report in time.");
            }
        }
        else if (row.AcceptBy <= tx.NowMs)
        {
            Move(tx, row, CommandState.Expired, CommandReason.AcceptTimeout);
        }
        else if (state == CommandState.Offered && row.OfferedUntil <= tx.NowMs)
        {
            return Move(tx, row, CommandState.Queued, CommandReason.OfferTimeout);
        }

        return false;
    }

    private static Verdict VerdictOn(StoreTransaction tx, string hostId, string journalId, RunningCommand held)
    {
        if (held.State == NodeCommandState.Accepted)
        {
            return NodeAccepted(tx, hostId, journalId, held.CommandId, held.Attempt);
        }

        var row = Find(tx, hostId, held.CommandId);
        if (row is not null && row.Attempt == held.Attempt && !row.IsTerminal)
        {
            NodeStarted(tx, hostId, journalId, held.CommandId, held.Attempt); // No copy of the node may start it again.
            return Verdict.Keep;
        }

        // What has finished waits in the outbox, and is wanted, late or not.
        return held.State != NodeCommandState.Finished ? Verdict.Stop : row is null ? Verdict.Forget : Verdict.Keep;
    }

    /// <summary>Ends an attempt: for good, or with another attempt if the creator allowed one.</summary>
    private static void End(
        StoreTransaction tx, CommandRow row, CommandState state, CommandReason reason, string error, string? result, bool retry)
    {
        if (retry && row.Attempt < row.MaxAttempts && row.CancelRequestedAt is null && row.AcceptBy > tx.NowMs)
        {
            // The attempt's own end stays visible in the timeline.
            tx.Execute(AttemptEndedSql, new
            {
                teamId = row.TeamId,
                commandId = row.CommandId,
                state = EnumText<CommandState>.Of(state),
                reason = EnumText<CommandReason>.Of(reason),
                attempt = row.Attempt,
                now = tx.NowMs,
                detail = error,
            });
            Move(tx, row, CommandState.Queued, CommandReason.Retry, error, nextAttempt: row.Attempt + 1);
            return;
        }

        Move(tx, row, state, reason, error, result: result, error: error);
    }

    private static void KeepLateResult(StoreTransaction tx, CommandRow row, CommandOutcome outcome, CommandState state)
    {
        var missed = row.StateValue is CommandState.Expired or CommandState.Lost
            || (row.StateValue == CommandState.Cancelled && row.ReasonValue == CommandReason.NodeSilent)
            || (row.StateValue == CommandState.Interrupted && state != CommandState.Interrupted);
        if (!missed || row.LateResult is not null || outcome.Attempt != row.Attempt)
        {
            return; // A repeat of what ended it, or an attempt that another replaced.
        }

        var late = new Struct { Fields = { ["state"] = Value.ForString(EnumText<CommandState>.Of(state)) } };
        if (outcome.Result is not null)
        {
            late.Fields["result"] = outcome.Result;
        }

        if (outcome.Error.Length > 0)
        {
            late.Fields["error"] = Value.ForString(Cut(outcome.Error));
        }

        tx.Execute(
            "update commands set late_result = @late where command_id = @CommandId and late_result is null",
            new { row.CommandId, late = StoredJson.Write(late) });
        tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);
    }

    /// <summary>The one update every transition is, guarded by the state and attempt the row was read with.</summary>
    private static bool Move(
        StoreTransaction tx, CommandRow row, CommandState state, CommandReason reason, string detail = "", long? offeredUntil = null,
        long? acceptedAt = null, long? finishBy = null, string? journalId = null, long? nextAttempt = null, string? result = null,
        string? error = null)
    {
        var terminal = CommandStates.IsTerminal(state);
        var requeued = state == CommandState.Queued;
        var attempt = nextAttempt ?? row.Attempt;
        var moved = tx.Execute(MoveSql(tx.Dialect), new
        {
            commandId = row.CommandId,
            fromState = row.State,
            attempt = row.Attempt,
            state = EnumText<CommandState>.Of(state),
            reason = EnumText<CommandReason>.Of(reason),
            nextAttempt = attempt,
            now = tx.NowMs,
            offeredUntil,
            acceptedAt = requeued ? null : acceptedAt ?? row.AcceptedAt,
            finishBy = requeued || terminal ? null : finishBy ?? row.FinishBy,
            finishedAt = terminal ? tx.NowMs : (long?)null,
            journalId = requeued ? "" : journalId ?? row.JournalId,
            cancelBy = terminal ? null : row.CancelBy,
            result,
            error = error ?? row.Error,
            detail,
        }) == 2;
        if (moved)
        {
            tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, attempt);
        }

        return moved;
    }

    /// <summary>
    /// An entry in the timeline and the update it tells of, two rows or none. The first locks the row, so that the second finds it as it was.
    /// </summary>
    private static string MoveSql(IDialect dialect) => $"""
        insert into command_timeline (team_id, command_id, step, state, reason, attempt, at, detail)
        select c.team_id, c.command_id, (select coalesce(max(t.step), 0) + 1 from command_timeline t where t.command_id = c.command_id),
            @state, @reason, @nextAttempt, @now, @detail
        from commands c where c.command_id = @commandId and c.state = @fromState and c.attempt = @attempt{dialect.ForUpdate};
        update commands set state = @state, reason = @reason, attempt = @nextAttempt, updated_at = @now, offered_until = @offeredUntil,
            accepted_at = @acceptedAt, finish_by = @finishBy, finished_at = @finishedAt, journal_id = @journalId,
            cancel_by = @cancelBy, result = coalesce(@result, result), error = @error
        where command_id = @commandId and state = @fromState and attempt = @attempt
        """;

    private static string Cut(string text) => text.Length <= ErrorTextMax ? text : text[..ErrorTextMax];
}
