using System.Collections.Concurrent;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Links;

/// <summary>
/// Notices two nodes under one identity by their instances taking the host from each other, and keeps the younger one out
/// (stream-protocol.md §1). Which instances said Hello lately is known to this replica alone; that a host is in quarantine stands in its row.
/// </summary>
internal sealed partial class CloneQuarantine(LinkRegistry registry, Store store, TimeProvider time, ILogger<CloneQuarantine> log) : BackgroundService
{
    /// <summary>Changes of instance within <see cref="AlternationWithin"/> that show two nodes under one identity.</summary>
    private const int AlternationsMax = 3;

    /// <summary>Instances remembered per host; a process that starts again and again makes many of them.</summary>
    public const int InstancesMax = 64;

    private static readonly TimeSpan AlternationWithin = TimeSpan.FromSeconds(60);

    /// <summary>A quarantine ends when one of the two was silent for this long.</summary>
    private static readonly TimeSpan Silence = TimeSpan.FromMinutes(5);

    private static readonly TimeSpan RetryAfter = TimeSpan.FromMinutes(15);
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(30);

    private const string EndSql = "update hosts set cloned_since = null where host_id = @hostId and cloned_since is not null";

    private readonly ConcurrentDictionary<string, Instances> _hosts = new(StringComparer.Ordinal);

    /// <summary>Notes an instance that says Hello.</summary>
    /// <exception cref="HubException">CLONED_IDENTITY: two instances alternate under this identity, and this is the younger one.</exception>
    public async Task AdmitAsync(Principal.Node node, string instanceId, CancellationToken cancellation)
    {
        var instances = _hosts.GetOrAdd(node.HostId, _ => new Instances());
        lock (instances)
        {
            if (instances.Admit(instanceId, ConnectedOf(node.HostId), time.GetUtcNow()))
            {
                return;
            }
        }

        await store.WriteAsync(
            node.TeamId,
            tx =>
            {
                if (tx.Execute(
                    "update hosts set cloned_since = @NowMs where host_id = @HostId and cloned_since is null", new { tx.NowMs, node.HostId }) == 1)
                {
                    tx.AppendEvent(node.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), node.HostId, node.HostId, 0);
                }
            },
            cancellation);
        lock (instances)
        {
            instances.FlaggedTeam = node.TeamId;
        }

        throw new HubException(
            ErrorReason.ClonedIdentity,
            "Two nodes use this host's identity. Give one of them a host of its own, then release this one: POST /api/hosts/{id}/release.",
            ("host_id", node.HostId))
        { RetryAfter = RetryAfter };
    }

    /// <summary>A person ended the quarantine.</summary>
    public void Release(string hostId) => _hosts.TryRemove(hostId, out _);

    /// <summary>Takes the mark off a host whose quarantine nobody keeps up, be it that this process has started since and knows of none.</summary>
    /// <returns>False if the quarantine stands.</returns>
    public bool EndIfOver(StoreTransaction tx, string teamId, string hostId)
    {
        if (Stands(hostId))
        {
            return false;
        }

        if (tx.Execute(EndSql, new { hostId }) == 1)
        {
            tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Host), hostId, hostId, 0);
        }

        return true;
    }

    /// <summary>Ends the quarantines in which one of the two has fallen silent, and forgets hosts nobody speaks for.</summary>
    internal async Task SweepAsync(CancellationToken cancellation)
    {
        foreach (var (hostId, instances) in _hosts)
        {
            string? endedTeam = null;
            lock (instances)
            {
                var stands = instances.Stands(ConnectedOf(hostId), time.GetUtcNow());
                if (!stands && instances.FlaggedTeam is { } team)
                {
                    // Taken before the write: a refusal meanwhile marks the host anew, here and there.
                    (endedTeam, instances.FlaggedTeam) = (team, null);
                }
                else if (instances.IsEmpty)
                {
                    // One that just says Hello is not remembered then; to be taken for a clone it has to come back more often than that.
                    _hosts.TryRemove(KeyValuePair.Create(hostId, instances));
                }
            }

            if (endedTeam is not null && !await EndAsync(endedTeam, hostId, cancellation))
            {
                lock (instances)
                {
                    instances.FlaggedTeam = endedTeam;
                }
            }
        }
    }

    /// <summary>Marks that remain when the process ends are taken off by the next Hello.</summary>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => Periodic.RunAsync(Tick, time, SweepAsync, stoppingToken);

    private async Task<bool> EndAsync(string teamId, string hostId, CancellationToken cancellation)
    {
        try
        {
            return await store.WriteAsync(teamId, tx => EndIfOver(tx, teamId, hostId), cancellation);
        }
        catch (StoreUnavailableException e)
        {
            LogNotEnded(hostId, e.Message);
            return false;
        }
    }

    private bool Stands(string hostId)
    {
        if (!_hosts.TryGetValue(hostId, out var instances))
        {
            return false;
        }

        lock (instances)
        {
            return instances.Stands(ConnectedOf(hostId), time.GetUtcNow());
        }
    }

    private string? ConnectedOf(string hostId) => registry.Find(hostId)?.Identity.InstanceId;

    [LoggerMessage(LogLevel.Warning, "The quarantine of {HostId} is over, which was not written: {Cause}", EventName = "QuarantineNotEnded")]
    private partial void LogNotEnded(string hostId, string cause);

    /// <summary>Which instances of a host said Hello lately. Guarded by a lock on itself.</summary>
    private sealed class Instances
    {
        private readonly Queue<DateTimeOffset> _alternations = new();

        /// <summary>When each first said Hello, and since when it is silent: for one that was told to stay away not before it may come back.</summary>
        private readonly Dictionary<string, (DateTimeOffset First, DateTimeOffset SilentSince)> _seen = new(StringComparer.Ordinal);

        private string _latest = "";
        private string? _elder;

        /// <summary>The host's team, if its row was marked.</summary>
        public string? FlaggedTeam { get; set; }

        public bool IsEmpty => _seen.Count == 0;

        /// <summary>Whether the younger of two instances is kept out.</summary>
        public bool Stands(string? connected, DateTimeOffset now)
        {
            if (connected is not null && _seen.TryGetValue(connected, out var alive))
            {
                _seen[connected] = (alive.First, now); // Whoever holds the link is not silent.
            }

            foreach (var (gone, _) in _seen.Where(pair => now - pair.Value.SilentSince > Silence).ToArray())
            {
                _seen.Remove(gone);
            }

            if (_elder is not null && (!_seen.ContainsKey(_elder) || _seen.Count < 2))
            {
                (_elder, _latest) = (null, "");
                _alternations.Clear();
            }

            return _elder is not null;
        }

        public bool Admit(string instanceId, string? connected, DateTimeOffset now)
        {
            var stands = Stands(connected, now);

            // Coming back counts: a process that restarts has a new id each time and never alternates.
            var isReturn = _seen.TryGetValue(instanceId, out var times) && _latest != instanceId;
            var first = times.First == default ? now : times.First;
            _seen[instanceId] = (first, now);
            if (!stands)
            {
                stands = Alternates(instanceId, isReturn, now);
            }

            var refused = stands && _elder != instanceId;
            _seen[instanceId] = (first, refused ? now + RetryAfter : now);
            if (_seen.Count > InstancesMax)
            {
                _seen.Remove(_seen.Where(pair => pair.Key != _elder && pair.Key != instanceId).MinBy(pair => pair.Value.SilentSince).Key);
            }

            return !refused;
        }

        private bool Alternates(string instanceId, bool isReturn, DateTimeOffset now)
        {
            if (isReturn)
            {
                _alternations.Enqueue(now);
            }

            while (_alternations.TryPeek(out var oldest) && now - oldest > AlternationWithin)
            {
                _alternations.Dequeue();
            }

            _latest = instanceId;
            if (_alternations.Count > AlternationsMax)
            {
                _elder = _seen.MinBy(pair => pair.Value.First).Key;
            }

            return _elder is not null;
        }
    }
}
