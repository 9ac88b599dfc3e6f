using System.Collections.Concurrent;
using Hub.Contracts.V1;

namespace Hub.Commands;

/// <summary>Latest progress of running commands. It is not durable: the next report replaces it, the outcome ends it.</summary>
internal sealed class ProgressBoard
{
    public const int MessageLengthMax = 500;

    /// <summary>Commands remembered; beyond it new ones show no progress until others end.</summary>
    public const int CommandsMax = 100_000;

    private readonly ConcurrentDictionary<string, CommandProgress> _latest = new(StringComparer.Ordinal);

    public void Report(CommandProgress progress)
    {
        if (_latest.ContainsKey(progress.CommandId) || _latest.Count < CommandsMax)
        {
            _latest[progress.CommandId] = progress;
        }
    }

    public void Forget(string commandId) => _latest.TryRemove(commandId, out _);

    public HostCommand Overlay(HostCommand command)
    {
        if (command.State == CommandState.Running && _latest.TryGetValue(command.Id, out var progress) && progress.Attempt == command.Attempt)
        {
            command.ProgressPercent = progress.Percent;
            command.ProgressMessage = progress.Message;
        }

        return command;
    }
}
