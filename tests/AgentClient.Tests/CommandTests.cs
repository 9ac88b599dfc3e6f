using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class CommandTests : IDisposable
{
    private readonly SessionFixture node = new();

    public void Dispose() => node.Dispose();

    [Fact]
    public void Offer_WithKeep_RunsAndReportsEveryStep()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        Assert.True(node.Session.TryTakeStart(out var started));
        node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString("done"), null);
        node.Pump();

        Assert.Equal(
            [Entry.BodyOneofCase.CommandAccepted, Entry.BodyOneofCase.CommandStarted, Entry.BodyOneofCase.CommandOutcome],
            node.Hub.CommandEntries.Select(entry => entry.BodyCase));
        Assert.Equal("done", node.Hub.CommandEntries[^1].CommandOutcome.Result.StringValue);
        Assert.Empty(node.Journal.HeldCommands());
    }

    [Fact]
    public void Offer_WithoutVerdict_DoesNotStart()
    {
        node.Connect();
        node.Offer("c1");
        node.TakeAll();
        Assert.False(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Offer_Doubled_IsAcceptedAndStartedOnce()
    {
        node.Connect();
        node.Offer("c1");
        node.Offer("c1");
        node.Pump();
        Assert.True(node.Session.TryTakeStart(out _));
        node.Offer("c1");
        node.Pump();

        Assert.False(node.Session.TryTakeStart(out _));
        Assert.Single(node.Hub.CommandEntries, entry => entry.CommandAccepted is not null);
    }

    [Fact]
    public void Offer_AfterTheEnd_ReplaysTheStoredOutcome()
    {
        node.Connect();
        RunToEnd("c1", "first");
        node.Restart();
        node.Connect();
        node.Offer("c1");
        node.Pump();

        Assert.False(node.Session.TryTakeStart(out _));
        Assert.Equal(["first", "first"], Outcomes().Select(outcome => outcome.Result.StringValue));
    }

    [Fact]
    public void Offer_OfAnotherAttempt_RunsAgain()
    {
        node.Connect();
        RunToEnd("c1", "first");
        node.Offer("c1", attempt: 2);
        node.Pump();
        Assert.True(node.Session.TryTakeStart(out var started));
        Assert.Equal(2, started.Key.Attempt);
    }

    [Fact]
    public void Offer_OfAnUnknownType_IsRejected()
    {
        node.Connect();
        node.Offer("c1", type: "nobody-knows");
        node.Pump();
        Assert.Equal(CommandState.Rejected, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Verdict_Forget_DropsTheAcceptedAttempt()
    {
        node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        node.Connect();
        node.Offer("c1");
        node.Pump();
        Assert.False(node.Session.TryTakeStart(out _));
        Assert.Empty(node.Journal.HeldCommands());
    }

    [Fact]
    public void Verdict_StopBeforeTheStart_ReportsCancelled()
    {
        node.Hub.VerdictOn = (_, _) => Verdict.Stop;
        node.Connect();
        node.Offer("c1");
        node.Pump();
        Assert.False(node.Session.TryTakeStart(out _));
        Assert.Equal(CommandState.Cancelled, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Verdict_StopWhileRunning_StopsTheHandler()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out _);
        node.Hub.VerdictOn = (_, _) => Verdict.Stop;
        node.Connect();
        Assert.Equal("c1", Assert.Single(node.EventsOf<SessionEvent.StopCommand>()).Key.CommandId);
    }

    [Fact]
    public void Verdict_ForgetWhileRunning_NeverStartsTheAttemptAgain()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out var started);
        node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        node.Connect();
        node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        node.Hub.VerdictOn = (_, _) => Verdict.Keep;
        node.Offer("c1");
        node.Pump();

        Assert.Single(node.EventsOf<SessionEvent.StopCommand>());
        Assert.False(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Restart_AcceptedAttempt_IsListedAndStartsAfterKeep()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Restart();
        Assert.False(node.Session.TryTakeStart(out _));

        node.Connect();

        Assert.Equal(NodeCommandState.Accepted, Assert.Single(node.LastHello!.Running).State);
        Assert.True(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Restart_RunningAttempt_IsReportedInterruptedAndNeverStarted()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out _);
        node.Restart();
        node.Connect();
        node.Offer("c1");
        node.Pump();

        Assert.Equal(NodeCommandState.Finished, Assert.Single(node.LastHello!.Running).State);
        Assert.Equal(CommandState.Interrupted, Assert.Single(Outcomes().DistinctBy(outcome => outcome.State)).State);
        Assert.False(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void LinkLost_KeptAttempt_StartsWhileOffline()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.LinkLost();
        Assert.True(node.Session.TryTakeStart(out var started));
        node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString("late"), null);
        node.Connect();

        Assert.Equal(NodeCommandState.Finished, Assert.Single(node.LastHello!.Running).State);
        Assert.Equal("late", Assert.Single(Outcomes()).Result.StringValue);
    }

    [Fact]
    public void Cancel_BeforeTheStart_ReportsCancelled()
    {
        node.Connect();
        node.Offer("c1");
        node.TakeAll();
        Cancel("c1");
        Assert.Equal(CommandState.Cancelled, Assert.Single(TakeOutcomes()).State);
    }

    [Fact]
    public void Cancel_WhileRunning_LetsTheOutcomeDecide()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out var started);
        Cancel("c1");
        node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        node.Pump();

        Assert.Single(node.EventsOf<SessionEvent.StopCommand>());
        Assert.Equal(CommandState.Succeeded, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Cancel_OvertakesTheOffer_PreventsTheStart()
    {
        node.Connect();
        Cancel("c1");
        node.Offer("c1");
        node.Pump();
        Assert.False(node.Session.TryTakeStart(out _));
        Assert.Equal(CommandState.Cancelled, Assert.Single(Outcomes()).State);
    }

    [Fact]
    public void Complete_LargeResult_WaitsForUpload()
    {
        node.Connect();
        RunToEnd("c1", new string('x', NodeSession.InlineResultBytesMax));
        var upload = node.Session.FirstUpload();

        Assert.Null(Assert.Single(Outcomes()).Result);
        Assert.Equal("c1", upload?.Key.CommandId);
        node.Session.UploadDone(upload!.Value.Key);
        Assert.Null(node.Session.FirstUpload());
    }

    [Fact]
    public void Complete_ResultBeyondAllBounds_Fails()
    {
        node.Connect();
        RunToEnd("c1", new string('x', NodeSession.ResultBytesMax));
        Assert.Equal(CommandState.Failed, Assert.Single(Outcomes()).State);
        Assert.Null(node.Session.FirstUpload());
    }

    [Fact]
    public void Complete_LongError_IsCutWithoutSplittingAPair()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out var started);
        node.Session.Complete(started!.Key, CommandState.Failed, null, new string('x', 1_999) + "😀");
        node.Pump();
        Assert.Equal(1_999, Assert.Single(Outcomes()).Error.Length);
    }

    [Fact]
    public void Progress_ManyReports_SendsTheLatestEvery200Milliseconds()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out var started);
        node.Pump();

        var sent = new List<int>();
        for (var i = 1; i <= 100; i++)
        {
            node.Session.ReportProgress(started!.Key, i, null);
            sent.AddRange(node.TakeAll().Where(frame => frame.Progress is not null).Select(frame => frame.Progress.Percent));
            node.Time.Advance(TimeSpan.FromMilliseconds(10));
        }

        Assert.Equal([1, 21, 41, 61, 81], sent);
        Assert.Equal(TimeSpan.Zero, node.Session.NextDue);
    }

    private IEnumerable<CommandOutcome> Outcomes() => node.Hub.CommandEntries.Select(entry => entry.CommandOutcome).OfType<CommandOutcome>();

    private IEnumerable<CommandOutcome> TakeOutcomes() =>
        node.TakeBatches(Lane.Commands).SelectMany(batch => batch.Entries).Select(entry => entry.CommandOutcome).OfType<CommandOutcome>();

    private void Cancel(string commandId) =>
        node.Deliver(new ConnectResponse { Cancel = new CommandCancel { CommandId = commandId, Attempt = 1 } });

    private void RunToEnd(string commandId, string result)
    {
        node.Offer(commandId);
        node.Pump();
        Assert.True(node.Session.TryTakeStart(out var started));
        node.Session.Complete(started.Key, CommandState.Succeeded, Value.ForString(result), null);
        node.Pump();
    }
}
