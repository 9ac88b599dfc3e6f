using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class ChatTests : IDisposable
{
    private readonly SessionFixture _node = new();

    public ChatTests()
    {
        for (var i = 1; i <= 10; i++)
        {
            _node.Hub.ChatDown.Add(new ChatMessage { Id = $"m{i}", Content = $"message {i}" });
        }
    }

    public void Dispose() => _node.Dispose();

    [Fact]
    public void ChatDown_InOrder_IsKeptAndAcknowledged()
    {
        _node.Connect();
        _node.Deliver(_node.Hub.ChatBatch(1, 3));
        Assert.Equal(3, Assert.Single(_node.TakeAll()).Ack.Seq);
        Assert.Equal(["m1", "m2", "m3"], Handle());
    }

    [Fact]
    public void ChatDown_Repeated_IsAcknowledgedAgainWithoutEffect()
    {
        _node.Connect();
        _node.Deliver(_node.Hub.ChatBatch(1, 3));
        _node.TakeAll();
        _node.Deliver(_node.Hub.ChatBatch(1, 3));
        Assert.Equal(3, Assert.Single(_node.TakeAll()).Ack.Seq);
        Assert.Equal(["m1", "m2", "m3"], Handle());
    }

    [Fact]
    public void ChatDown_Gap_IsAnsweredByNackWithoutEffect()
    {
        _node.Connect();
        _node.Deliver(_node.Hub.ChatBatch(4, 2));
        Assert.Equal(1, Assert.Single(_node.TakeAll()).Nack.ExpectedSeq);
        Assert.Empty(Handle());
    }

    [Fact]
    public void ChatDown_OverlappingBatch_TakesTheNewPart()
    {
        _node.Connect();
        _node.Deliver(_node.Hub.ChatBatch(1, 3));
        _node.Deliver(_node.Hub.ChatBatch(2, 4));
        Assert.Equal(["m1", "m2", "m3", "m4", "m5"], Handle());
    }

    [Fact]
    public void ChatDown_RestartBeforeTheHandlerRan_ShowsItAgain()
    {
        _node.Connect();
        _node.Deliver(_node.Hub.ChatBatch(1, 2));
        _node.Session.ChatHandled(_node.Session.PeekChat()!.Seq);
        _node.Restart();
        Assert.Equal(2, _node.Session.CreateHello().ChatDownSeq);
        Assert.Equal(["m2"], Handle());
    }

    [Fact]
    public void ChatDown_EntryOutsideTheRange_IsAProtocolErrorWithoutEffect()
    {
        _node.Connect();
        var batch = _node.Hub.ChatBatch(1, 3);
        batch.Batch.LastSeq = 2;
        Assert.Throws<LinkProtocolException>(() => _node.Deliver(batch));
        Assert.Empty(Handle());
        Assert.Equal(0, _node.Journal.ChatDownSeq);
    }

    [Fact]
    public void ChatDown_InboxFull_AsksAgainWhenThereIsRoom()
    {
        _node.Connect();
        _node.Journal.Write(() =>
        {
            for (var i = 1; i <= Journal.InboxMax; i++)
            {
                _node.Journal.StoreChatDown(-i, new ChatMessage());
            }
        });
        _node.Deliver(_node.Hub.ChatBatch(1, 2));
        Assert.Empty(_node.TakeAll());

        _node.Journal.Write(() =>
        {
            for (var i = 1; i < Journal.InboxMax; i++)
            {
                _node.Journal.RemoveFromInbox(-i);
            }
        });
        _node.Session.ChatHandled(-Journal.InboxMax);

        Assert.Equal(1, Assert.Single(_node.TakeAll()).Nack.ExpectedSeq);
    }

    [Fact]
    public void ChatUp_WhileOffline_ArrivesInOrder()
    {
        _node.Session.SendChat(new ChatMessage { Id = "a" });
        _node.Session.SendChat(new ChatMessage { Id = "b" });
        _node.Connect();
        _node.Session.SendChat(new ChatMessage { Id = "c" });
        _node.Pump();
        Assert.Equal(["a", "b", "c"], _node.Hub.ChatUp.Select(message => message.Id));
    }

    private List<string> Handle()
    {
        var handled = new List<string>();
        while (_node.Session.PeekChat() is { } next)
        {
            handled.Add(next.Message.Id);
            _node.Session.ChatHandled(next.Seq);
        }

        return handled;
    }
}
