using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class LaneTests : IDisposable
{
    private readonly SessionFixture node = new();

    public void Dispose() => node.Dispose();

    [Fact]
    public void Publish_WhileOffline_ArrivesAfterConnect()
    {
        node.Publish("t1");
        node.Connect();
        Assert.Equal(["t1"], node.Hub.Tasks.Keys);
    }

    [Fact]
    public void Numbering_BeforeTheFirstWelcome_GivesNothing()
    {
        node.Publish("t1");
        node.Session.CreateHello();
        Assert.Empty(node.TakeAll());
        Assert.Equal(0, node.Journal.Position(Lane.Data).LastSeq);
    }

    [Fact]
    public void Publish_ManyChangesOfOneRecord_SendsTheLastOnly()
    {
        for (var i = 0; i < 50; i++)
        {
            node.Publish("t1", $"title {i}");
        }

        node.Connect();
        Assert.Equal("title 49", Assert.Single(Assert.Single(node.Hub.Batches).Entries).Delta.Task.Title);
    }

    [Fact]
    public void Numbering_RecordChangesAfterItWasNumbered_GetsANewNumberAndLeavesAHole()
    {
        node.Publish("t1", "one");
        node.Publish("t2", "two");
        node.Handshake();
        var first = Assert.Single(node.TakeBatches(Lane.Data));
        node.Publish("t1", "three");
        node.Session.LinkLost();

        node.Handshake();
        var again = Assert.Single(node.TakeBatches(Lane.Data));

        Assert.Equal((1, 2), (first.FirstSeq, first.LastSeq));
        Assert.Equal((1, 3), (again.FirstSeq, again.LastSeq));
        Assert.Equal([(2L, "t2"), (3L, "t1")], again.Entries.Select(entry => (entry.Seq, entry.Delta.RecordId)));
    }

    [Fact]
    public void Hello_OnlySupersededNumbersAreMissing_IsNotTakenForTruncated()
    {
        node.Publish("t1", "one");
        node.Handshake();
        node.TakeAll();
        node.Publish("t1", "two");
        node.Session.LinkLost();
        node.Handshake();
        node.TakeAll();

        node.Restart();
        node.Connect();

        Assert.Equal(0, node.Hub.SnapshotsCompleted);
        Assert.Equal("two", node.Hub.Tasks["t1"].Delta.Task.Title);
    }

    [Fact]
    public void Ack_OfAnOlderContent_KeepsTheNewerOne()
    {
        node.Publish("t1", "one");
        node.Handshake();
        var sent = node.TakeAll();
        node.Publish("t1", "two");

        foreach (var answer in sent.SelectMany(node.Hub.Receive).ToArray())
        {
            node.Deliver(answer);
        }

        node.Pump();
        Assert.Equal("two", node.Hub.Tasks["t1"].Delta.Task.Title);
    }

    [Fact]
    public void Delete_AfterPublish_ReplacesTheRow()
    {
        node.Connect();
        node.Publish("t1");
        node.Pump();
        node.Session.DeleteTask("t1");
        node.Pump();
        Assert.Empty(node.Hub.Tasks);
    }

    [Fact]
    public void Version_ClockStandsStill_StillGrows()
    {
        node.Publish("t1");
        node.Publish("t2");
        node.Connect();
        Assert.True(node.Hub.Tasks["t2"].Delta.Version > node.Hub.Tasks["t1"].Delta.Version);
    }

    [Fact]
    public void Reconnect_LostAcks_ReplaysWithoutEffect()
    {
        node.Publish("t1");
        node.Handshake();
        foreach (var frame in node.TakeAll())
        {
            _ = node.Hub.Receive(frame).ToArray();
        }

        node.Restart();
        node.Connect();

        Assert.Equal(1, node.Hub.Stored(Lane.Data));
        Assert.True(node.Session.IsAckedUpTo(node.Session.OutboxMark()));
        Assert.Equal(["t1"], node.EventsOf<SessionEvent.Acked>().Select(acked => acked.Record.Id));
    }

    [Fact]
    public void Nack_AfterALostBatch_ResendsFromTheExpectedNumber()
    {
        node.Handshake();
        node.Publish("t1");
        var lost = Assert.Single(node.TakeBatches(Lane.Data));
        node.Publish("t2");
        node.Pump();

        Assert.Equal(1, lost.FirstSeq);
        Assert.Equal(["t1", "t2"], node.Hub.Tasks.Keys.Order());
        Assert.Equal(2, node.Hub.Stored(Lane.Data));
    }

    [Fact]
    public void Nack_OvertakenByAnAck_ChangesNothing()
    {
        node.Connect();
        node.Publish("t1");
        node.Pump();
        node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Data, ExpectedSeq = 1 } });
        Assert.Empty(node.TakeAll());
    }

    [Fact]
    public void Nack_BeyondWhatWasSent_IsAProtocolError()
    {
        node.Connect();
        Assert.Throws<LinkProtocolException>(() => node.Deliver(new ConnectResponse { Nack = new Nack { Lane = Lane.Data, ExpectedSeq = 2 } }));
    }

    [Fact]
    public void Ack_Doubled_IsHarmless()
    {
        node.Connect();
        node.Publish("t1");
        node.Pump();
        node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } });
        Assert.Single(node.EventsOf<SessionEvent.Acked>());
    }

    [Fact]
    public void Ack_BeyondWhatWasSent_IsAProtocolError()
    {
        node.Connect();
        node.Publish("t1");
        Assert.Throws<LinkProtocolException>(() => node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } }));
    }

    [Fact]
    public void Window_FullOfBatches_WaitsForAnAck()
    {
        node.Hub.Settings.WindowBatches = 2;
        node.Handshake();
        for (var i = 0; i < 4; i++)
        {
            // 40 KiB each, so that every record fills a batch of its own.
            node.Publish($"t{i}", new string('x', 40 * 1024));
        }

        var first = node.TakeBatches(Lane.Data);
        node.Deliver(new ConnectResponse { Ack = new Ack { Lane = Lane.Data, Seq = 1 } });
        var second = node.TakeBatches(Lane.Data);

        Assert.Equal((2, 1), (first.Count, second.Count));
    }

    [Fact]
    public void Window_FullOfBytes_WaitsForAnAck()
    {
        node.Hub.Settings.WindowBytes = 100 * 1024;
        node.Hub.Settings.RecordBytesMax = 512 * 1024;
        node.Handshake();
        for (var i = 0; i < 4; i++)
        {
            node.Publish($"t{i}", new string('x', 40 * 1024));
        }

        Assert.Equal(2, node.TakeBatches(Lane.Data).Count);
    }

    [Fact]
    public void Batch_ManySmallRecords_HoldsAtMostAThousandEntries()
    {
        node.Session.Publish([.. Enumerable.Range(0, 2_500).Select(i => new HostTask { Id = $"{i}" })]);
        node.Handshake();
        var batches = node.TakeBatches(Lane.Data);

        Assert.All(batches, batch => Assert.InRange(batch.Entries.Count, 1, LinkLimits.BatchEntriesMax));
        Assert.All(batches, batch => Assert.InRange(batch.CalculateSize(), 1, LinkLimits.BatchBytesMax));
        Assert.Equal(2_500, batches.Sum(batch => batch.Entries.Count));
    }

    [Fact]
    public void Batch_OneLargeRecord_TravelsAlone()
    {
        node.Handshake();
        node.Publish("t1");
        node.Publish("t2", new string('x', 200 * 1024));
        node.Publish("t3");
        Assert.Equal([1, 1, 1], node.TakeBatches(Lane.Data).Select(batch => batch.Entries.Count));
    }

    [Fact]
    public void Publish_RecordBeyondTheLimit_IsRefused()
    {
        Assert.Throws<ArgumentException>(() => node.Publish("t1", new string('x', 600 * 1024)));
        Assert.Throws<ArgumentException>(() => node.Publish(""));
    }

    [Fact]
    public void Priority_EverythingWaits_GoesInOrder()
    {
        node.Handshake();
        node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a" });
        node.Publish("t1");
        node.Session.SendChat(new ChatMessage { Id = "c1" });
        node.Offer("cmd");

        var kinds = node.TakeAll().Select(frame => frame.Batch is { } batch ? batch.Lane.ToString() : frame.FrameCase.ToString());

        Assert.Equal(["Heartbeat", "Commands", "Chat", "Data", "Ephemeral"], kinds);
    }

    [Fact]
    public void Ephemeral_SetTwice_SendsTheLatest()
    {
        node.Handshake();
        node.TakeAll();
        node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a", Value = Google.Protobuf.WellKnownTypes.Value.ForString("old") });
        node.Session.SetEphemeral(new Ephemeral { Kind = "presence", Key = "a", Value = Google.Protobuf.WellKnownTypes.Value.ForString("new") });
        Assert.Equal("new", Assert.Single(node.TakeAll()).Ephemeral.Value.StringValue);
    }

    [Fact]
    public void Rejected_OneRecord_IsToldAndNotedOnce()
    {
        node.Hub.RejectedDataSeqs.Add(1);
        node.Connect();
        node.Publish("bad");
        node.Publish("good");
        node.Pump();

        Assert.Equal("bad", Assert.Single(node.EventsOf<SessionEvent.Refused>()).Record.Id);
        Assert.Equal(["good"], node.EventsOf<SessionEvent.Acked>().Select(acked => acked.Record.Id));
        Assert.Equal(1, Assert.Single(node.Hub.CommandEntries).RejectedNoted.Seq);
    }

    [Fact]
    public void Heartbeat_Interval_IsWithinTenPercent()
    {
        node.Connect();
        for (var i = 0; i < 20; i++)
        {
            Assert.InRange(node.Session.NextDue!.Value.TotalSeconds, 22.5, 27.5);
            node.Time.Advance(node.Session.NextDue!.Value);
            Assert.Equal(ConnectRequest.FrameOneofCase.Heartbeat, Assert.Single(node.TakeAll()).FrameCase);
        }
    }

    [Fact]
    public void Receive_AnythingBeforeWelcome_IsAProtocolError()
    {
        node.Session.CreateHello();
        Assert.Throws<LinkProtocolException>(() => node.Session.Receive(new ConnectResponse { Heartbeat = new HubHeartbeat() }));
    }

    [Fact]
    public void Journal_OpenedTwice_IsRefused()
    {
        using var other = new TemporaryDirectory();
        using var first = Journal.Open(other.File("journal.db"));
        Assert.Throws<IOException>(() => Journal.Open(other.File("journal.db")));
    }
}
