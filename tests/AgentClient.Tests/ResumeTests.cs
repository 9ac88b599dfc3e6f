using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class ResumeTests : IDisposable
{
    private readonly SessionFixture node = new();

    public void Dispose() => node.Dispose();

    [Fact]
    public void Restart_SameFile_ResumesUnderTheSameJournal()
    {
        node.Publish("t1");
        node.Connect();
        var journalId = node.Hub.JournalId;
        node.Restart();
        node.Publish("t2");
        node.Connect();

        Assert.Equal(journalId, node.Hub.JournalId);
        Assert.Equal(["t1", "t2"], node.Hub.Tasks.Keys.Order());
        Assert.Equal(2, node.Hub.Stored(Lane.Data));
    }

    [Fact]
    public void Welcome_Epoch_IsStoredAndSaidInTheNextHello()
    {
        node.Hub.Epoch = 6;
        node.Connect();
        node.Restart();
        Assert.Equal(7, node.Session.CreateHello().JournalEpoch);
    }

    [Fact]
    public void Rewound_JournalCopy_TakesANewIdAndLosesNothingOfItsOwn()
    {
        node.Publish("t1");
        node.Connect();
        var image = node.Image();
        node.Connect();
        node.Publish("t2");
        node.Pump();

        node.Restore(image);
        node.Publish("t3");
        node.Handshake();
        var replaced = node.EventsOf<SessionEvent.JournalReplaced>().Count();
        var sentBefore = node.TakeAll();
        node.Connect();

        Assert.Equal(1, replaced);
        Assert.Empty(sentBefore);
        Assert.Equal(["t1", "t2", "t3"], node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, node.Hub.Tasks["t3"].Seq);
    }

    [Fact]
    public void Rewound_SameNumberAlreadyGivenElsewhere_IsFoundByTheEpoch()
    {
        // Both lines give number 2: without the epoch the Hub would take t3 for a repeat of t2.
        node.Publish("t1");
        node.Connect();
        var image = node.Image();
        node.Publish("t2");
        node.Connect();

        node.Restore(image);
        node.Publish("t3");
        node.Connect();
        node.Connect();

        Assert.Contains("t3", node.Hub.Tasks.Keys);
    }

    [Fact]
    public void Rewound_Journal_KeepsWhatWasStarted()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        node.Session.TryTakeStart(out var started);
        node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        node.Pump();
        var image = node.Image();
        node.Connect();
        node.Restore(image);
        node.Connect();
        node.Connect();
        node.Offer("c1");
        node.Pump();
        Assert.False(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Rewound_AcceptedAttempt_DoesNotStartUnlessTheHubSaysSo()
    {
        node.Connect();
        node.Offer("c1");
        node.Pump();
        var image = node.Image();
        node.Connect();
        node.Session.TryTakeStart(out var started);
        node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        node.Pump();

        node.Restore(image);
        node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        node.Connect();
        node.Connect();
        Assert.False(node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void JournalLost_WithoutSource_SendsNoSnapshot()
    {
        node.Publish("t1");
        node.Connect();
        node.LoseJournal();
        node.Publish("t2");
        node.Connect();

        Assert.Equal(0, node.Hub.SnapshotsCompleted);
        Assert.Equal(["t1", "t2"], node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void Truncated_WholeMirror_SendsASnapshot()
    {
        for (var i = 0; i < 5; i++)
        {
            node.Publish($"t{i}");
        }

        node.Connect();
        node.Session.DeleteTask("t4");
        node.Pump();
        node.Hub.Rewind(Lane.Data, 2);
        node.Hub.Tasks.Remove("t3");
        node.Hub.Tasks["t4"] = (new Delta { RecordId = "t4" }, node.Hub.JournalId, 1);
        node.Connect();

        Assert.Equal(1, node.Hub.SnapshotsCompleted);
        Assert.Equal(["t0", "t1", "t2", "t3"], node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void Truncated_NextChange_FollowsTheHubsNumber()
    {
        node.Publish("t1");
        node.Publish("t2");
        node.Connect();
        node.Hub.Rewind(Lane.Data, 0);
        node.Connect();
        node.Publish("t3");
        node.Pump();

        Assert.Equal((1, 3), (node.Hub.Batches[^1].FirstSeq, node.Hub.Batches[^1].LastSeq));
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
        node.Connect();
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Truncated_MirrorThatMayNotKnowAll_SaysWhatItKnowsAndDeletesNothing()
    {
        node.Publish("old");
        node.Connect();
        node.LoseJournal();
        node.Publish("new");
        node.Connect();
        node.Hub.Rewind(Lane.Data, 0);
        node.Hub.Tasks.Remove("new");
        node.Connect();

        Assert.Equal(0, node.Hub.SnapshotsCompleted);
        Assert.Equal(["new", "old"], node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void HubForgotEverything_WholeMirror_IsSentAnew()
    {
        node.Publish("t1");
        node.Publish("t2");
        node.Connect();
        node.Hub.Forget();
        node.Publish("t3");
        node.Connect();

        Assert.Equal(["t1", "t2", "t3"], node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Snapshot_LinkEndsInTheMiddle_BeginsAnewUnderAnotherId()
    {
        for (var i = 0; i < 8; i++)
        {
            node.Publish($"t{i}", new string('x', 30_000));
        }

        node.Connect();
        node.Hub.Forget();
        node.Hub.Settings.WindowBatches = 2;
        node.Handshake();
        var before = node.TakeBatches(Lane.Bulk);
        node.Restart();
        node.Hub.Settings.WindowBatches = 0;
        node.Connect();

        var begins = before.Concat(node.Hub.Batches).SelectMany(batch => batch.Entries).Select(entry => entry.SnapshotBegin).OfType<SnapshotBegin>();
        Assert.Equal(2, begins.Select(begin => begin.SnapshotId).Distinct().Count());
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
        Assert.Equal(8, node.Hub.Tasks.Count);
    }

    [Fact]
    public void Snapshot_BulkNack_BeginsAnew()
    {
        node.Publish("t1");
        node.Connect();
        node.Hub.Forget();
        node.Handshake();
        node.TakeAll();
        node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Bulk, ExpectedSeq = 1 } });
        node.Pump();
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Snapshot_LargeMirror_LetsNewChangesPass()
    {
        for (var i = 0; i < 20; i++)
        {
            node.Publish($"t{i}", new string('x', 30_000));
        }

        node.Connect();
        node.Hub.Forget();
        node.Hub.Settings.WindowBatches = 2;
        node.Handshake();
        node.TakeAll();
        node.Publish("urgent");
        Assert.Equal("urgent", Assert.Single(Assert.Single(node.TakeBatches(Lane.Data)).Entries).Delta.RecordId);
    }

    [Fact]
    public void Goodbye_Received_EndsTheLink()
    {
        node.Connect();
        node.Deliver(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.TakenOver } });
        node.Publish("t1");
        Assert.Empty(node.TakeAll());
        Assert.Equal(GoodbyeReason.TakenOver, Assert.Single(node.EventsOf<SessionEvent.Ended>()).Goodbye.Reason);
    }
}
