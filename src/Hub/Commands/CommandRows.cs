using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// The commands that a job works on. Each is read once, under a lock until the commit, and changed in memory; transitions are written
/// together, with an entry each in the timeline.
/// </summary>
internal sealed class CommandRows
{
    /// <summary>
    /// A transition, and the row as it is after it. Of the transitions of a command the last has the row to write. Steps count on from the
    /// last that is stored: where the statement runs for each row, as on SQLite, that is the one before.
    /// </summary>
    private static readonly RowsStatement<Transition> Transitions = new(
        """
        insert into command_timeline (team_id, command_id, step, state, reason, attempt, at, detail)
        select r.team_id, r.command_id,
            (select max(t.step) from command_timeline t where t.command_id = r.command_id)
                + row_number() over (partition by r.command_id order by r.place),
            r.step_state, r.step_reason, r.attempt, r.at, r.detail
        from {rows};
        update commands set state = r.state, reason = r.reason, attempt = r.attempt, updated_at = r.at, offered_until = r.offered_until,
            accepted_at = r.accepted_at, finish_by = r.finish_by, finished_at = r.finished_at, journal_id = r.journal_id, cancel_by = r.cancel_by,
            result = coalesce(r.result, commands.result), error = r.error
        from {rows} where commands.command_id = r.command_id and r.is_last = 1
        """,
        Column<Transition>.Of("place", step => step.Place),
        Column<Transition>.Of("is_last", step => step.IsLast ? 1L : 0L),
        Column<Transition>.Of("team_id", step => step.Row.TeamId),
        Column<Transition>.Of("command_id", step => step.Row.CommandId),
        Column<Transition>.Of("at", step => step.At),
        Column<Transition>.Of("step_state", step => step.State),
        Column<Transition>.Of("step_reason", step => step.Reason),
        Column<Transition>.Of("detail", step => step.Detail),
        Column<Transition>.Of("state", step => step.Row.State),
        Column<Transition>.Of("reason", step => step.Row.Reason),
        Column<Transition>.Of("attempt", step => step.Row.Attempt),
        Column<Transition>.Of("offered_until", step => step.Row.OfferedUntil),
        Column<Transition>.Of("accepted_at", step => step.Row.AcceptedAt),
        Column<Transition>.Of("finish_by", step => step.Row.FinishBy),
        Column<Transition>.Of("finished_at", step => step.Row.FinishedAt),
        Column<Transition>.Of("journal_id", step => step.Row.JournalId),
        Column<Transition>.Of("cancel_by", step => step.Row.CancelBy),
        Column<Transition>.Of("result", step => step.Result),
        Column<Transition>.Of("error", step => step.Row.Error));

    private readonly StoreTransaction _tx;

    // Null where there is none.
    private readonly Dictionary<(string HostId, string CommandId), CommandRow?> _known = [];

    private readonly List<Transition> _made = [];

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
        return Changed(moved);
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
        return Changed(changed);
    }

    private void Write(CommandRow row, CommandState state, CommandReason reason, string detail, string? result) => _made.Add(new Transition(
        row, EnumText<CommandState>.Of(state), EnumText<CommandReason>.Of(reason), detail, result, _tx.NowMs, _made.Count));

    private CommandRow Changed(CommandRow row)
    {
        _known[(row.HostId, row.CommandId)] = row;
        _tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Command), row.HostId, row.CommandId, row.Attempt);
        return row;
    }

    private void Save()
    {
        var last = new HashSet<string>(StringComparer.Ordinal);
        for (var i = _made.Count - 1; i >= 0; i--)
        {
            _made[i] = _made[i] with { IsLast = last.Add(_made[i].Row.CommandId) };
        }

        _tx.Execute(Transitions, [.. _made]);
        _made.Clear();
    }

    private IReadOnlyList<CommandRow> Read(string condition, object args) =>
        _tx.Query<CommandRow>($"select {CommandRow.Columns} from commands c where {condition}{_tx.Dialect.ForUpdate}", args);

    /// <param name="Row">As it is afterwards.</param>
    /// <param name="Result">Null leaves the one that is stored.</param>
    /// <param name="Place">Among those of the job.</param>
    private readonly record struct Transition(
        CommandRow Row, string State, string Reason, string Detail, string? Result, long At, long Place, bool IsLast = false);
}
