using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class SourceTests : IDisposable
{
    private readonly SessionFixture _node = new(hasSource: true);

    public void Dispose() => _node.Dispose();

    [Fact]
    public void JournalNew_WithSource_SendsWhatTheSourceSays()
    {
        _node.Hub.Tasks["gone"] = (Records.Upsert(SessionFixture.Task("gone"), 1), "another journal", 5);
        _node.Connect();
        Read("t1", "t2");
        _node.Pump();

        Assert.Equal(["t1", "t2"], _node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, _node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Source_ChangeWhileReading_WinsOverTheSource()
    {
        _node.Connect();
        _node.Session.BeginSource(Collection.Tasks);
        _node.Session.AddSourced(Collection.Tasks, [SessionFixture.Task("t1", "read"), SessionFixture.Task("t2")]);
        _node.Publish("t1", "changed");
        _node.Session.DeleteTask("t2");
        _node.Session.DeleteTask("t3");
        _node.Session.AddSourced(Collection.Tasks, [SessionFixture.Task("t3")]);
        _node.Session.CommitSource(Collection.Tasks);
        _node.Pump();

        Assert.Equal("changed", Assert.Single(_node.Hub.Tasks).Value.Delta.Task.Title);
    }

    [Fact]
    public void Source_UnchangedRecord_KeepsItsVersion()
    {
        _node.Publish("t1");
        _node.Connect();
        var version = _node.Hub.Tasks["t1"].Delta.Version;
        Read("t1");
        _node.Pump();
        Assert.Equal(version, _node.Hub.Tasks["t1"].Delta.Version);
    }

    [Fact]
    public void Source_Aborted_IsAskedForAgainByTheNextLink()
    {
        _node.Connect();
        _node.Session.BeginSource(Collection.Tasks);
        _node.Session.AbortSource(Collection.Tasks);
        _node.Restart();
        _node.Connect();
        Assert.Equal(2, _node.EventsOf<SessionEvent.SourceWanted>().Count());
    }

    private void Read(params string[] ids)
    {
        _node.Session.BeginSource(Collection.Tasks);
        _node.Session.AddSourced(Collection.Tasks, [.. ids.Select(id => SessionFixture.Task(id))]);
        _node.Session.CommitSource(Collection.Tasks);
    }
}
