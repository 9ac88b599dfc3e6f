using Hub.Contracts.V1;
using Hub.Hosts;
using Host = Hub.Contracts.V1.Host;
using Timestamp = Google.Protobuf.WellKnownTypes.Timestamp;

namespace Hub.Tests.Hosts;

public sealed class HostExplanationsTests
{
    private static readonly Timestamp Since = Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch.AddDays(1));

    [Fact]
    public void EveryStateAndEveryReason_HasARow()
    {
        var states = Enum.GetValues<HostState>().Where(state => state != HostState.Unspecified).Except(HostExplanations.Known.Select(pair => pair.State));
        var reasons = Enum.GetValues<HostStateReason>().Except(HostExplanations.Known.Select(pair => pair.Reason));

        Assert.Empty(states);
        Assert.Empty(reasons);
    }

    [Fact]
    public void EveryRow_HasASentenceAndANextStep()
    {
        foreach (var (state, reason) in HostExplanations.Known)
        {
            var why = HostExplanations.Of(new Host { State = state, StateReason = reason, StateSince = Since });

            Assert.Equal(Since, why.Since);
            Assert.All([why.Sentence, why.NextStep], text => Assert.Matches(@"^[A-Z].+\.$", text));
        }
    }

    [Fact]
    public void PairWithoutARow_IsExplainedByItsState()
    {
        var why = HostExplanations.Of(new Host { State = HostState.Online, StateReason = HostStateReason.Drain });

        Assert.Equal(("ONLINE", "DRAIN"), (why.State, why.Reason));
        Assert.NotEmpty(why.Sentence);
    }
}
