using Hub.Contracts.V1;
using Hub.Links;

namespace Hub.Tests.Links;

public sealed class LaneAnswersTests
{
    private readonly LinkOutbox _outbox = new();
    private readonly LaneAnswers _answers;

    public LaneAnswersTests() => _answers = new LaneAnswers(_outbox);

    [Fact]
    public void Answer_ThatOvertakes_WaitsForTheOneBeforeIt()
    {
        var first = _answers.Take(Lane.Bulk);
        var second = _answers.Take(Lane.Bulk);

        _answers.Give(second, AckOf(Lane.Bulk, 2));
        Assert.False(_outbox.TryTake(out _));
        _answers.Give(first, AckOf(Lane.Bulk, 1, asked: 7));

        Assert.True(_outbox.TryTake(out var frame));
        Assert.Equal(2, frame.Ack.Seq);
        Assert.Equal(7u, Assert.Single(Assert.Single(frame.Ack.SnapshotRequests).Indexes));
        Assert.False(_outbox.TryTake(out _));
    }

    [Fact]
    public void Answer_OfAnotherLane_WaitsForNone()
    {
        _answers.Take(Lane.Bulk);

        _answers.Give(_answers.Take(Lane.Data), AckOf(Lane.Data, 1));

        Assert.True(_outbox.TryTake(out var frame));
        Assert.Equal(Lane.Data, frame.Ack.Lane);
    }

    [Fact]
    public void Batch_WithoutAnAnswer_HoldsUpNone()
    {
        var failed = _answers.Take(Lane.Data);
        _answers.Give(_answers.Take(Lane.Data), new BatchAnswer(null, new Nack { Lane = Lane.Data, ExpectedSeq = 1 }));

        _answers.Give(failed, null);

        Assert.True(_outbox.TryTake(out var frame));
        Assert.Equal(1, frame.Nack.ExpectedSeq);
    }

    private static BatchAnswer AckOf(Lane lane, long seq, params uint[] asked)
    {
        var ack = new Ack { Lane = lane, Seq = seq };
        if (asked.Length > 0)
        {
            ack.SnapshotRequests.Add(new SnapshotRequest { Seq = seq, Indexes = { asked } });
        }

        return new BatchAnswer(ack, null);
    }
}
