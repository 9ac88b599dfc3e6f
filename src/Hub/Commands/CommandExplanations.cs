using Hub.Contracts.V1;
using Hub.Text;

namespace Hub.Commands;

/// <summary>Why a command is in its state, in words: one row per state and reason that the state machine can reach.</summary>
internal static class CommandExplanations
{
    private const string WaitForNode = "Nothing to do while the node is in contact; else see why the host is not.";
    private const string CreateAgain = "If it is still wanted, create it again with a new idempotency key.";
    private const string LookFirst = "Look on the node how far it got before it is created again.";

    private static readonly ExplanationTable<CommandState, CommandReason> Table = new(new Dictionary<(CommandState, CommandReason), (string, string)>
    {
        [(CommandState.AwaitingApproval, CommandReason.Approval)] = (
            "A person has to approve it before the node sees it.", "Decide: POST /api/approvals/{id}/decide. It expires if nobody does."),
        [(CommandState.Queued, CommandReason.Unspecified)] = ("It waits for the node to take it.", WaitForNode),
        [(CommandState.Queued, CommandReason.Approval)] = ("It was approved and waits for the node to take it.", WaitForNode),
        [(CommandState.Queued, CommandReason.LinkEnded)] = (
            "It was offered, and the link ended before the node took it; it will be offered again.", WaitForNode),
        [(CommandState.Queued, CommandReason.OfferTimeout)] = (
            "It was offered, and the node did not take it in time; it will be offered again.",
            "Look whether the node is busy or stuck: it is in contact and does not answer."),
        [(CommandState.Queued, CommandReason.Retry)] = (
            "The attempt before ended without success; another one waits for the node.", "See the timeline for how the attempts before ended."),
        [(CommandState.Offered, CommandReason.Unspecified)] = (
            "It was sent to the node, which has not taken it yet.", "Nothing to do: it is offered again if the node does not answer."),
        [(CommandState.Accepted, CommandReason.Unspecified)] = (
            "The node has taken it and not started it yet.", "Nothing to do; the node works on other things first."),
        [(CommandState.Running, CommandReason.Unspecified)] = (
            "The node works on it.", "Nothing to do; cancel it if it takes too long."),
        [(CommandState.Succeeded, CommandReason.Unspecified)] = ("The node did it.", "Nothing to do; see its result."),
        [(CommandState.Failed, CommandReason.NodeFailed)] = ("The node tried, and failed.", "See its error. " + CreateAgain),
        [(CommandState.Rejected, CommandReason.NodeRefused)] = ("The node refused it; nothing was done.", "See its error."),
        [(CommandState.Rejected, CommandReason.UnknownType)] = (
            "The node does not know this type of command; nothing was done.", "Use a type it knows, or update its program."),
        [(CommandState.Rejected, CommandReason.Approval)] = (
            "A person refused it; nothing was done.", "Ask the one who decided; the timeline names them and their note."),
        [(CommandState.Cancelled, CommandReason.CancelRequested)] = ("It was cancelled on request.", CreateAgain),
        [(CommandState.Cancelled, CommandReason.NodeSilent)] = (
            "It was cancelled, and the node did not say how far it had got.", LookFirst),
        [(CommandState.Cancelled, CommandReason.HostRemoved)] = (
            "Its host was deleted before it ended.", "If it is still wanted, create it for another host."),
        [(CommandState.Expired, CommandReason.AcceptTimeout)] = (
            "No node took it in the time it had; nothing was done.", "See why the host is not in contact. " + CreateAgain),
        [(CommandState.Interrupted, CommandReason.NodeRestarted)] = (
            "The node's process restarted in the middle of it; it may be done in part.", LookFirst),
        [(CommandState.Lost, CommandReason.JournalLost)] = (
            "The node lost its journal while it held it; nobody knows how far it got.", LookFirst),
        [(CommandState.Lost, CommandReason.FinishTimeout)] = (
            "The node took it and never reported its end in the time it had.", LookFirst),
    });

    /// <summary>The pairs that have a row of their own.</summary>
    public static IEnumerable<(CommandState State, CommandReason Reason)> Known => Table.Known;

    /// <param name="detail">What the last transition says beside its reason.</param>
    public static Explanation Of(HostCommand command, string detail)
    {
        var explanation = Table.Of(command.State, command.Reason, command.UpdatedAt);
        explanation.Detail = command.Error.Length > 0 ? command.Error : detail;
        return explanation;
    }
}
