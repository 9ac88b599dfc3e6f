using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>The states of a command and their words.</summary>
internal static class CommandStates
{
    public static readonly string AwaitingApproval = EnumText<CommandState>.Of(CommandState.AwaitingApproval);
    public static readonly string Queued = EnumText<CommandState>.Of(CommandState.Queued);
    public static readonly string Offered = EnumText<CommandState>.Of(CommandState.Offered);
    public static readonly string Accepted = EnumText<CommandState>.Of(CommandState.Accepted);
    public static readonly string Running = EnumText<CommandState>.Of(CommandState.Running);

    public static bool IsTerminal(CommandState state) => state >= CommandState.Succeeded;

    /// <summary>The node holds the command: only it knows how far it got.</summary>
    public static bool IsHeldByNode(CommandState state) => state is CommandState.Accepted or CommandState.Running;

    /// <summary>The word of the reflectt-node contract.</summary>
    public static string StatusWord(CommandState state) => state switch
    {
        CommandState.AwaitingApproval => "awaiting_approval",
        CommandState.Queued or CommandState.Offered => "pending",
        CommandState.Accepted => "acknowledged",
        CommandState.Running => "running",
        CommandState.Succeeded => "completed",
        CommandState.Cancelled => "cancelled",
        CommandState.Expired => "expired",
        _ => "failed",
    };

    /// <summary>The states a word of the contract, or the name of a state, stands for; empty if it is neither.</summary>
    public static IReadOnlyList<string> Named(string word) =>
    [
        .. Enum.GetValues<CommandState>()
            .Where(state => state != CommandState.Unspecified
                && (StatusWord(state) == word || string.Equals(EnumText<CommandState>.Of(state), word, StringComparison.OrdinalIgnoreCase)))
            .Select(EnumText<CommandState>.Of),
    ];
}
