using System.Collections.Concurrent;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Hosting;

namespace Hub.Watch;

/// <summary>
/// Latest-per-key state of hosts: canvas, presence, progress. It never enters the database; watchers get the latest value of each key, and may
/// miss older ones.
/// </summary>
internal sealed class EphemeralBoard(TimeProvider time)
{
    public const string ProgressKind = "progress";

    /// <summary>Keys remembered per team; beyond it new keys only reach those who watch now.</summary>
    public const int KeysMax = 10_000;

    /// <summary>Bytes of values remembered per team, as messages; beyond it likewise.</summary>
    public const int BytesMax = 32 * 1024 * 1024;

    public const int KindLengthMax = 64;
    public const int KeyLengthMax = 200;

    private static readonly TimeSpan LifetimeDefault = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan LifetimeMin = TimeSpan.FromSeconds(1);
    public static readonly TimeSpan LifetimeMax = TimeSpan.FromMinutes(10);

    private readonly ConcurrentDictionary<string, Team> _teams = new(StringComparer.Ordinal);

    public void Set(string teamId, string hostId, Ephemeral update)
    {
        if (update.Kind.Length is 0 or > KindLengthMax || update.Key.Length > KeyLengthMax)
        {
            return; // Nothing durable is lost, and a node that sends such keys would send them again.
        }

        // Whole seconds: a duration that is malformed as such still has some.
        var lifetime = update.Ttl is { } asked
            ? TimeSpan.FromSeconds(Math.Clamp(asked.Seconds, (long)LifetimeMin.TotalSeconds, (long)LifetimeMax.TotalSeconds))
            : LifetimeDefault;
        var value = new EphemeralValue { Kind = update.Kind, Key = update.Key, Value = update.Value };
        _teams.GetOrAdd(teamId, _ => new Team()).Set(new EphemeralKey(hostId, update.Kind, update.Key), value, time.GetUtcNow() + lifetime, time.GetUtcNow());
    }

    /// <summary>A host's latest values of a kind, the one set last at the end.</summary>
    public IReadOnlyList<EphemeralEntry> Read(string teamId, string hostId, string kind) =>
        _teams.TryGetValue(teamId, out var team) ? team.Read(hostId, kind, time.GetUtcNow()) : [];

    /// <summary>Removes a host's values of a kind that were set before a moment.</summary>
    public void Remove(string teamId, string hostId, string kind, DateTimeOffset before)
    {
        if (_teams.TryGetValue(teamId, out var team))
        {
            team.Remove(hostId, kind, before);
        }
    }

    /// <summary>Starts to collect a team's changes; what is known now is the first of them. Dispose ends it.</summary>
    public EphemeralWatch Watch(string teamId)
    {
        var team = _teams.GetOrAdd(teamId, _ => new Team());
        var watch = new EphemeralWatch(team.Leave);
        team.Join(watch, time.GetUtcNow());
        return watch;
    }

    internal readonly record struct EphemeralKey(string HostId, string Kind, string Key);

    /// <summary>A value that is known now.</summary>
    internal readonly record struct EphemeralEntry(string Key, Value Value, DateTimeOffset SetAt);

    /// <summary>One watcher's changes, the latest per key.</summary>
    internal sealed class EphemeralWatch(Action<EphemeralWatch> leave) : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<EphemeralKey, EphemeralValue> _changes = [];
        private readonly WakeSignal _ready = new();

        public Task WaitAsync(CancellationToken cancellation) => _ready.WaitAsync(cancellation).AsTask();

        public IReadOnlyList<WatchResponse> Take(DateTimeOffset now)
        {
            lock (_gate)
            {
                List<WatchResponse> taken =
                [
                    .. _changes.Select(change => new WatchResponse
                    {
                        Kind = WatchKind.Ephemeral,
                        HostId = change.Key.HostId,
                        EntityId = change.Key.Key,
                        At = now.ToTimestamp(),
                        Ephemeral = change.Value,
                    }),
                ];
                _changes.Clear();
                return taken;
            }
        }

        public void Dispose() => leave(this);

        internal void Put(EphemeralKey key, EphemeralValue value)
        {
            lock (_gate)
            {
                if (_changes.Count >= KeysMax && !_changes.ContainsKey(key))
                {
                    return;
                }

                _changes[key] = value;
            }

            _ready.Set();
        }
    }

    private sealed class Team
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<EphemeralKey, Latest> _latest = [];
        private readonly HashSet<EphemeralWatch> _watches = [];
        private long _bytes;

        public void Set(EphemeralKey key, EphemeralValue value, DateTimeOffset until, DateTimeOffset now)
        {
            lock (_gate)
            {
                var unchanged = _latest.TryGetValue(key, out var before) && before.Value.Equals(value);
                Forget(key);
                if (value.Value is not null)
                {
                    var latest = new Latest(value, now, until, value.CalculateSize());
                    if (HasNoRoom(latest))
                    {
                        Expire(now);
                    }

                    if (!HasNoRoom(latest))
                    {
                        _latest[key] = latest;
                        _bytes += latest.Bytes;
                    }
                }

                if (!unchanged)
                {
                    Tell(key, value);
                }
            }
        }

        public IReadOnlyList<EphemeralEntry> Read(string hostId, string kind, DateTimeOffset now)
        {
            lock (_gate)
            {
                return
                [
                    .. _latest.Where(pair => pair.Key.HostId == hostId && pair.Key.Kind == kind && pair.Value.Until > now)
                        .OrderBy(pair => pair.Value.SetAt).ThenBy(pair => pair.Key.Key, StringComparer.Ordinal)
                        .Select(pair => new EphemeralEntry(pair.Key.Key, pair.Value.Value.Value, pair.Value.SetAt)),
                ];
            }
        }

        public void Remove(string hostId, string kind, DateTimeOffset before)
        {
            lock (_gate)
            {
                foreach (var (key, _) in _latest.Where(pair => pair.Key.HostId == hostId && pair.Key.Kind == kind && pair.Value.SetAt < before).ToArray())
                {
                    Forget(key);
                    Tell(key, new EphemeralValue { Kind = key.Kind, Key = key.Key });
                }
            }
        }

        public void Join(EphemeralWatch watch, DateTimeOffset now)
        {
            lock (_gate)
            {
                Expire(now);
                _watches.Add(watch);
                foreach (var (key, latest) in _latest)
                {
                    watch.Put(key, latest.Value);
                }
            }
        }

        public void Leave(EphemeralWatch watch)
        {
            lock (_gate)
            {
                _watches.Remove(watch);
            }
        }

        private bool HasNoRoom(Latest latest) => _latest.Count >= KeysMax || _bytes + latest.Bytes > BytesMax;

        private void Tell(EphemeralKey key, EphemeralValue value)
        {
            foreach (var watch in _watches)
            {
                watch.Put(key, value);
            }
        }

        private void Forget(EphemeralKey key)
        {
            if (_latest.Remove(key, out var latest))
            {
                _bytes -= latest.Bytes;
            }
        }

        private void Expire(DateTimeOffset now)
        {
            foreach (var (key, _) in _latest.Where(pair => pair.Value.Until <= now).ToArray())
            {
                Forget(key);
            }
        }

        private readonly record struct Latest(EphemeralValue Value, DateTimeOffset SetAt, DateTimeOffset Until, int Bytes);
    }
}
