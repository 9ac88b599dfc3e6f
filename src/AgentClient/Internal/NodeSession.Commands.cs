using System.Diagnostics.CodeAnalysis;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>
/// Commands. Offer: journaled ACCEPTED and reported. KEEP: may start. Start: journaled RUNNING and reported before the handler runs.
/// End: journaled FINISHED with its outcome and reported. Every step is one transaction, so a crash leaves the attempt before or after it.
/// </content>
internal sealed partial class NodeSession
{
    /// <summary>Attempts accepted and not finished. Beyond that an offer is left unanswered; the Hub makes it again.</summary>
    public const int HeldCommandsMax = 10_000;

    /// <summary>Largest result on the link, as JSON; larger ones are uploaded.</summary>
    public const int InlineResultBytesMax = 256 * 1024;

    /// <summary>Largest result of all, as JSON.</summary>
    public const int ResultBytesMax = 8 * 1024 * 1024;

    private const int ErrorCharsMax = 2_000;
    private const int ProgressMessageCharsMax = 500;

    // Finished attempts between two prunings of the journal.
    private const int PruneEvery = 1_000;

    // Accepted attempts that an acknowledgement said KEEP about and that have not started, in the order of its word. Memory only: in every
    // link the node asks anew, which is what keeps a restored copy of the journal from starting anything.
    private readonly OrderedDictionary<CommandKey, bool> _kept = [];
    private int _finishedSincePrune = PruneEvery;

    /// <summary>Takes the next attempt that may start now. It is journaled as RUNNING when this returns: it never starts again.</summary>
    public bool TryTakeStart([NotNullWhen(true)] out StartedCommand? started)
    {
        StartedCommand? next = null;
        while (next is null && _kept.Count > 0)
        {
            var key = _kept.GetAt(0).Key;
            Transact(() => next = Start(key));
            _kept.RemoveAt(0);
        }

        started = next;
        if (started is null)
        {
            return false;
        }

        _progress.Add(started.Key, new ProgressSlot { DueAt = _time.GetTimestamp() });
        _windows[Lane.Commands].MayHaveMore = true;
        return true;
    }

    /// <summary>
    /// A running attempt has ended. Its outcome is on the disk when this returns; a result too large for a link waits there for
    /// <see cref="FirstUpload"/>. An attempt that is not running, as after FORGET, is left as it is.
    /// </summary>
    public void Complete(CommandKey key, CommandState state, Value? result, string? error)
    {
        _progress.Remove(key);
        var resultBytes = result is null ? 0 : Encoding.UTF8.GetByteCount(JsonFormatter.Default.Format(result));
        if (resultBytes > ResultBytesMax)
        {
            (state, result) = (CommandState.Failed, null);
            error = $"The result has {resultBytes} bytes; {ResultBytesMax} are allowed.";
        }

        Transact(() =>
        {
            if (_journal.FindCommand(key) is not { State: NodeCommandState.Running })
            {
                return;
            }

            var inline = resultBytes <= InlineResultBytesMax;
            if (result is not null && !inline)
            {
                _journal.AddUpload(key, result.ToByteArray());
            }

            Finish(key, state, inline ? result : null, error);
        });
        PruneNowAndThen();
    }

    /// <summary>The oldest result that waits to be uploaded.</summary>
    public (CommandKey Key, byte[] Result)? FirstUpload() => _journal.FirstUpload();

    /// <summary>The Hub has the result, or will never take it.</summary>
    public void UploadDone(CommandKey key) => _journal.Write(() => _journal.RemoveUpload(key));

    private StartedCommand? Start(CommandKey key)
    {
        if (_journal.FindCommand(key) is not { State: NodeCommandState.Accepted } command)
        {
            return null;
        }

        _journal.MarkRunning(key);
        ReportStarted(key);
        return new StartedCommand(key, command.Offer.Type, command.Offer.Payload ?? new Struct(), command.Offer.Traceparent);
    }

    private void OnOffer(CommandOffer offer)
    {
        var key = Key(offer.CommandId, offer.Attempt);
        Transact(() =>
        {
            if (_journal.FindCommand(key) is { } known)
            {
                Repeat(known);
            }
            else if (!_commandTypes.Contains(offer.Type))
            {
                _journal.AddCommand(offer);
                Finish(key, CommandState.Rejected, null, $"This node has no handler for \"{Text.Cut(offer.Type, 100)}\".");
            }
            else if (_journal.CountUnfinishedCommands() < HeldCommandsMax)
            {
                _journal.AddCommand(offer);
                ReportAccepted(key);
            }
        });
        _windows[Lane.Commands].MayHaveMore = true;
    }

    private void OnCancel(CommandCancel cancel)
    {
        var key = Key(cancel.CommandId, cancel.Attempt);
        Transact(() =>
        {
            switch (_journal.FindCommand(key))
            {
                case null:
                    // Noted as finished, so that an offer that comes late does not start what was cancelled.
                    _journal.AddCommand(new CommandOffer { CommandId = key.CommandId, Attempt = key.Attempt });
                    Finish(key, CommandState.Cancelled, null, null);
                    break;
                case { State: NodeCommandState.Accepted or NodeCommandState.Running } command:
                    Stop(command);
                    break;
                case { } command:
                    Repeat(command);
                    break;
            }
        });
        _windows[Lane.Commands].MayHaveMore = true;
    }

    // An attempt that has not started asks again in this link, with a numbered entry: the Hub's answer to that is written under this link's
    // epoch, so that no other copy of the journal can be granted the same start.
    private void ApplyAtWelcome(CommandVerdict verdict)
    {
        if (verdict.Verdict is Verdict.Keep
            && _journal.FindCommand(new CommandKey(verdict.CommandId, verdict.Attempt)) is { State: NodeCommandState.Accepted } waiting)
        {
            Repeat(waiting);
        }
        else
        {
            Apply(verdict);
        }
    }

    // The Hub's word on an attempt; repeats of it change nothing. Runs inside the transaction of the frame that brought it.
    private void Apply(CommandVerdict verdict)
    {
        var key = new CommandKey(verdict.CommandId, verdict.Attempt);
        if (_journal.FindCommand(key) is not { } command)
        {
            return;
        }

        switch (verdict.Verdict)
        {
            case Verdict.Keep when command.State is NodeCommandState.Accepted:
                _kept.TryAdd(key, true);
                break;
            case Verdict.Stop when command.State is not NodeCommandState.Finished:
                Stop(command);
                break;
            case Verdict.Forget:
                Forget(command);
                break;
            default:
                break;
        }
    }

    private void Stop(JournaledCommand command)
    {
        if (command.State is NodeCommandState.Running)
        {
            _staged.Add(new SessionEvent.StopCommand(command.Key));
        }
        else
        {
            _kept.Remove(command.Key);
            Finish(command.Key, CommandState.Cancelled, null, null);
        }
    }

    private void Forget(JournaledCommand command)
    {
        _journal.Withdraw(Lane.Commands, command.Key.ToString());
        _journal.RemoveUpload(command.Key);
        _kept.Remove(command.Key);
        if (command.State is NodeCommandState.Accepted)
        {
            _journal.RemoveCommand(command.Key);
        }
        else if (command.State is NodeCommandState.Running)
        {
            // The row stays: what was started must never start again under this number.
            _staged.Add(new SessionEvent.StopCommand(command.Key));
            _journal.MarkFinished(command.Key, Outcome(command.Key, CommandState.Cancelled, null, "The Hub dropped the attempt."), _time.GetUtcNow());
        }
    }

    // Says again what the Hub seems to have missed, unless the words are on their way already.
    private void Repeat(JournaledCommand command)
    {
        if (_journal.IsQueued(Lane.Commands, command.Key.ToString()))
        {
            return;
        }

        switch (command.State)
        {
            case NodeCommandState.Accepted:
                ReportAccepted(command.Key);
                break;
            case NodeCommandState.Running:
                ReportStarted(command.Key);
                break;
            default:
                ReportOutcome(command.Outcome!);
                break;
        }
    }

    private void InterruptStarted()
    {
        Transact(() =>
        {
            foreach (var key in _journal.CommandsIn(NodeCommandState.Running))
            {
                Finish(key, CommandState.Interrupted, null, "The node's process ended while the command ran.");
            }
        });
        PruneNowAndThen();
    }

    private void Finish(CommandKey key, CommandState state, Value? result, string? error)
    {
        var outcome = Outcome(key, state, result, error);
        _journal.MarkFinished(key, outcome, _time.GetUtcNow());
        ReportOutcome(outcome);
    }

    private void ReportAccepted(CommandKey key) => _journal.Enqueue(
        Lane.Commands,
        key.ToString(),
        new Entry { CommandAccepted = new CommandAccepted { CommandId = key.CommandId, Attempt = key.Attempt } });

    private void ReportStarted(CommandKey key) => _journal.Enqueue(
        Lane.Commands,
        key.ToString(),
        new Entry { CommandStarted = new CommandStarted { CommandId = key.CommandId, Attempt = key.Attempt } });

    private void ReportOutcome(CommandOutcome outcome) => _journal.Enqueue(
        Lane.Commands,
        new CommandKey(outcome.CommandId, outcome.Attempt).ToString(),
        new Entry { CommandOutcome = outcome });

    private void PruneNowAndThen()
    {
        if (++_finishedSincePrune >= PruneEvery)
        {
            _finishedSincePrune = 0;
            _journal.Write(() => _journal.PruneCommands(_time.GetUtcNow()));
        }

        _windows[Lane.Commands].MayHaveMore = true;
    }

    private static CommandOutcome Outcome(CommandKey key, CommandState state, Value? result, string? error) => new()
    {
        CommandId = key.CommandId,
        Attempt = key.Attempt,
        State = state,
        Result = result,
        Error = Text.Cut(error ?? "", ErrorCharsMax),
    };

    private static CommandKey Key(string commandId, int attempt) => commandId.Length > 0 && attempt > 0
        ? new CommandKey(commandId, attempt)
        : throw new LinkProtocolException($"A command frame names attempt {attempt} of \"{commandId}\".");
}

/// <summary>An attempt whose handler has to run now.</summary>
internal sealed record StartedCommand(CommandKey Key, string Type, Struct Payload, string TraceParent);
