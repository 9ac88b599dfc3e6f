using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class SourceTests : IDisposable
{
    private readonly SessionFixture node = new(hasSource: true);

    public void Dispose() => node.Dispose();

    [Fact]
    public void JournalNew_WithSource_SendsWhatTheSourceSays()
    {
        node.Hub.Tasks["gone"] = (new Delta { RecordId = "gone" }, "another journal", 5);
        node.Connect();
        Read("t1", "t2");
        node.Pump();

        Assert.Equal(["t1", "t2"], node.Hub.Tasks.Keys.Order());
        Assert.Equal(1, node.Hub.SnapshotsCompleted);
    }

    [Fact]
    public void Source_ChangeWhileReading_WinsOverTheSource()
    {
        node.Connect();
        node.Session.BeginSource(Collection.Tasks);
        node.Session.AddSourced(Collection.Tasks, [SessionFixture.Task("t1", "read"), SessionFixture.Task("t2")]);
        node.Publish("t1", "changed");
        node.Session.DeleteTask("t2");
        node.Session.DeleteTask("t3");
        node.Session.AddSourced(Collection.Tasks, [SessionFixture.Task("t3")]);
        node.Session.CommitSource(Collection.Tasks);
        node.Pump();

        Assert.Equal("changed", Assert.Single(node.Hub.Tasks).Value.Delta.Task.Title);
    }

    [Fact]
    public void Source_UnchangedRecord_KeepsItsVersion()
    {
        node.Publish("t1");
        node.Connect();
        var version = node.Hub.Tasks["t1"].Delta.Version;
        Read("t1");
        node.Pump();
        Assert.Equal(version, node.Hub.Tasks["t1"].Delta.Version);
    }

    [Fact]
    public void Source_Aborted_IsAskedForAgainByTheNextLink()
    {
        node.Connect();
        node.Session.BeginSource(Collection.Tasks);
        node.Session.AbortSource(Collection.Tasks);
        node.Restart();
        node.Connect();
        Assert.Equal(2, node.EventsOf<SessionEvent.SourceWanted>().Count());
    }

    private void Read(params string[] ids)
    {
        node.Session.BeginSource(Collection.Tasks);
        node.Session.AddSourced(Collection.Tasks, [.. ids.Select(id => SessionFixture.Task(id))]);
        node.Session.CommitSource(Collection.Tasks);
    }
}
