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
    private const int KeysMax = 10_000;

    private const int KindLengthMax = 64;
    private const int KeyLengthMax = 200;

    private static readonly TimeSpan LifetimeDefault = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan LifetimeMin = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LifetimeMax = TimeSpan.FromMinutes(10);

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

    /// <summary>Starts to collect a team's changes; what is known now is the first of them. Dispose ends it.</summary>
    public EphemeralWatch Watch(string teamId)
    {
        var team = _teams.GetOrAdd(teamId, _ => new Team());
        var watch = new EphemeralWatch(team.Leave);
        team.Join(watch, time.GetUtcNow());
        return watch;
    }

    internal readonly record struct EphemeralKey(string HostId, string Kind, string Key);

    /// <summary>One watcher's changes, the latest per key.</summary>
    internal sealed class EphemeralWatch(Action<EphemeralWatch> leave) : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly Dictionary<EphemeralKey, EphemeralValue> _changes = [];
        private readonly WakeSignal _ready = new();

        public Task WaitAsync(CancellationToken cancellation) => _ready.WaitAsync(cancellation);

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
        private readonly Dictionary<EphemeralKey, (EphemeralValue Value, DateTimeOffset Until)> _latest = [];
        private readonly HashSet<EphemeralWatch> _watches = [];

        public void Set(EphemeralKey key, EphemeralValue value, DateTimeOffset until, DateTimeOffset now)
        {
            lock (_gate)
            {
                if (value.Value is null)
                {
                    _latest.Remove(key);
                }
                else
                {
                    if (_latest.Count >= KeysMax)
                    {
                        Expire(now);
                    }

                    if (_latest.Count < KeysMax || _latest.ContainsKey(key))
                    {
                        _latest[key] = (value, until);
                    }
                }

                foreach (var watch in _watches)
                {
                    watch.Put(key, value);
                }
            }
        }

        public void Join(EphemeralWatch watch, DateTimeOffset now)
        {
            lock (_gate)
            {
                Expire(now);
                _watches.Add(watch);
                foreach (var (key, (value, _)) in _latest)
                {
                    watch.Put(key, value);
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

        private void Expire(DateTimeOffset now)
        {
            foreach (var (key, (_, until)) in _latest.ToArray())
            {
                if (until <= now)
                {
                    _latest.Remove(key);
                }
            }
        }
    }
}
