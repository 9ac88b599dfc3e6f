using Grpc.Core;
using Hub.Identity;

namespace Hub.Hosts;

/// <summary>Calls of nodes without a link: whatever such a node asks for or reports, it was in contact.</summary>
internal sealed class NodeCalls(Access access, Presence presence)
{
    /// <summary>The host's own node, as <see cref="Access.NodeAsync"/>, which is noted as heard.</summary>
    public async Task<HostAccess> HeardAsync(ServerCallContext context, string hostId)
    {
        var host = await access.NodeAsync(context, hostId);
        await HeardAsync(host);
        return host;
    }

    /// <summary>Notes the host as heard if it is its node that calls.</summary>
    public async Task HeardAsync(HostAccess host)
    {
        if (host.IsNode)
        {
            await presence.HeardByRestAsync(host.TeamId, host.HostId, isHeartbeat: false, heartbeat: null);
        }
    }
}
