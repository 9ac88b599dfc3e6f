using System.Collections.Concurrent;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Links;

/// <summary>The live links of this replica. The newest link of a host wins at once; nobody is ever refused because one exists.</summary>
internal sealed class LinkRegistry(TimeProvider time)
{
    /// <summary>Changes of instance within <see cref="AlternationWithin"/> that show two nodes under one identity.</summary>
    private const int AlternationsMax = 3;

    private static readonly TimeSpan AlternationWithin = TimeSpan.FromSeconds(60);

    /// <summary>A quarantine ends when one of the two was silent for this long.</summary>
    private static readonly TimeSpan QuarantineSilence = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan CloneRetryAfter = TimeSpan.FromMinutes(15);

    private readonly ConcurrentDictionary<string, Link> _links = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, Instances> _instances = new(StringComparer.Ordinal);

    /// <summary>Identifies this process among the replicas.</summary>
    public string ReplicaId { get; } = EntityId.New("replica", time);

    public IReadOnlyCollection<Link> Links => (IReadOnlyCollection<Link>)_links.Values;

    public bool IsLive(string hostId) => _links.ContainsKey(hostId);

    /// <summary>The live link of a host, if this replica has it.</summary>
    public Link? Find(string hostId) => _links.GetValueOrDefault(hostId);

    public void Wake(string hostId)
    {
        if (_links.TryGetValue(hostId, out var link))
        {
            link.Wake();
        }
    }

    public void End(string hostId, GoodbyeReason reason, string detail)
    {
        if (_links.TryGetValue(hostId, out var link))
        {
            link.End(reason, detail);
        }
    }

    /// <summary>Notes an instance that says Hello.</summary>
    /// <returns>The refusal, if two instances alternate under this identity and this is the younger one.</returns>
    public HubException? Admit(string hostId, string instanceId)
    {
        var now = time.GetUtcNow();
        var instances = _instances.GetOrAdd(hostId, _ => new Instances());
        var connected = _links.TryGetValue(hostId, out var link) ? link.Identity.InstanceId : null;
        lock (instances)
        {
            return instances.Admit(instanceId, connected, now) ? null : new HubException(
                ErrorReason.ClonedIdentity,
                "Two nodes use this host's identity. Give one of them a host of its own, then release this one: POST /api/hosts/{id}/release.",
                ("host_id", hostId))
            { RetryAfter = CloneRetryAfter };
        }
    }

    /// <summary>A person ended the quarantine.</summary>
    public void Release(string hostId) => _instances.TryRemove(hostId, out _);

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
    }

    /// <summary>Takes the link out, if it still is the host's.</summary>
    public bool Remove(Link link) => _links.TryRemove(KeyValuePair.Create(link.Identity.HostId, link));

    /// <summary>Which instances of a host said Hello lately. Guarded by a lock on itself.</summary>
    private sealed class Instances
    {
        private readonly Queue<DateTimeOffset> _alternations = new();
        private readonly Dictionary<string, (DateTimeOffset First, DateTimeOffset Last)> _seen = new(StringComparer.Ordinal);
        private string _latest = "";
        private string? _elder;

        public bool Admit(string instanceId, string? connected, DateTimeOffset now)
        {
            if (connected is not null && _seen.TryGetValue(connected, out var alive))
            {
                _seen[connected] = (alive.First, now); // Whoever holds the link is not silent.
            }

            foreach (var (gone, _) in _seen.Where(pair => now - pair.Value.Last > QuarantineSilence).ToArray())
            {
                _seen.Remove(gone);
            }

            if (_elder is not null && (!_seen.ContainsKey(_elder) || _seen.Count < 2))
            {
                (_elder, _latest) = (null, "");
                _alternations.Clear();
            }

            // Coming back counts: a process that restarts has a new id each time and never alternates.
            var isReturn = _seen.TryGetValue(instanceId, out var times) && _latest != instanceId;
            _seen[instanceId] = (times.First == default ? now : times.First, now);
            if (_elder is not null)
            {
                return _elder == instanceId;
            }

            if (isReturn)
            {
                _alternations.Enqueue(now);
            }

            while (_alternations.TryPeek(out var oldest) && now - oldest > AlternationWithin)
            {
                _alternations.Dequeue();
            }

            _latest = instanceId;
            if (_alternations.Count <= AlternationsMax)
            {
                return true;
            }

            _elder = _seen.MinBy(pair => pair.Value.First).Key;
            return _elder == instanceId;
        }
    }
}
