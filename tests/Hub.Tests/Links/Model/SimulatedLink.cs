using Hub.AgentClient.Internal;
using Hub.Contracts.V1;
using Hub.Links;

namespace Hub.Tests.Links.Model;

/// <summary>
/// One Connect call: its two ends and the frames between them. Either end may be gone without the other knowing, and frames that were under
/// way then still arrive.
/// </summary>
internal sealed class SimulatedLink(int number, SimulatedNode node, NodeSession process)
{
    public int Number => number;

    public SimulatedNode Node => node;

    /// <summary>Frames the node sent.</summary>
    public List<ConnectRequest> Up { get; } = [];

    /// <summary>Frames the Hub sent.</summary>
    public List<ConnectResponse> Down { get; } = [];

    /// <summary>The Hub's end; null before Hello was taken and after the end.</summary>
    public Link? Hub { get; set; }

    /// <summary>Hello was taken or refused; a stream has only one.</summary>
    public bool Greeted { get; set; }

    /// <summary>The process that dialled still runs and still owns this stream.</summary>
    public bool IsHeldByNode => node.Link == this && node.Session == process;

    public bool IsOver => !IsHeldByNode && Hub is null && (Greeted || Up.Count == 0);
}
