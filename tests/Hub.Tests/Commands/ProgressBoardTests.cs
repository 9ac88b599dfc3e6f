using Hub.Commands;
using Hub.Contracts.V1;

namespace Hub.Tests.Commands;

public sealed class ProgressBoardTests
{
    private readonly ProgressBoard _board = new();

    [Fact]
    public void Report_OfOneCommandMoreThanIsRemembered_ShowsNothingUntilAnotherEnds()
    {
        for (var i = 0; i < ProgressBoard.CommandsMax; i++)
        {
            Report($"{i}", 1);
        }

        Report("one more", 50);
        Report("0", 50);
        var (refused, known) = (PercentOf("one more"), PercentOf("0"));
        _board.Forget("1");
        Report("one more", 60);

        Assert.Equal((0, 50), (refused, known));
        Assert.Equal(60, PercentOf("one more"));
    }

    private void Report(string commandId, int percent) =>
        _board.Report(new CommandProgress { CommandId = commandId, Attempt = 1, Percent = percent });

    private int PercentOf(string commandId) =>
        _board.Overlay(new HostCommand { Id = commandId, Attempt = 1, State = CommandState.Running }).ProgressPercent;
}
