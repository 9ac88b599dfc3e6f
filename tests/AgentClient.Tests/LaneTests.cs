using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class LaneTests : IDisposable
{
    private readonly SessionFixture _node = new();

    public void Dispose() => _node.Dispose();

    [Fact]
    public void Publish_WhileOffline_ArrivesAfterConnect()
    {
        _node.Publish("t1");
        _node.Connect();
        Assert.Equal(["t1"], _node.Hub.Tasks.Keys);
    }

    [Fact]
    public void Numbering_BeforeTheFirstWelcome_GivesNothing()
    {
        _node.Publish("t1");
        _node.Session.CreateHello();
        Assert.Empty(_node.TakeAll());
        Assert.Equal(0, _node.Journal.Position(Lane.Data).LastSeq);
    }

    [Fact]
    public void Publish_ManyChangesOfOneRecord_SendsTheLastOnly()
    {
        for (var i = 0; i < 50; i++)
        {
            _node.Publish("t1", $"title {i}");
        }

        _node.Connect();
        Assert.Equal("title 49", Assert.Single(Assert.Single(_node.Hub.Batches).Entries).Delta.Task.Title);
    }

    [Fact]
    public void Numbering_RecordChangesAfterItWasNumbered_GetsANewNumberAndLeavesAHole()
    {
        _node.Publish("t1", "one");
        _node.Publish("t2", "two");
        _node.Handshake();
        var first = Assert.Single(_node.TakeBatches(Lane.Data));
        _node.Publish("t1", "three");
        _node.Session.LinkLost();

        _node.Handshake();
        var again = Assert.Single(_node.TakeBatches(Lane.Data));

        Assert.Equal((1, 2), (first.FirstSeq, first.LastSeq));
        Assert.Equal((1, 3), (again.FirstSeq, again.LastSeq));
        Assert.Equal([(2L, "t2"), (3L, "t1")], again.Entries.Select(entry => (entry.Seq, entry.Delta.RecordId)));
    }

    [Fact]
    public void Hello_OnlySupersededNumbersAreMissing_IsNotTakenForTruncated()
    {
        _node.Publish("t1", "one");
        _node.Handshake();
        _node.TakeAll();
        _node.Publish("t1", "two");
        _node.Session.LinkLost();
        _node.Handshake();
        _node.TakeAll();

        _node.Restart();
        _node.Connect();

        Assert.Equal(0, _node.Hub.SnapshotsCompleted);
        Assert.Equal("two", _node.Hub.Tasks["t1"].Delta.Task.Title);
    }

    [Fact]
    public void Ack_OfAnOlderContent_KeepsTheNewerOne()
    {
        _node.Publish("t1", "one");
        _node.Handshake();
        var sent = _node.TakeAll();
        _node.Publish("t1", "two");

        foreach (var answer in sent.SelectMany(_node.Hub.Receive).ToArray())
        {
            _node.Deliver(answer);
        }

        _node.Pump();
        Assert.Equal("two", _node.Hub.Tasks["t1"].Delta.Task.Title);
    }

    [Fact]
    public void Delete_AfterPublish_ReplacesTheRow()
    {
        _node.Connect();
        _node.Publish("t1");
        _node.Pump();
        _node.Session.DeleteTask("t1");
        _node.Pump();
        Assert.Empty(_node.Hub.Tasks);
    }

    [Fact]
    public void Version_ClockStandsStill_StillGrows()
    {
        _node.Publish("t1");
        _node.Publish("t2");
        _node.Connect();
        Assert.True(_node.Hub.Tasks["t2"].Delta.Version > _node.Hub.Tasks["t1"].Delta.Version);
    }

    [Fact]
    public void Reconnect_LostAcks_ReplaysWithoutEffect()
    {
        _node.Publish("t1");
        _node.Handshake();
        foreach (var frame in _node.TakeAll())
        {
            _ = _node.Hub.Receive(frame).ToArray();
        }

        _node.Restart();
        _node.Connect();

        Assert.Equal(1, _node.Hub.Stored(Lane.Data));
        Assert.True(_node.Session.IsAckedUpTo(_node.Session.OutboxMark()));
        Assert.Equal(["t1"], _node.EventsOf<SessionEvent.Acked>().Select(acked => acked.Record.Id));
    }

    [Fact]
    public void Nack_AfterALostBatch_ResendsFromTheExpectedNumber()
    {
        _node.Handshake();
        _node.Publish("t1");
        var lost = Assert.Single(_node.TakeBatches(Lane.Data));
        _node.Publish("t2");
        _node.Pump();

        Assert.Equal(1, lost.FirstSeq);
        Assert.Equal(["t1", "t2"], _node.Hub.Tasks.Keys.Order());
        Assert.Equal(2, _node.Hub.Stored(Lane.Data));
    }

    [Fact]
    public void Nack_OvertakenByAnAck_ChangesNothing()
    {
        _node.Connect();
        _node.Publish("t1");
        _node.Pump();
        _node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Data, ExpectedSeq = 1 } });
        Assert.Empty(_node.TakeAll());
    }

    [Fact]
    public void Nack_BeyondWhatWasSent_IsAProtocolError()
    {
        _node.Connect();
        Assert.Throws<LinkProtocolException>(() => _node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Data, ExpectedSeq = 2 } }));
    }

    [Fact]
    public void Ack_Doubled_IsHarmless()
    {
        _node.Connect();
        _node.Publish("t1");
        _node.Pump();
        _node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } });
        Assert.Single(_node.EventsOf<SessionEvent.Acked>());
    }

    [Fact]
    public void Ack_BeyondWhatWasSent_IsAProtocolError()
    {
        _node.Connect();
        _node.Publish("t1");
        Assert.Throws<LinkProtocolException>(() => _node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } }));
    }

    [Fact]
    public void Window_FullOfBatches_WaitsForAnAck()
    {
        _node.Hub.Settings.WindowBatches = 2;
        _node.Handshake();
        for (var i = 0; i < 4; i++)
        {
            // 40 KiB each, so that every record fills a batch of its own.
            _node.Publish($"t{i}", new string('x', 40 * 1024));
        }

        var first = _node.TakeBatches(Lane.Data);
        _node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } });
        var second = _node.TakeBatches(Lane.Data);

        Assert.Equal((2, 1), (first.Count, second.Count));
    }

    [Fact]
    public void Window_FullOfBytes_WaitsForAnAck()
    {
        _node.Hub.Settings.WindowBytes = 100 * 1024;
        _node.Hub.Settings.RecordBytesMax = 512 * 1024;
        _node.Handshake();
        for (var i = 0; i < 4; i++)
        {
            _node.Publish($"t{i}", new string('x', 40 * 1024));
        }

        Assert.Equal(2, _node.TakeBatches(Lane.Data).Count);
    }

    [Fact]
    public void Batch_ManySmallRecords_HoldsAtMostAThousandEntries()
    {
        _node.Session.Publish([.. Enumerable.Range(0, 2_500).Select(i => new HostTask { Id = $"{i}" })]);
        _node.Handshake();
        var batches = _node.TakeBatches(Lane.Data);

        Assert.All(batches, batch => Assert.InRange(batch.Entries.Count, 1, LinkLimits.BatchEntriesMax));
        Assert.All(batches, batch => Assert.InRange(batch.CalculateSize(), 1, LinkLimits.BatchBytesMax));
        Assert.Equal(2_500, batches.Sum(batch => batch.Entries.Count));
    }

    [Fact]
    public void Batch_OneLargeRecord_TravelsAlone()
    {
        _node.Handshake();
        _node.Publish("t1");
        _node.Publish("t2", new string('x', 200 * 1024));
        _node.Publish("t3");
        Assert.Equal([1, 1, 1], _node.TakeBatches(Lane.Data).Select(batch => batch.Entries.Count));
    }

    [Fact]
    public void Publish_RecordBeyondTheLimit_IsRefused()
    {
        Assert.Throws<ArgumentException>(() => _node.Publish("t1", new string('x', 600 * 1024)));
        Assert.Throws<ArgumentException>(() => _node.Publish(""));
    }

    [Fact]
    public void Priority_EverythingWaits_GoesInOrder()
    {
        _node.Handshake();
        _node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a" });
        _node.Publish("t1");
        _node.Session.SendChat(new ChatMessage { Id = "c1" });
        _node.Offer("cmd");

        var kinds = _node.TakeAll().Select(frame => frame.Batch is { } batch ? batch.Lane.ToString() : frame.FrameCase.ToString());

        Assert.Equal(["Heartbeat", "Commands", "Chat", "Data", "Ephemeral"], kinds);
    }

    [Fact]
    public void Ephemerals_OneMoreThanTheBound_LoseTheOldest()
    {
        _node.Handshake();
        for (var i = 0; i <= 1_000; i++)
        {
            _node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = $"{i}" });
        }

        var keys = _node.TakeAll().Where(frame => frame.Ephemeral is not null).Select(frame => frame.Ephemeral.Key);

        Assert.Equal(Enumerable.Range(1, 1_000).Select(i => $"{i}"), keys);
    }

    [Fact]
    public void Ephemeral_SetTwice_SendsTheLatest()
    {
        _node.Handshake();
        _node.TakeAll();
        _node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a", Value = Google.Protobuf.WellKnownTypes.Value.ForString("old") });
        _node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a", Value = Google.Protobuf.WellKnownTypes.Value.ForString("new") });
        Assert.Equal("new", Assert.Single(_node.TakeAll()).Ephemeral.Value.StringValue);
    }

    [Fact]
    public void Rejected_OneRecord_IsToldAndNotedOnce()
    {
        _node.Hub.RejectedDataSeqs.Add(1);
        _node.Connect();
        _node.Publish("bad");
        _node.Publish("good");
        _node.Pump();

        Assert.Equal("bad", Assert.Single(_node.EventsOf<SessionEvent.Refused>()).Record.Id);
        Assert.Equal(["good"], _node.EventsOf<SessionEvent.Acked>().Select(acked => acked.Record.Id));
        Assert.Equal(1, Assert.Single(_node.Hub.CommandEntries).RejectedNoted.Seq);
    }

    [Fact]
    public void Heartbeat_Interval_IsWithinTenPercent()
    {
        _node.Connect();
        for (var i = 0; i < 20; i++)
        {
            Assert.InRange(_node.Session.NextDue!.Value.TotalSeconds, 22.5, 27.5);
            _node.Time.Advance(_node.Session.NextDue!.Value);
            Assert.Equal(ConnectRequest.FrameOneofCase.Heartbeat, Assert.Single(_node.TakeAll()).FrameCase);
        }
    }

    [Fact]
    public void Receive_AnythingBeforeWelcome_IsAProtocolError()
    {
        _node.Session.CreateHello();
        Assert.Throws<LinkProtocolException>(() => _node.Session.Receive(new ConnectResponse { Heartbeat = new HubHeartbeat() }));
    }

    [Fact]
    public void Journal_OpenedTwice_IsRefused()
    {
        using var other = new TemporaryDirectory();
        using var first = Journal.Open(other.File("journal.db"));
        Assert.Throws<IOException>(() => Journal.Open(other.File("journal.db")));
    }
}
