using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class CommandTests : IDisposable
{
    private readonly SessionFixture _node = new();

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Offer_OneMoreThanANodeHolds_IsLeftWithTheHub()
    {
        _node.Connect();
        _node.Journal.Write(() => AddCommands(NodeSession.HeldCommandsMax - 1));

        _node.Offer("last");
        _node.Offer("more");

        Assert.NotNull(_node.Journal.FindCommand(new CommandKey("last", 1)));
        Assert.Null(_node.Journal.FindCommand(new CommandKey("more", 1)));
    }

    [Fact]
    public void FinishedCommands_OneMoreThanTheBound_LoseTheOldest()
    {
        var start = _node.Time.GetUtcNow();
        _node.Journal.Write(() =>
        {
            AddCommands(Journal.FinishedCommandsMax + 1);
            for (var i = 0; i <= Journal.FinishedCommandsMax; i++)
            {
                _node.Journal.MarkFinished(new CommandKey($"{i}", 1), new CommandOutcome(), start.AddMilliseconds(i));
            }

            _node.Journal.PruneCommands(start.AddMilliseconds(Journal.FinishedCommandsMax));
        });

        Assert.Null(_node.Journal.FindCommand(new CommandKey("0", 1)));
        Assert.NotNull(_node.Journal.FindCommand(new CommandKey("1", 1)));
    }

    [Fact]
    public void Offer_WithKeep_RunsAndReportsEveryStep()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        Assert.True(_node.Session.TryTakeStart(out var started));
        _node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString("done"), null);
        _node.Pump();

        Assert.Equal(
            [Entry.BodyOneofCase.CommandAccepted, Entry.BodyOneofCase.CommandStarted, Entry.BodyOneofCase.CommandOutcome],
            _node.Hub.CommandEntries.Select(entry => entry.BodyCase));
        Assert.Equal("done", _node.Hub.CommandEntries[^1].CommandOutcome.Result.StringValue);
        Assert.Empty(_node.Journal.HeldCommands());
    }

    [Fact]
    public void Offer_WithoutVerdict_DoesNotStart()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.TakeAll();
        Assert.False(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Offer_Doubled_IsAcceptedAndStartedOnce()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Offer("c1");
        _node.Pump();
        Assert.True(_node.Session.TryTakeStart(out _));
        _node.Offer("c1");
        _node.Pump();

        Assert.False(_node.Session.TryTakeStart(out _));
        Assert.Single(_node.Hub.CommandEntries, entry => entry.CommandAccepted is not null);
    }

    [Fact]
    public void Offer_AfterTheEnd_ReplaysTheStoredOutcome()
    {
        _node.Connect();
        RunToEnd("c1", "first");
        _node.Restart();
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();

        Assert.False(_node.Session.TryTakeStart(out _));
        Assert.Equal(["first", "first"], Outcomes().Select(outcome => outcome.Result.StringValue));
    }

    [Fact]
    public void Offer_OfAnotherAttempt_RunsAgain()
    {
        _node.Connect();
        RunToEnd("c1", "first");
        _node.Offer("c1", attempt: 2);
        _node.Pump();
        Assert.True(_node.Session.TryTakeStart(out var started));
        Assert.Equal(2, started.Key.Attempt);
    }

    [Fact]
    public void Offer_OfAnUnknownType_IsRejected()
    {
        _node.Connect();
        _node.Offer("c1", type: "nobody-knows");
        _node.Pump();
        Assert.Equal(CommandState.Rejected, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Verdict_Forget_DropsTheAcceptedAttempt()
    {
        _node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        Assert.False(_node.Session.TryTakeStart(out _));
        Assert.Empty(_node.Journal.HeldCommands());
    }

    [Fact]
    public void Verdict_StopBeforeTheStart_ReportsCancelled()
    {
        _node.Hub.VerdictOn = (_, _) => Verdict.Stop;
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        Assert.False(_node.Session.TryTakeStart(out _));
        Assert.Equal(CommandState.Cancelled, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Verdict_StopWhileRunning_StopsTheHandler()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out _);
        _node.Hub.VerdictOn = (_, _) => Verdict.Stop;
        _node.Connect();
        Assert.Equal("c1", Assert.Single(_node.EventsOf<SessionEvent.StopCommand>()).Key.CommandId);
    }

    [Fact]
    public void Verdict_ForgetWhileRunning_NeverStartsTheAttemptAgain()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out var started);
        _node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        _node.Connect();
        _node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        _node.Hub.VerdictOn = (_, _) => Verdict.Keep;
        _node.Offer("c1");
        _node.Pump();

        Assert.Single(_node.EventsOf<SessionEvent.StopCommand>());
        Assert.False(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Restart_AcceptedAttempt_IsListedAndStartsAfterKeep()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Restart();
        Assert.False(_node.Session.TryTakeStart(out _));

        _node.Connect();

        Assert.Equal(NodeCommandState.Accepted, Assert.Single(_node.LastHello!.Running).State);
        Assert.True(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Restart_RunningAttempt_IsReportedInterruptedAndNeverStarted()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out _);
        _node.Restart();
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();

        Assert.Equal(NodeCommandState.Finished, Assert.Single(_node.LastHello!.Running).State);
        Assert.Equal(CommandState.Interrupted, Assert.Single(Outcomes().DistinctBy(outcome => outcome.State)).State);
        Assert.False(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void LinkLost_KeptAttempt_StartsWhileOffline()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.LinkLost();
        Assert.True(_node.Session.TryTakeStart(out var started));
        _node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString("late"), null);
        _node.Connect();

        Assert.Equal(NodeCommandState.Finished, Assert.Single(_node.LastHello!.Running).State);
        Assert.Equal("late", Assert.Single(Outcomes()).Result.StringValue);
    }

    [Fact]
    public void Cancel_BeforeTheStart_ReportsCancelled()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.TakeAll();
        Cancel("c1");
        Assert.Equal(CommandState.Cancelled, Assert.Single(TakeOutcomes()).State);
    }

    [Fact]
    public void Cancel_WhileRunning_LetsTheOutcomeDecide()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out var started);
        Cancel("c1");
        _node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        _node.Pump();

        Assert.Single(_node.EventsOf<SessionEvent.StopCommand>());
        Assert.Equal(CommandState.Succeeded, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Cancel_OvertakesTheOffer_PreventsTheStart()
    {
        _node.Connect();
        Cancel("c1");
        _node.Offer("c1");
        _node.Pump();
        Assert.False(_node.Session.TryTakeStart(out _));
        Assert.Equal(CommandState.Cancelled, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Complete_LargeResult_WaitsForUpload()
    {
        _node.Connect();
        RunToEnd("c1", new string('x', NodeSession.InlineResultBytesMax));
        var upload = _node.Session.FirstUpload();

        Assert.Null(Assert.Single(Outcomes()).Result);
        Assert.Equal("c1", upload?.Key.CommandId);
        _node.Session.UploadDone(upload!.Value.Key);
        Assert.Null(_node.Session.FirstUpload());
    }

    [Fact]
    public void Complete_ResultBeyondAllBounds_Fails()
    {
        _node.Connect();
        RunToEnd("c1", new string('x', NodeSession.ResultBytesMax));
        Assert.Equal(CommandState.Failed, Assert.Single(Outcomes()).State);
        Assert.Null(_node.Session.FirstUpload());
    }

    [Fact]
    public void Complete_LongError_IsCutWithoutSplittingAPair()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out var started);
        _node.Session.Complete(started!.Key, CommandState.Failed, null, new string('x', 1_999) + "😀");
        _node.Pump();
        Assert.Equal(1_999, Assert.Single(Outcomes()).Error.Length);
    }

    [Fact]
    public void Progress_ManyReports_SendsTheLatestEvery200Milliseconds()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out var started);
        _node.Pump();

        var sent = new List<int>();
        for (var i = 1; i <= 100; i++)
        {
            _node.Session.ReportProgress(started!.Key, i, null);
            sent.AddRange(_node.TakeAll().Where(frame => frame.Progress is not null).Select(frame => frame.Progress.Percent));
            _node.Time.Advance(TimeSpan.FromMilliseconds(10));
        }

        Assert.Equal([1, 21, 41, 61, 81], sent);
        Assert.Equal(TimeSpan.Zero, _node.Session.NextDue);
    }

    private IEnumerable<CommandOutcome> Outcomes() => _node.Hub.CommandEntries.Select(entry => entry.CommandOutcome).OfType<CommandOutcome>();

    private IEnumerable<CommandOutcome> TakeOutcomes() =>
        _node.TakeBatches(Lane.Commands).SelectMany(batch => batch.Entries).Select(entry => entry.CommandOutcome).OfType<CommandOutcome>();

    private void Cancel(string commandId) =>
        _node.Deliver(new ConnectResponse { Cancel = new CommandCancel { CommandId = commandId, Attempt = 1 } });

    private void RunToEnd(string commandId, string result)
    {
        _node.Offer(commandId);
        _node.Pump();
        Assert.True(_node.Session.TryTakeStart(out var started));
        _node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString(result), null);
        _node.Pump();
    }

    private void AddCommands(int count)
    {
        for (var i = 0; i < count; i++)
        {
            _node.Journal.AddCommand(new CommandOffer { CommandId = $"{i}", Attempt = 1, Type = "echo" });
        }
    }
}
