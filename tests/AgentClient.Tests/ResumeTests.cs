using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class ResumeTests : IDisposable
{
    private readonly SessionFixture _node = new();

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Restart_SameFile_ResumesUnderTheSameJournal()
    {
        _node.Publish("t1");
        _node.Connect();
        var journalId = _node.Hub.JournalId;
        _node.Restart();
        _node.Publish("t2");
        _node.Connect();

        Assert.Equal(journalId, _node.Hub.JournalId);
        Assert.Equal(["t1", "t2"], _node.Hub.Tasks.Keys.Order());
        Assert.Equal(2, _node.Hub.Stored(Lane.Data));
    }

    [Fact]
    public void Welcome_Epoch_IsStoredAndSaidInTheNextHello()
    {
        _node.Hub.Epoch = 6;
        _node.Connect();
        _node.Restart();
        Assert.Equal(7, _node.Session.CreateHello().JournalEpoch);
    }

    [Fact]
    public void Rewound_JournalCopy_TakesANewIdAndLosesNothingOfItsOwn()
    {
        _node.Publish("t1");
        _node.Connect();
        var image = _node.Image();
        _node.Connect();
        _node.Publish("t2");
        _node.Pump();

        _node.Restore(image);
        _node.Publish("t3");
        _node.Handshake();
        var replaced = _node.EventsOf<SessionEvent.JournalReplaced>().Count();
        var sentBefore = _node.TakeAll();
        _node.Connect();

        Assert.Equal(1, replaced);
        Assert.Empty(sentBefore);
        Assert.Equal(["t1", "t2", "t3"], _node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, _node.Hub.Tasks["t3"].Seq);
    }

    [Fact]
    public void Rewound_SameNumberAlreadyGivenElsewhere_IsFoundByTheEpoch()
    {
        // Both lines give number 2: without the epoch the Hub would take t3 for a repeat of t2.
        _node.Publish("t1");
        _node.Connect();
        var image = _node.Image();
        _node.Publish("t2");
        _node.Connect();

        _node.Restore(image);
        _node.Publish("t3");
        _node.Connect();
        _node.Connect();

        Assert.Contains("t3", _node.Hub.Tasks.Keys);
    }

    [Fact]
    public void Rewound_Journal_KeepsWhatWasStarted()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        _node.Session.TryTakeStart(out var started);
        _node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        _node.Pump();
        var image = _node.Image();
        _node.Connect();
        _node.Restore(image);
        _node.Connect();
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        Assert.False(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void Rewound_AcceptedAttempt_DoesNotStartUnlessTheHubSaysSo()
    {
        _node.Connect();
        _node.Offer("c1");
        _node.Pump();
        var image = _node.Image();
        _node.Connect();
        _node.Session.TryTakeStart(out var started);
        _node.Session.Complete(started!.Key, CommandState.Succeeded, null, null);
        _node.Pump();

        _node.Restore(image);
        _node.Hub.VerdictOn = (_, _) => Verdict.Forget;
        _node.Connect();
        _node.Connect();
        Assert.False(_node.Session.TryTakeStart(out _));
    }

    [Fact]
    public void JournalLost_WithoutSource_SendsNoSnapshot()
    {
        _node.Publish("t1");
        _node.Connect();
        _node.LoseJournal();
        _node.Publish("t2");
        _node.Connect();

        Assert.Equal(0, _node.Hub.SnapshotsCompleted);
        Assert.Equal(["t1", "t2"], _node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void Truncated_WholeMirror_SendsASnapshot()
    {
        for (var i = 0; i < 5; i++)
        {
            _node.Publish($"t{i}");
        }

        _node.Connect();
        _node.Session.DeleteTask("t4");
        _node.Pump();
        _node.Hub.Rewind(Lane.Data, 2);
        _node.Hub.Tasks.Remove("t3");
        _node.Hub.Tasks["t4"] = (Records.Upsert(SessionFixture.Task("t4"), 1), _node.Hub.JournalId, 1);
        _node.Connect();

        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
        Assert.Equal(["t0", "t1", "t2", "t3"], _node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void Truncated_NextChange_FollowsTheHubsNumber()
    {
        _node.Publish("t1");
        _node.Publish("t2");
        _node.Connect();
        _node.Hub.Rewind(Lane.Data, 0);
        _node.Connect();
        _node.Publish("t3");
        _node.Pump();

        Assert.Equal((1, 3), (_node.Hub.Batches[^1].FirstSeq, _node.Hub.Batches[^1].LastSeq));
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
        _node.Connect();
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Truncated_MirrorThatMayNotKnowAll_SaysWhatItKnowsAndDeletesNothing()
    {
        _node.Publish("old");
        _node.Connect();
        _node.LoseJournal();
        _node.Publish("new");
        _node.Connect();
        _node.Hub.Rewind(Lane.Data, 0);
        _node.Hub.Tasks.Remove("new");
        _node.Connect();

        Assert.Equal(0, _node.Hub.SnapshotsCompleted);
        Assert.Equal(["new", "old"], _node.Hub.Tasks.Keys.Order());
    }

    [Fact]
    public void HubForgotEverything_WholeMirror_IsSentAnew()
    {
        _node.Publish("t1");
        _node.Publish("t2");
        _node.Connect();
        _node.Hub.Forget();
        _node.Publish("t3");
        _node.Connect();

        Assert.Equal(["t1", "t2", "t3"], _node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Snapshot_LinkEndsInTheMiddle_BeginsAnewUnderAnotherId()
    {
        for (var i = 0; i < 8; i++)
        {
            _node.Publish($"t{i}", new string('x', 30_000));
        }

        _node.Connect();
        _node.Hub.Forget();
        _node.Hub.Settings.WindowBatches = 2;
        _node.Handshake();
        var before = _node.TakeBatches(Lane.Bulk);
        _node.Restart();
        _node.Hub.Settings.WindowBatches = 0;
        _node.Connect();

        var begins = before.Concat(_node.Hub.Batches).SelectMany(batch => batch.Entries).Select(entry => entry.SnapshotBegin).OfType<SnapshotBegin>();
        Assert.Equal(2, begins.Select(begin => begin.SnapshotId).Distinct().Count());
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
        Assert.Equal(8, _node.Hub.Tasks.Count);
    }

    [Fact]
    public void Snapshot_BulkNack_BeginsAnew()
    {
        _node.Publish("t1");
        _node.Connect();
        _node.Hub.Forget();
        _node.Handshake();
        _node.TakeAll();
        _node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Bulk, ExpectedSeq = 1 } });
        _node.Pump();
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Snapshot_LargeMirror_LetsNewChangesPass()
    {
        for (var i = 0; i < 20; i++)
        {
            _node.Publish($"t{i}", new string('x', 30_000));
        }

        _node.Connect();
        _node.Hub.Forget();
        _node.Hub.Settings.WindowBatches = 2;
        _node.Handshake();
        _node.TakeAll();
        _node.Publish("urgent");
        Assert.Equal("urgent", Assert.Single(Assert.Single(_node.TakeBatches(Lane.Data)).Entries).Delta.RecordId);
    }

    [Fact]
    public void Goodbye_Received_EndsTheLink()
    {
        _node.Connect();
        _node.Deliver(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.TakenOver } });
        _node.Publish("t1");
        Assert.Empty(_node.TakeAll());
        Assert.Equal(GoodbyeReason.TakenOver, Assert.Single(_node.EventsOf<SessionEvent.Ended>()).Goodbye.Reason);
    }
}
