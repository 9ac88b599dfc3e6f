using System.Collections.Concurrent;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Links;

/// <summary>The live links of this replica. The newest link of a host wins at once; nobody is ever refused because one exists.</summary>
internal sealed class LinkRegistry(TimeProvider time)
{
    private readonly ConcurrentDictionary<string, Link> _links = new(StringComparer.Ordinal);
    private volatile bool _isDraining;

    /// <summary>Identifies this process among the replicas.</summary>
    public string ReplicaId { get; } = EntityId.New("replica", time);

    /// <summary>All links; one that comes or goes meanwhile may be among them. No copy: the clock goes through them twice a second.</summary>
    public IEnumerable<Link> Links => _links.Select(entry => entry.Value);

    public bool IsLive(string hostId) => _links.ContainsKey(hostId);

    /// <summary>The live link of a host, if this replica has it.</summary>
    public Link? Find(string hostId) => _links.GetValueOrDefault(hostId);

    /// <summary>There may be something for the node, if its link is here.</summary>
    public void Wake(string hostId) => Find(hostId)?.Wake();

    /// <summary>There may be chat for the node, if its link is here.</summary>
    public void WakeForChat(string hostId) => Find(hostId)?.WakeForChat();

    public void End(string hostId, GoodbyeReason reason, string detail) => Find(hostId)?.End(reason, detail);

    public void Open(Link link)
    {
        Link? older = null;
        _links.AddOrUpdate(
            link.Identity.HostId,
            link,
            (_, present) =>
            {
                // Two Hellos can come here in another order than their epochs were raised in.
                older = present.Identity.Epoch < link.Identity.Epoch ? present : link;
                return older == present ? link : present;
            });
        older?.End(GoodbyeReason.TakenOver, "A newer link of this host was opened.");
        if (_isDraining)
        {
            // It came too late to be told a delay of its own, and backs off as after any other end.
            link.End(GoodbyeReason.Drain, "The Hub is shutting down; dial again.");
        }
    }

    /// <summary>No link stays from now on.</summary>
    /// <returns>The links to send away. One that is opened meanwhile is among them or ends by itself, for the flag is set first.</returns>
    public IReadOnlyCollection<Link> BeginDrain()
    {
        _isDraining = true;
        return [.. Links];
    }

    /// <summary>Takes the link out, if it still is the host's.</summary>
    public bool Remove(Link link) => _links.TryRemove(KeyValuePair.Create(link.Identity.HostId, link));
}
