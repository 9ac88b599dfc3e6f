using Hub.Commands;
using Hub.Contracts.V1;
using Timestamp = Google.Protobuf.WellKnownTypes.Timestamp;

namespace Hub.Tests.Commands;

public sealed class CommandExplanationsTests
{
    private static readonly Timestamp Since = Timestamp.FromDateTimeOffset(DateTimeOffset.UnixEpoch.AddDays(1));

    [Fact]
    public void EveryStateAndEveryReason_HasARow()
    {
        var states = Enum.GetValues<CommandState>().Where(state => state != CommandState.Unspecified)
            .Except(CommandExplanations.Known.Select(pair => pair.State));
        var reasons = Enum.GetValues<CommandReason>().Except(CommandExplanations.Known.Select(pair => pair.Reason));

        Assert.Empty(states);
        Assert.Empty(reasons);
    }

    [Fact]
    public void EveryRow_HasASentenceAndANextStep()
    {
        foreach (var (state, reason) in CommandExplanations.Known)
        {
            var why = CommandExplanations.Of(new HostCommand { State = state, Reason = reason, UpdatedAt = Since }, "");

            Assert.Equal(Since, why.Since);
            Assert.All([why.Sentence, why.NextStep], text => Assert.Matches(@"^[A-Z].+\.$", text));
        }
    }
}
