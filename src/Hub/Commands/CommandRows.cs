using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// The commands that a job works on. Each is read once, under a lock until the commit, and changed in memory; what became of it is written
/// once, with an entry in the timeline for each transition.
/// </summary>
internal sealed class CommandRows
{
    /// <summary>Steps count on from the last that is stored: where the statement runs for each row, as on SQLite, that is the one before.</summary>
    private static readonly RowsStatement<Step> Steps = new(
        """
        insert into command_timeline (team_id, command_id, step, state, reason, attempt, at, detail)
        select r.team_id, r.command_id,
            coalesce((select max(t.step) from command_timeline t where t.command_id = r.command_id), 0)
                + row_number() over (partition by r.command_id order by r.place),
            r.state, r.reason, r.attempt, r.at, r.detail
        from {rows}
        """,
        Column<Step>.Of("place", step => step.Place),
        Column<Step>.Of("team_id", step => step.TeamId),
        Column<Step>.Of("command_id", step => step.CommandId),
        Column<Step>.Of("state", step => step.State),
        Column<Step>.Of("reason", step => step.Reason),
        Column<Step>.Of("attempt", step => step.Attempt),
        Column<Step>.Of("at", step => step.At),
        Column<Step>.Of("detail", step => step.Detail));

    /// <summary>What transitions change.</summary>
    private static readonly Column<Written>[] Moved =
    [
        Column<Written>.Of("command_id", written => written.Row.CommandId),
        Column<Written>.Of("state", written => written.Row.State),
        Column<Written>.Of("reason", written => written.Row.Reason),
        Column<Written>.Of("attempt", written => written.Row.Attempt),
        Column<Written>.Of("updated_at", written => written.Row.UpdatedAt),
        Column<Written>.Of("offered_until", written => written.Row.OfferedUntil),
        Column<Written>.Of("accepted_at", written => written.Row.AcceptedAt),
        Column<Written>.Of("finish_by", written => written.Row.FinishBy),
        Column<Written>.Of("finished_at", written => written.Row.FinishedAt),
        Column<Written>.Of("journal_id", written => written.Row.JournalId),
        Column<Written>.Of("cancel_by", written => written.Row.CancelBy),
        Column<Written>.Of("result", written => written.Result),
        Column<Written>.Of("error", written => written.Row.Error),
    ];

    private static readonly RowsStatement<Written> Updates = new(
        """
        update commands set state = r.state, reason = r.reason, attempt = r.attempt, updated_at = r.updated_at, offered_until = r.offered_until,
            accepted_at = r.accepted_at, finish_by = r.finish_by, finished_at = r.finished_at, journal_id = r.journal_id, cancel_by = r.cancel_by,
            result = coalesce(r.result, commands.result), error = r.error
        from {rows} where commands.command_id = r.command_id
        """,
        Moved);

    private static readonly RowsStatement<Written> Inserts = new(
        """
        insert into commands (command_id, team_id, host_id, type, payload, state, reason, attempt, max_attempts, idempotency_key, fingerprint,
            created_by, created_at, updated_at, accept_by, finish_within, offered_until, accepted_at, finish_by, finished_at, journal_id, cancel_by,
            cancel_reason, result, error, traceparent, approval_policy, approver_role, creator_may_decide)
        select r.command_id, r.team_id, r.host_id, r.type, r.payload, r.state, r.reason, r.attempt, r.max_attempts, r.idempotency_key,
            r.fingerprint, r.created_by, r.created_at, r.updated_at, r.accept_by, r.finish_within, r.offered_until, r.accepted_at, r.finish_by,
            r.finished_at, r.journal_id, r.cancel_by, '', r.result, r.error, r.traceparent, r.approval_policy, r.approver_role,
            r.creator_may_decide
        from {rows}
        """,
        [
            .. Moved,
            Column<Written>.Of("team_id", written => written.Row.TeamId),
            Column<Written>.Of("host_id", written => written.Row.HostId),
            Column<Written>.Of("type", written => written.Row.Type),
            Column<Written>.Of("payload", written => written.Row.Payload),
            Column<Written>.Of("max_attempts", written => written.Row.MaxAttempts),
            Column<Written>.Of("idempotency_key", written => written.Row.IdempotencyKey),
            Column<Written>.Of("fingerprint", written => written.Row.Fingerprint),
            Column<Written>.Of("created_by", written => written.Row.CreatedBy),
            Column<Written>.Of("created_at", written => written.Row.CreatedAt),
            Column<Written>.Of("accept_by", written => written.Row.AcceptBy),
            Column<Written>.Of("finish_within", written => written.Row.FinishWithin),
            Column<Written>.Of("traceparent", written => written.Row.Traceparent),
            Column<Written>.Of("approval_policy", written => written.Row.ApprovalPolicy),
            Column<Written>.Of("approver_role", written => written.Row.ApproverRole),
            Column<Written>.Of("creator_may_decide", written => written.Row.CreatorMayDecide),
        ]);

    private readonly StoreTransaction _tx;

    // Null where there is none.
    private readonly Dictionary<(string HostId, string CommandId), CommandRow?> _known = [];

    private readonly List<Step> _steps = [];

    // As they are after the last of their transitions.
    private readonly Dictionary<string, Written> _written = new(StringComparer.Ordinal);

    private CommandRows(StoreTransaction tx)
    {
        _tx = tx;
    }

    /// <summary>Does what changes commands, and writes the changes.</summary>
    public static T Change<T>(StoreTransaction tx, Func<CommandRows, T> work)
    {
        var rows = new CommandRows(tx);
        var result = work(rows);
        rows.Save();
        return result;
    }

    /// <inheritdoc cref="Change{T}"/>
    public static void Change(StoreTransaction tx, Action<CommandRows> work) => Change(tx, rows =>
    {
        work(rows);
        return true;
    });

    /// <summary>Epoch milliseconds of the transaction.</summary>
    public long NowMs => _tx.NowMs;

    /// <summary>The command as it is now, what this job has made of it included; null if the host has no such command.</summary>
    public CommandRow? Find(string hostId, string commandId)
    {
        Load([(hostId, commandId)]);
        return _known[(hostId, commandId)];
    }

    /// <summary>Reads those that will be asked for, all at once.</summary>
    public void Load(IEnumerable<(string HostId, string CommandId)> keys)
    {
        var unread = keys.Where(key => !_known.ContainsKey(key)).ToHashSet();
        if (unread.Count == 0)
        {
            return;
        }

        var dialect = _tx.Dialect;
        var found = Read($"{dialect.In("c.command_id", "commandIds")} and {dialect.In("c.host_id", "hostIds")} order by c.command_id", new
        {
            commandIds = dialect.InValue(unread.Select(key => key.CommandId)),
            hostIds = dialect.InValue(unread.Select(key => key.HostId).Distinct(StringComparer.Ordinal)),
        }).ToDictionary(row => (row.HostId, row.CommandId));
        foreach (var key in unread)
        {
            _known[key] = found.GetValueOrDefault(key);
        }
    }

    /// <summary>The commands that meet a condition on <c>commands c</c>, what this job has made of them included.</summary>
    /// <param name="condition">With its order, which is that of the locks, and its limit.</param>
    public IReadOnlyList<CommandRow> Query(string condition, object args)
    {
        Save();
        var rows = Read(condition, args);
        foreach (var row in rows)
        {
            _known[(row.HostId, row.CommandId)] = row;
        }

        return rows;
    }

    /// <summary>Makes a command as it is, which is the first entry of its timeline, and its watchers hear of it.</summary>
    public void Create(CommandRow row)
    {
        Write(row, row.StateValue, row.ReasonValue, detail: "", row.Result);
        _written[row.CommandId] = _written[row.CommandId] with { IsNew = true };
    }

    /// <summary>Makes a transition of the command, and its watchers hear of it.</summary>
    /// <param name="after">What is otherwise than before, besides state and reason.</param>
    public CommandRow Move(CommandRow row, CommandState state, CommandReason reason, string detail = "", Func<CommandRow, CommandRow>? after = null)
    {
        var moved = row with
        {
            State = EnumText<CommandState>.Of(state),
            Reason = EnumText<CommandReason>.Of(reason),
            UpdatedAt = _tx.NowMs,
            OfferedUntil = null,
        };
        if (state == CommandState.Queued)
        {
            moved = moved with { AcceptedAt = null, FinishBy = null, JournalId = "" };
        }
        else if (CommandStates.IsTerminal(state))
        {
            moved = moved with { FinishBy = null, CancelBy = null, FinishedAt = _tx.NowMs };
        }

        moved = after?.Invoke(moved) ?? moved;
        Write(moved, state, reason, detail, moved.Result == row.Result ? null : moved.Result);
        return moved;
    }

    /// <summary>Writes into the timeline what does not change the command.</summary>
    public void Note(CommandRow row, CommandState state, CommandReason reason, string detail) =>
        Write(row, state, reason, detail, result: null);

    /// <summary>Changes columns that no transition does, and the command's watchers hear of it.</summary>
    /// <param name="columns">Assignments, of the properties of <paramref name="changed"/>.</param>
    public CommandRow Set(string columns, CommandRow changed)
    {
        Save();
        _tx.Execute($"update commands set {columns} where command_id = @CommandId", changed);
        _known[(changed.HostId, changed.CommandId)] = changed;
        AppendEvent(changed);
        return changed;
    }

    /// <param name="result">Null leaves the one that is stored.</param>
    private void Write(CommandRow row, CommandState state, CommandReason reason, string detail, string? result)
    {
        _steps.Add(new Step(
            _steps.Count, row.TeamId, row.CommandId, EnumText<CommandState>.Of(state), EnumText<CommandReason>.Of(reason), row.Attempt, _tx.NowMs,
            detail));
        var before = _written.GetValueOrDefault(row.CommandId);
        _written[row.CommandId] = new Written(row, result ?? before.Result, before.IsNew);
        _known[(row.HostId, row.CommandId)] = row;
    }

    private void AppendEvent(CommandRow row) =>
        _tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);

    private void Save()
    {
        _tx.Execute(Inserts, [.. _written.Values.Where(written => written.IsNew)]);
        _tx.Execute(Updates, [.. _written.Values.Where(written => !written.IsNew)]);
        _tx.Execute(Steps, [.. _steps]);
        foreach (var written in _written.Values)
        {
            AppendEvent(written.Row);
        }

        _steps.Clear();
        _written.Clear();
    }

    private IReadOnlyList<CommandRow> Read(string condition, object args) =>
        _tx.Query<CommandRow>($"select {CommandRow.Columns} from commands c where {condition}{_tx.Dialect.ForUpdate}", args);

    /// <param name="Place">Among those of the job.</param>
    private readonly record struct Step(
        long Place, string TeamId, string CommandId, string State, string Reason, long Attempt, long At, string Detail);

    /// <param name="Result">Null leaves the one that is stored.</param>
    private readonly record struct Written(CommandRow Row, string? Result, bool IsNew);
}
