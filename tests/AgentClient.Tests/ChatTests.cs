using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Tests;

public sealed class ChatTests : IDisposable
{
    private readonly SessionFixture node = new();

    public ChatTests()
    {
        for (var i = 1; i <= 10; i++)
        {
            node.Hub.ChatDown.Add(new ChatMessage { Id = $"m{i}", Content = $"message {i}" });
        }
    }

    public void Dispose() => node.Dispose();

    [Fact]
    public void ChatDown_InOrder_IsKeptAndAcknowledged()
    {
        node.Connect();
        node.Deliver(node.Hub.ChatBatch(1, 3));
        Assert.Equal(3, Assert.Single(node.TakeAll()).Ack.Seq);
        Assert.Equal(["m1", "m2", "m3"], Handle());
    }

    [Fact]
    public void ChatDown_Repeated_IsAcknowledgedAgainWithoutEffect()
    {
        node.Connect();
        node.Deliver(node.Hub.ChatBatch(1, 3));
        node.TakeAll();
        node.Deliver(node.Hub.ChatBatch(1, 3));
        Assert.Equal(3, Assert.Single(node.TakeAll()).Ack.Seq);
        Assert.Equal(["m1", "m2", "m3"], Handle());
    }

    [Fact]
    public void ChatDown_Gap_IsAnsweredByNackWithoutEffect()
    {
        node.Connect();
        node.Deliver(node.Hub.ChatBatch(4, 2));
        Assert.Equal(1, Assert.Single(node.TakeAll()).Nack.ExpectedSeq);
        Assert.Empty(Handle());
    }

    [Fact]
    public void ChatDown_OverlappingBatch_TakesTheNewPart()
    {
        node.Connect();
        node.Deliver(node.Hub.ChatBatch(1, 3));
        node.Deliver(node.Hub.ChatBatch(2, 4));
        Assert.Equal(["m1", "m2", "m3", "m4", "m5"], Handle());
    }

    [Fact]
    public void ChatDown_RestartBeforeTheHandlerRan_ShowsItAgain()
    {
        node.Connect();
        node.Deliver(node.Hub.ChatBatch(1, 2));
        node.Session.ChatHandled(node.Session.PeekChat()!.Seq);
        node.Restart();
        Assert.Equal(2, node.Session.CreateHello().ChatDownSeq);
        Assert.Equal(["m2"], Handle());
    }

    [Fact]
    public void ChatDown_EntryOutsideTheRange_IsAProtocolErrorWithoutEffect()
    {
        node.Connect();
        var batch = node.Hub.ChatBatch(1, 3);
        batch.Batch.LastSeq = 2;
        Assert.Throws<LinkProtocolException>(() => node.Deliver(batch));
        Assert.Empty(Handle());
        Assert.Equal(0, node.Journal.ChatDownSeq);
    }

    [Fact]
    public void ChatDown_InboxFull_AsksAgainWhenThereIsRoom()
    {
        node.Connect();
        node.Journal.Write(() =>
        {
            for (var i = 1; i <= Journal.InboxMax; i++)
            {
                node.Journal.StoreChatDown(-i, new ChatMessage());
            }
        });
        node.Deliver(node.Hub.ChatBatch(1, 2));
        Assert.Empty(node.TakeAll());

        node.Journal.Write(() =>
        {
            for (var i = 1; i < Journal.InboxMax; i++)
            {
                node.Journal.RemoveFromInbox(-i);
            }
        });
        node.Session.ChatHandled(-Journal.InboxMax);

        Assert.Equal(1, Assert.Single(node.TakeAll()).Nack.ExpectedSeq);
    }

    [Fact]
    public void ChatUp_WhileOffline_ArrivesInOrder()
    {
        node.Session.SendChat(new ChatMessage { Id = "a" });
        node.Session.SendChat(new ChatMessage { Id = "b" });
        node.Connect();
        node.Session.SendChat(new ChatMessage { Id = "c" });
        node.Pump();
        Assert.Equal(["a", "b", "c"], node.Hub.ChatUp.Select(message => message.Id));
    }

    private List<string> Handle()
    {
        var handled = new List<string>();
        while (node.Session.PeekChat() is { } next)
        {
            handled.Add(next.Message.Id);
            node.Session.ChatHandled(next.Seq);
        }

        return handled;
    }
}
