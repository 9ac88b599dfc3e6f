using Hub.Contracts.V1;
using Hub.Links;

namespace Hub.Tests.Links;

public sealed class LinkOutboxTests
{
    private readonly LinkOutbox _outbox = new();

    [Fact]
    public void Control_OneFrameMoreThanMayWait_IsRefusedUntilOneIsTaken()
    {
        for (var i = 0; i < LinkOutbox.ControlFramesMax; i++)
        {
            Assert.True(_outbox.Control(new ConnectResponse()));
        }

        Assert.False(_outbox.Control(new ConnectResponse()));
        Assert.True(_outbox.TryTake(out _));
        Assert.True(_outbox.Control(new ConnectResponse()));
    }
}
