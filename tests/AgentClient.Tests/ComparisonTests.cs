using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

/// <summary>A re-sync sends what differs, and little else.</summary>
public sealed class ComparisonTests : IDisposable
{
    private const int Records = 1_000;

    private readonly SessionFixture _node = new(hasSource: true);

    public void Dispose() => _node.Dispose();

    [Fact]
    public void JournalLost_FewRecordsChanged_SendsThoseAndNoOthers()
    {
        Sync();
        _node.LoseJournal();
        _node.Hub.Batches.Clear();
        _node.Connect();
        Read(i => i % 100 == 7 ? "changed" : $"title {i}", except: 500);
        _node.Pump();

        Assert.Equal(2, _node.Hub.SnapshotsCompleted);
        Assert.Equal(Enumerable.Range(0, Records).Where(i => i % 100 == 7).Select(Id), _node.Hub.SnapshotRecords.Select(record => record.RecordId).Order());
        Assert.Equal(Records - 1, _node.Hub.Tasks.Count);
        Assert.DoesNotContain(Id(500), _node.Hub.Tasks.Keys);
        Assert.True(BulkBytes() < (48 * Records) + 2_000, $"{BulkBytes()} bytes");
    }

    [Fact]
    public void JournalLost_NothingChanged_SendsDigestsOnly()
    {
        Sync();
        _node.LoseJournal();
        _node.Hub.Batches.Clear();
        _node.Connect();
        Read(i => $"title {i}");
        _node.Pump();

        Assert.Equal(2, _node.Hub.SnapshotsCompleted);
        Assert.DoesNotContain(_node.Hub.Batches.SelectMany(batch => batch.Entries), entry => entry.SnapshotListing is not null);
        Assert.Empty(_node.Hub.SnapshotRecords);
    }

    [Fact]
    public void JournalLost_ClockBehind_GivesVersionsAboveTheHubs()
    {
        _node.Hub.VersionFloor = long.MaxValue / 2;
        _node.Connect();
        _node.Publish("t1");
        _node.Pump();

        Assert.True(_node.Hub.Tasks["t1"].Delta.Version > _node.Hub.VersionFloor);
    }

    [Fact]
    public void Resync_LinkEndsInTheMiddle_SendsTheRestOnly()
    {
        Sync();
        _node.Hub.Tasks.Clear();
        _node.LoseJournal();
        _node.Hub.Settings.WindowBatches = 1;
        _node.Handshake();
        Read(i => $"title {i}");
        _node.PumpWhile(() => _node.Hub.SnapshotRecords.Count < Records / 2);
        var before = _node.Hub.SnapshotRecords.Count;
        _node.Restart();
        _node.Connect();
        Read(i => $"title {i}");
        _node.Pump();

        Assert.InRange(before, Records / 2, Records - 1);
        Assert.Equal(Records, _node.Hub.Tasks.Count);
        Assert.Equal(Records, _node.Hub.SnapshotRecords.Count);
    }

    [Fact]
    public void Request_NamesWhatWasNotSent_BreaksTheProtocol()
    {
        _node.Connect();
        Read(i => $"title {i}");
        var entry = _node.TakeBatches(Lane.Bulk).SelectMany(batch => batch.Entries).First(entry => entry.SnapshotDigests is not null);

        Assert.Throws<LinkProtocolException>(() => _node.Session.Receive(new ConnectResponse
        {
            Ack = new Ack { Lane = Lane.Bulk, Seq = entry.Seq, SnapshotRequests = { new SnapshotRequest { Seq = entry.Seq, Indexes = { 99 } } } },
        }));
    }

    private static string Id(int i) => $"task-{i:D5}";

    private void Sync()
    {
        _node.Connect();
        Read(i => $"title {i}");
        _node.Pump();
        Assert.Equal(Records, _node.Hub.Tasks.Count);
        _node.Hub.SnapshotRecords.Clear();
    }

    private void Read(Func<int, string> title, int except = -1)
    {
        _node.Session.BeginSource(Collection.Tasks);
        _node.Session.AddSourced(Collection.Tasks, [.. Enumerable.Range(0, Records).Where(i => i != except).Select(i => SessionFixture.Task(Id(i), title(i)))]);
        _node.Session.CommitSource(Collection.Tasks);
    }

    private int BulkBytes() => _node.Hub.Batches.Where(batch => batch.Lane is Lane.Bulk).Sum(batch => batch.CalculateSize())
        - _node.Hub.SnapshotRecords.Sum(record => record.CalculateSize());
}
