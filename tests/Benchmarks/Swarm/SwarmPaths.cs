using Grpc.Net.Client;

namespace Hub.Benchmarks.Swarm;

/// <summary>TCP connections to the Hubs: shared by many links, or one for each.</summary>
internal sealed class SwarmPaths : IDisposable
{
    private readonly Uri[] _hubs;
    private readonly Lazy<GrpcChannel>[,] _shared;

    public SwarmPaths(SwarmPlan plan)
    {
        _hubs = plan.Hubs;
        _shared = new Lazy<GrpcChannel>[_hubs.Length, plan.Connections];
        for (var hub = 0; hub < _hubs.Length; hub++)
        {
            for (var connection = 0; connection < plan.Connections; connection++)
            {
                var address = _hubs[hub];
                _shared[hub, connection] = new Lazy<GrpcChannel>(() => Open(address));
            }
        }
    }

    /// <param name="hub">Counts up each time a node turns to the next Hub.</param>
    /// <returns>The channel, and what the link disposes of when it ends.</returns>
    public (GrpcChannel Channel, IDisposable? Own) Take(int node, int hub)
    {
        hub %= _hubs.Length;
        if (_shared.GetLength(1) is > 0 and var connections)
        {
            return (_shared[hub, node % connections].Value, null);
        }

        var own = Open(_hubs[hub]);
        return (own, own);
    }

    public void Dispose()
    {
        foreach (var channel in _shared)
        {
            if (channel.IsValueCreated)
            {
                channel.Value.Dispose();
            }
        }
    }

    private static GrpcChannel Open(Uri address) => GrpcChannel.ForAddress(address, new GrpcChannelOptions
    {
        // The nodes' own back-off decides when to dial; a channel's would hold up the others that share it.
        InitialReconnectBackoff = TimeSpan.FromMilliseconds(1),
        MaxReconnectBackoff = TimeSpan.FromMilliseconds(1),
    });
}
