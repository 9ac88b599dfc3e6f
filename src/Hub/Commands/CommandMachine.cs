using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// The state machine of commands (stream-protocol.md §4). Rows are the truth: what a job decides, it decides by rows that it has locked, and
/// every transition has its entry in the timeline, inside the caller's transaction. Terminal states never change.
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

    private const string Queued = "c.host_id = @hostId and c.state = 'QUEUED' order by c.created_at, c.command_id limit @limit";

    // In the order of their ids, as whatever else locks several, so that two replicas do not wait for each other.
    private const string Open = "c.host_id = @hostId and c.state in ('OFFERED', 'ACCEPTED', 'RUNNING') order by c.command_id";

    private const string Removed = """
        c.host_id = @hostId and c.state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING')
        order by c.created_at, c.command_id limit @limit
        """;

    /// <summary>Takes the oldest queued commands for the node and marks them offered.</summary>
    public static IReadOnlyList<CommandRow> Offer(CommandRows rows, string hostId, int limit, TimeSpan offeredFor) =>
        [.. rows.Query(Queued, new { hostId, limit }).Where(row => row.AcceptBy > rows.NowMs).Select(row => Offer(rows, row, offeredFor))];

    /// <summary>Marks a command offered that is queued.</summary>
    public static CommandRow Offer(CommandRows rows, CommandRow row, TimeSpan offeredFor)
    {
        var until = rows.NowMs + (long)offeredFor.TotalMilliseconds;
        return rows.Move(row, CommandState.Offered, CommandReason.Unspecified, after: offered => offered with { OfferedUntil = until });
    }

    /// <summary>A person decided on a command that awaits approval.</summary>
    /// <returns>Null if it does not await approval.</returns>
    public static CommandRow? Decide(CommandRows rows, string hostId, string commandId, bool approve, string detail) =>
        rows.Find(hostId, commandId) is { StateValue: CommandState.AwaitingApproval } row
            ? rows.Move(row, approve ? CommandState.Queued : CommandState.Rejected, CommandReason.Approval, detail)
            : null;

    /// <summary>Withdraws offers the node did not take: its link ended. Uses up no attempt.</summary>
    public static void WithdrawOffers(CommandRows rows, string hostId)
    {
        // An offer with a cancel on it is not made again: it ends when its time to answer does.
        var offers = rows.Query(Open, new { hostId }).Where(row => row.StateValue == CommandState.Offered && row.CancelRequestedAt is null);
        foreach (var row in offers)
        {
            rows.Move(row, CommandState.Queued, CommandReason.LinkEnded);
        }
    }

    /// <summary>
    /// The node took an attempt and waits for the word to start it. Only KEEP starts it, and KEEP is given once the row says that this journal
    /// holds the attempt: when the journal is lost after that, the attempt is LOST and not offered again.
    /// </summary>
    public static Verdict NodeAccepted(CommandRows rows, string hostId, string journalId, string commandId, int attempt)
    {
        var row = rows.Find(hostId, commandId);
        if (row is null || row.Attempt != attempt)
        {
            return Verdict.Forget;
        }

        switch (row.StateValue)
        {
            // A polling node, which has no journal here, runs what it was served whatever it is told: its command ends as it says.
            case CommandState.Queued or CommandState.Offered when row.CancelRequestedAt is not null && journalId.Length > 0:
                rows.Move(row, CommandState.Cancelled, CommandReason.CancelRequested, row.CancelReason);
                return Verdict.Forget;
            case CommandState.Queued or CommandState.Offered:
                Take(rows, row, CommandState.Accepted, journalId);
                return Verdict.Keep;
            case CommandState.Accepted when row.JournalId == journalId:
            case CommandState.Running when row.JournalId == journalId && journalId.Length == 0:
                return Verdict.Keep; // A repeat.
            default:
                return Verdict.Forget; // Of a journal's that runs, too: who asks is a copy of the disk from before the start.
        }
    }

    /// <summary>The node started an accepted attempt.</summary>
    public static void NodeStarted(CommandRows rows, string hostId, string journalId, string commandId, int attempt)
    {
        if (rows.Find(hostId, commandId) is not { } row || row.Attempt != attempt)
        {
            return;
        }

        switch (row.StateValue)
        {
            case CommandState.Accepted:
                rows.Move(row, CommandState.Running, CommandReason.Unspecified);
                break;
            case CommandState.Queued or CommandState.Offered:
                // A node that does not wait for the word, or a Hub restored from a backup: it runs, so the row says so.
                Take(rows, row, CommandState.Running, journalId);
                break;
        }
    }

    /// <summary>How an attempt ended, as the node says. Too late for a terminal command: kept beside its state.</summary>
    /// <param name="refusal">Why the node refused it, if it did.</param>
    public static void NodeFinished(
        CommandRows rows, string hostId, CommandOutcome outcome, CommandReason refusal = CommandReason.NodeRefused)
    {
        if (rows.Find(hostId, outcome.CommandId) is not { } row)
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
            KeepLateResult(rows, row, outcome, state);
            return;
        }

        if (row.StateValue == CommandState.AwaitingApproval)
        {
            return; // Never offered: nobody can have run it.
        }

        var error = Cut(outcome.Error);
        End(rows, row, state, reason, error, result, retry: state is CommandState.Failed or CommandState.Interrupted);
    }

    /// <summary>The host was deleted: what is open ends, in batches.</summary>
    /// <returns>How many were ended.</returns>
    public static int HostRemoved(CommandRows rows, string hostId, int limit)
    {
        var removed = rows.Query(Removed, new { hostId, limit });
        foreach (var row in removed)
        {
            rows.Move(row, CommandState.Cancelled, CommandReason.HostRemoved);
        }

        return removed.Count;
    }

    /// <summary>Stores a result that came by itself because it is too large for a link.</summary>
    public static CommandRow StoreResult(CommandRows rows, CommandRow row, string result)
    {
        var isLate = row.IsTerminal && row.StateValue is not (CommandState.Succeeded or CommandState.Failed);
        if ((isLate ? row.LateResult : row.Result) is not null)
        {
            return row;
        }

        return isLate
            ? rows.Set("late_result = @LateResult", row with { LateResult = result })
            : rows.Set("result = @Result", row with { Result = result });
    }

    /// <summary>
    /// Somebody asks for a cancel. Where no node can have started it the answer is immediate; else the node is asked.
    /// </summary>
    /// <returns>True if the node has to be asked.</returns>
    public static bool RequestCancel(CommandRows rows, CommandRow row, string detail)
    {
        if (row.StateValue is CommandState.AwaitingApproval or CommandState.Queued)
        {
            rows.Move(row, CommandState.Cancelled, CommandReason.CancelRequested, detail);
            return false;
        }

        if (row.IsTerminal || row.CancelRequestedAt is not null)
        {
            return false;
        }

        var now = rows.NowMs;
        var asked = row with { CancelRequestedAt = now, CancelBy = now + (long)CancelWithin.TotalMilliseconds, CancelReason = detail };
        rows.Set("cancel_requested_at = @CancelRequestedAt, cancel_by = @CancelBy, cancel_reason = @CancelReason", asked);
        return true;
    }

    /// <summary>The commands of a host whose cancel its node has not answered.</summary>
    public static IReadOnlyList<CommandRow> CancelsUnanswered(StoreTransaction tx, string hostId) =>
        [.. tx.Query<CommandRow>($"select {CommandRow.Columns} from commands c where {Open}", new { hostId }).Where(row => row.CancelRequestedAt is not null)];

    /// <summary>
    /// Brings what the rows say and what a node says it holds together, inside Hello's transaction.
    /// </summary>
    public static IReadOnlyList<CommandVerdict> Reconcile(
        CommandRows rows, string hostId, string journalId, IReadOnlyCollection<RunningCommand> running)
    {
        foreach (var row in rows.Query(Open, new { hostId }))
        {
            // An attempt that runs and has yet to start is not the same one: the node is a copy of its disk from before the start.
            var held = running.FirstOrDefault(item => item.CommandId == row.CommandId && item.Attempt == row.Attempt
                && !(row.StateValue == CommandState.Running && item.State == NodeCommandState.Accepted));
            if (row.StateValue == CommandState.Offered)
            {
                // An offer belongs to the link it was made on. One the node took is settled by its verdict below.
                if (row.CancelRequestedAt is null)
                {
                    rows.Move(row, CommandState.Queued, CommandReason.LinkEnded);
                }
                else if (held is null)
                {
                    rows.Move(row, CommandState.Cancelled, CommandReason.CancelRequested, row.CancelReason);
                }
            }
            else if (row.JournalId.Length > 0 && row.JournalId != journalId)
            {
                End(rows, row, CommandState.Lost, CommandReason.JournalLost, "The node's journal was lost or replaced.", null, retry: true);
            }
            else if (row.JournalId.Length > 0 && held is null)
            {
                End(rows, row, CommandState.Interrupted, CommandReason.NodeRestarted, "The node no longer holds it.", null, retry: true);
            }
        }

        rows.Load(running.Select(held => (hostId, held.CommandId)));
        return [.. running.Select(held => new CommandVerdict
        {
            CommandId = held.CommandId,
            Attempt = held.Attempt,
            Verdict = VerdictOn(rows, hostId, journalId, held),
        })];
    }

    /// <summary>What is due by the Hub's clock: expiry, withdrawn offers, lost attempts, unanswered cancels.</summary>
    /// <returns>True if the command is queued now and may be offered.</returns>
    public static bool Due(CommandRows rows, string hostId, string commandId)
    {
        if (rows.Find(hostId, commandId) is not { IsTerminal: false } row)
        {
            return false;
        }

        var (state, now) = (row.StateValue, rows.NowMs);
        if (row.CancelBy <= now)
        {
            rows.Move(row, CommandState.Cancelled, CommandReason.NodeSilent, row.CancelReason);
        }
        else if (CommandStates.IsHeldByNode(state))
        {
            if (row.FinishBy <= now)
            {
                rows.Move(row, CommandState.Lost, CommandReason.FinishTimeout, "The node did not report in time.");
            }
        }
        else if (row.AcceptBy <= now)
        {
            rows.Move(row, CommandState.Expired, CommandReason.AcceptTimeout);
        }
        else if (state == CommandState.Offered && row.OfferedUntil <= now)
        {
            rows.Move(row, CommandState.Queued, CommandReason.OfferTimeout);
            return true;
        }

        return false;
    }

    private static Verdict VerdictOn(CommandRows rows, string hostId, string journalId, RunningCommand held)
    {
        if (held.State == NodeCommandState.Accepted)
        {
            return NodeAccepted(rows, hostId, journalId, held.CommandId, held.Attempt);
        }

        var row = rows.Find(hostId, held.CommandId);
        if (row is not null && row.Attempt == held.Attempt && !row.IsTerminal)
        {
            NodeStarted(rows, hostId, journalId, held.CommandId, held.Attempt); // No copy of the node may start it again.
            return Verdict.Keep;
        }

        // What has finished waits in the outbox, and is wanted, late or not.
        return held.State != NodeCommandState.Finished ? Verdict.Stop : row is null ? Verdict.Forget : Verdict.Keep;
    }

    /// <summary>The node has an attempt, which its journal holds.</summary>
    private static void Take(CommandRows rows, CommandRow row, CommandState state, string journalId)
    {
        var now = rows.NowMs;
        rows.Move(
            row, state, CommandReason.Unspecified, after: taken => taken with { JournalId = journalId, AcceptedAt = now, FinishBy = now + row.FinishWithin });
    }

    /// <summary>Ends an attempt: for good, or with another attempt if the creator allowed one.</summary>
    private static void End(
        CommandRows rows, CommandRow row, CommandState state, CommandReason reason, string error, string? result, bool retry)
    {
        if (retry && row.Attempt < row.MaxAttempts && row.CancelRequestedAt is null && row.AcceptBy > rows.NowMs)
        {
            rows.Note(row, state, reason, error); // The attempt's own end stays visible in the timeline.
            rows.Move(row, CommandState.Queued, CommandReason.Retry, error, after: next => next with { Attempt = row.Attempt + 1 });
            return;
        }

        rows.Move(row, state, reason, error, after: ended => ended with { Result = result ?? row.Result, Error = error });
    }

    private static void KeepLateResult(CommandRows rows, CommandRow row, CommandOutcome outcome, CommandState state)
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

        rows.Set("late_result = @LateResult", row with { LateResult = StoredJson.Write(late) });
    }

    private static string Cut(string text) => text.Length <= ErrorTextMax ? text : text[..ErrorTextMax];
}
