using Hub.Contracts.V1;
using Hub.Text;
using Host = Hub.Contracts.V1.Host;

namespace Hub.Hosts;

/// <summary>Why a host is in its state, in words: one row per state and reason that a host can have.</summary>
internal static class HostExplanations
{
    private const string AskTheMachine =
        "Look whether the machine runs, whether its node's process runs, and whether it reaches the Hub; its own log names the last error.";

    private static readonly ExplanationTable<HostState, HostStateReason> Table = new(new Dictionary<(HostState, HostStateReason), (string, string)>
    {
        [(HostState.New, HostStateReason.Unspecified)] = (
            "The host is registered, and its node was never in contact.",
            "Start its node with the credential it was given, or make a join token for this host and claim it again."),
        [(HostState.Online, HostStateReason.Link)] = ("Its node has an open link and sends heartbeats.", "Nothing to do."),
        [(HostState.Online, HostStateReason.Rest)] = ("Its node calls the Hub by REST, in time.", "Nothing to do."),
        [(HostState.Suspect, HostStateReason.Silent)] = (
            "Its node has been silent for longer than usual.", "Wait a moment: it becomes OFFLINE if nothing comes. " + AskTheMachine),
        [(HostState.Suspect, HostStateReason.LinkEnded)] = (
            "Its link ended, and no new one came yet.", "Wait a moment: nodes dial again by themselves. " + AskTheMachine),
        [(HostState.Suspect, HostStateReason.ReplicaLost)] = (
            "The replica of the Hub that spoke for it went silent; its node has to find another one.",
            "Wait a moment: nodes dial again by themselves. Look after the Hub's replicas."),
        [(HostState.Offline, HostStateReason.Silent)] = ("Its node has been silent for too long.", AskTheMachine),
        [(HostState.Offline, HostStateReason.LinkEnded)] = ("Its link ended, and its node did not dial again.", AskTheMachine),
        [(HostState.Offline, HostStateReason.ReplicaLost)] = (
            "The replica of the Hub that spoke for it went silent, and its node did not dial another one.",
            "Look after the Hub's replicas and the addresses its node knows. " + AskTheMachine),
        [(HostState.Offline, HostStateReason.Unspecified)] = (
            "The host was claimed again after a revocation, and its node was not in contact since.",
            "Start its node with the credential of the claim."),
        [(HostState.Draining, HostStateReason.Drain)] = (
            "The Hub ended its link on purpose, for a restart or to spread the load; its node was told when to dial again.",
            "Nothing to do: it comes back by itself within minutes."),
        [(HostState.Revoked, HostStateReason.Revoked)] = (
            "A person revoked its credentials; its node is refused.",
            "If that was meant, nothing. Else make a join token for this host and claim it again."),
    });

    /// <summary>The pairs that have a row of their own.</summary>
    public static IEnumerable<(HostState State, HostStateReason Reason)> Known => Table.Known;

    public static Explanation Of(Host host) => Table.Of(host.State, host.StateReason, host.StateSince);

    /// <summary>What else is to be known of a host, whatever its state.</summary>
    public static IEnumerable<Explanation> Notes(Host host)
    {
        if (host.ClonedIdentity)
        {
            yield return new Explanation
            {
                State = "CLONED_IDENTITY",
                Sentence = "Two nodes use this host's identity; the younger one is kept out.",
                NextStep = "Give one of the two a host of its own, then release this one: POST /api/hosts/{id}/release.",
            };
        }

        foreach (var property in host.Drift)
        {
            yield return new Explanation
            {
                State = "NOT_CONVERGED",
                Reason = property.Key,
                Since = property.DesiredAt,
                Sentence = property.Error.Length > 0
                    ? $"The node could not apply '{property.Key}'."
                    : $"What the node reports of '{property.Key}' is not what {property.DesiredBy} wants "
                        + $"(generation {property.ReportedGeneration} of {property.DesiredGeneration}).",
                NextStep = property.Error.Length > 0
                    ? "Mend what the node names, or take the value back: DELETE /api/hosts/{id}/properties/{key}."
                    : "Wait until the node is in contact and reports it, or take the value back.",
                Detail = property.Error,
            };
        }
    }
}
