using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>The command journal.</content>
internal sealed partial class Journal
{
    /// <summary>Finished attempts remembered, so that a repeated offer is answered by the stored outcome.</summary>
    public const int FinishedCommandsMax = 10_000;

    /// <summary>Time a finished attempt is remembered; longer than the 30 days a command may wait for acceptance.</summary>
    public static readonly TimeSpan FinishedCommandAgeMax = TimeSpan.FromDays(35);

    public JournaledCommand? FindCommand(CommandKey key)
    {
        using var rows = Query("select state, offer, outcome from commands where command_id = $1 and attempt = $2", key.CommandId, key.Attempt);
        return rows.Read()
            ? new JournaledCommand(
                key,
                (NodeCommandState)rows.GetInt32(0),
                CommandOffer.Parser.ParseFrom(Blob(rows, 1)),
                rows.IsDBNull(2) ? null : CommandOutcome.Parser.ParseFrom(Blob(rows, 2)))
            : null;
    }

    /// <summary>Notes an offer as accepted.</summary>
    public void AddCommand(CommandOffer offer) => Execute(
        "insert into commands(command_id, attempt, state, offer) values($1, $2, $3, $4)",
        offer.CommandId,
        offer.Attempt,
        (int)NodeCommandState.Accepted,
        offer.ToByteArray());

    public void MarkRunning(CommandKey key) => Execute(
        "update commands set state = $3 where command_id = $1 and attempt = $2", key.CommandId, key.Attempt, (int)NodeCommandState.Running);

    public void MarkFinished(CommandKey key, CommandOutcome outcome, DateTimeOffset now) => Execute(
        "update commands set state = $3, outcome = $4, finished_at = $5 where command_id = $1 and attempt = $2",
        key.CommandId,
        key.Attempt,
        (int)NodeCommandState.Finished,
        outcome.ToByteArray(),
        now.ToUnixTimeMilliseconds());

    public void RemoveCommand(CommandKey key) =>
        Execute("delete from commands where command_id = $1 and attempt = $2", key.CommandId, key.Attempt);

    /// <summary>What Hello lists: accepted, running, and finished while an entry of the attempt still waits in the outbox.</summary>
    public IReadOnlyList<RunningCommand> HeldCommands()
    {
        var held = new List<RunningCommand>();
        using var rows = Query("""
            select command_id, attempt, state from commands
            where state <> 3 or exists(select 1 from outbox where lane = 1 and record_key = command_id || '/' || attempt)
            order by command_id, attempt
            """);
        while (rows.Read())
        {
            held.Add(new RunningCommand { CommandId = rows.GetString(0), Attempt = rows.GetInt32(1), State = (NodeCommandState)rows.GetInt32(2) });
        }

        return held;
    }

    public IReadOnlyList<CommandKey> CommandsIn(NodeCommandState state)
    {
        var keys = new List<CommandKey>();
        using var rows = Query("select command_id, attempt from commands where state = $1 order by rowid", (int)state);
        while (rows.Read())
        {
            keys.Add(new CommandKey(rows.GetString(0), rows.GetInt32(1)));
        }

        return keys;
    }

    public long CountUnfinishedCommands() => Scalar<long>("select count(*) from commands where state in (1, 2)");

    /// <summary>Forgets finished attempts beyond the bounds, unless the Hub has still to hear of them.</summary>
    public void PruneCommands(DateTimeOffset now) => Execute(
        """
        delete from commands where state = 3
            and (finished_at < $1 or finished_at < (select finished_at from commands where state = 3 order by finished_at desc limit 1 offset $2))
            and not exists(select 1 from outbox where lane = 1 and record_key = command_id || '/' || attempt)
        """,
        (now - FinishedCommandAgeMax).ToUnixTimeMilliseconds(),
        FinishedCommandsMax - 1);

    /// <summary>Keeps a result that is too large for a link until it was uploaded.</summary>
    public void AddUpload(CommandKey key, byte[] result) =>
        Execute("insert or replace into uploads(command_id, attempt, result) values($1, $2, $3)", key.CommandId, key.Attempt, result);

    public (CommandKey Key, byte[] Result)? FirstUpload()
    {
        using var rows = Query("select command_id, attempt, result from uploads order by rowid limit 1");
        return rows.Read() ? (new CommandKey(rows.GetString(0), rows.GetInt32(1)), Blob(rows, 2)) : null;
    }

    public void RemoveUpload(CommandKey key) =>
        Execute("delete from uploads where command_id = $1 and attempt = $2", key.CommandId, key.Attempt);
}

/// <summary>One attempt as the journal knows it.</summary>
internal sealed record JournaledCommand(CommandKey Key, NodeCommandState State, CommandOffer Offer, CommandOutcome? Outcome);
