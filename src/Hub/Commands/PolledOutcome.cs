using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.Commands;

/// <summary>
/// What a polling node's report means. reflectt-node completes commands it does not know with {skipped: true}, and passes on the HTTP status
/// of a local call that was refused: neither was done, whatever the action says (contract §6.7).
/// </summary>
internal static class PolledOutcome
{
    private const double FirstErrorStatus = 400;

    /// <summary>What reflectt-node gives as the reason of a skip when it does not know the type.</summary>
    private const string UnknownType = "unknown_type";

    public static CommandOutcome OfComplete(string commandId, int attempt, Value? result)
    {
        var outcome = new CommandOutcome { CommandId = commandId, Attempt = attempt, State = CommandState.Succeeded, Result = result };
        if (result?.KindCase != Value.KindOneofCase.StructValue)
        {
            return outcome;
        }

        var fields = result.StructValue.Fields;
        if (fields.TryGetValue("skipped", out var skipped) && skipped.BoolValue)
        {
            outcome.State = CommandState.Rejected;
            outcome.Error = fields.TryGetValue("reason", out var reason) ? reason.StringValue : "skipped";
        }
        else if (fields.TryGetValue("status", out var status) && status.NumberValue >= FirstErrorStatus)
        {
            outcome.State = CommandState.Failed;
            outcome.Error = fields.TryGetValue("error", out var error) && error.StringValue.Length > 0 ? error.StringValue : $"status {status.NumberValue}";
        }

        return outcome;
    }

    /// <summary>Why a node that skipped a command did so.</summary>
    public static CommandReason RefusalOf(CommandOutcome outcome) =>
        outcome.Error == UnknownType ? CommandReason.UnknownType : CommandReason.NodeRefused;

    public static CommandOutcome OfFail(string commandId, int attempt, string error) =>
        new() { CommandId = commandId, Attempt = attempt, State = CommandState.Failed, Error = error };
}
