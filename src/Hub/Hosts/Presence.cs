using System.Collections.Concurrent;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>
/// Liveness of the hosts this replica speaks for (stream-protocol.md §5). It lives in memory: a contact costs no write, a change of state is
/// written at once, and what else changed goes to the database at most once per host and minute, in batches.
/// </summary>
internal sealed partial class Presence(Store store, TimeProvider time, ILogger<Presence> log) : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromSeconds(1);

    /// <summary>A host's unwritten contact is written at most this often.</summary>
    private static readonly TimeSpan FlushInterval = TimeSpan.FromSeconds(60);

    private static readonly TimeSpan RestSuspectAfter = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan RestOfflineAfter = TimeSpan.FromSeconds(90);

    /// <summary>Rows written in one job; keeps the Writer free for others between jobs.</summary>
    private const int FlushRowsMax = 200;

    private const string StateSql = """
        update hosts set state = @State, state_reason = @Reason, state_since = @Since, last_seen_at = @Seen, last_heartbeat_at = @HeartbeatAt
        where host_id = @HostId and deleted_at is null and revoked_at is null and (last_seen_at is null or last_seen_at <= @Seen)
        """;

    private const string SeenSql = """
        update hosts set last_seen_at = @seen, last_heartbeat_at = @heartbeatAt, heartbeat = coalesce(@heartbeat, heartbeat),
            node_status = coalesce(@nodeStatus, node_status)
        where host_id = @hostId and (last_seen_at is null or last_seen_at <= @seen)
        """;

    private readonly ConcurrentDictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>No copy: the sweep goes through them every second.</summary>
    private IEnumerable<Entry> Entries => _entries.Select(pair => pair.Value);

    /// <summary>A link was opened: the host is ONLINE with the same commit.</summary>
    public void LinkOpened(StoreTransaction tx, string teamId, string hostId, TimeSpan interval)
    {
        var since = tx.QuerySingle<long>(
            """
            update hosts set state = 'ONLINE', state_reason = 'LINK', last_seen_at = @NowMs,
                state_since = case when state = 'ONLINE' then state_since else @NowMs end
            where host_id = @hostId returning state_since
            """,
            new { hostId, tx.NowMs });
        tx.OnCommitted(() => Hear(teamId, hostId, interval, nodeStatus: null, since));
    }

    /// <summary>A heartbeat on a link.</summary>
    public ValueTask HeardOnLinkAsync(string teamId, string hostId, TimeSpan interval, string? nodeStatus) =>
        Hear(teamId, hostId, interval, nodeStatus) is { } changed ? new ValueTask(TryWriteStatesAsync([changed])) : ValueTask.CompletedTask;

    /// <summary>A call from a node without a link; <paramref name="heartbeat"/> is what it said of itself, if it said anything.</summary>
    public ValueTask HeardByRestAsync(string teamId, string hostId, bool isHeartbeat, string? heartbeat)
    {
        var now = time.NowMs();
        var entry = _entries.GetOrAdd(hostId, id => new Entry(teamId, id));
        lock (entry.Gate)
        {
            var before = (entry.State, entry.Reason);
            if (!entry.OnLink)
            {
                // The first contact has no period yet.
                entry.ObservedPeriod = entry.LastSeenAt == 0
                    ? TimeSpan.Zero
                    : TimeSpan.FromMilliseconds(Math.Min(now - entry.LastSeenAt, RestOfflineAfter.TotalMilliseconds));
                entry.SuspectAfter = RestSuspectAfter;
                entry.OfflineAfter = entry.ObservedPeriod * 3 > RestOfflineAfter ? entry.ObservedPeriod * 3 : RestOfflineAfter;
                entry.Become(HostState.Online, HostStateReason.Rest, now);
            }

            entry.LastSeenAt = now;
            entry.LastHeartbeatAt = isHeartbeat ? now : entry.LastHeartbeatAt;
            entry.Say(heartbeat, null);
            entry.Dirty = true;
            if (before == (entry.State, entry.Reason))
            {
                return ValueTask.CompletedTask;
            }
        }

        return new ValueTask(TryWriteStatesAsync([entry]));
    }

    /// <summary>
    /// A link ended; whoever dials next makes the host ONLINE again. Takes effect in the order of the commits: the next link may be open by
    /// the time the end of this one is known to its caller. <see cref="WriteStateAsync(string)"/> writes it.
    /// </summary>
    public void LinkEnded(StoreTransaction tx, string hostId, bool draining) => tx.OnCommitted(() => End(hostId, draining));

    /// <summary>Writes what this replica knows of the host's state.</summary>
    public Task WriteStateAsync(string hostId) => _entries.TryGetValue(hostId, out var entry) ? TryWriteStatesAsync([entry]) : Task.CompletedTask;

    private void End(string hostId, bool draining)
    {
        if (!_entries.TryGetValue(hostId, out var entry))
        {
            return;
        }

        lock (entry.Gate)
        {
            entry.OnLink = false;
            if (entry.State == HostState.Online || (draining && entry.State == HostState.Suspect))
            {
                // A host that is missed already does not come nearer because its link is given up too.
                entry.Become(
                    draining ? HostState.Draining : HostState.Suspect, draining ? HostStateReason.Drain : HostStateReason.LinkEnded, time.NowMs());
            }
        }
    }

    /// <summary>The host was revoked or deleted: this replica no longer speaks for it.</summary>
    public void Forget(string hostId) => _entries.TryRemove(hostId, out _);

    /// <summary>Since when a host is out of contact (epoch milliseconds), or null while it is in contact or not known here.</summary>
    public long? LostSince(string hostId) => Known(hostId) is { State: not HostState.Online } known ? known.Since : null;

    /// <summary>
    /// A host's state, since when, and its last heartbeat (both epoch milliseconds; 0 for no heartbeat), or null if this replica does not know.
    /// </summary>
    public (HostState State, long Since, long HeartbeatAt)? Known(string hostId)
    {
        if (!_entries.TryGetValue(hostId, out var entry))
        {
            return null;
        }

        lock (entry.Gate)
        {
            return (entry.State, entry.Since, entry.LastHeartbeatAt);
        }
    }

    /// <summary>Shows what this replica knows and the database does not yet.</summary>
    public HostRow Overlay(HostRow row)
    {
        if (!_entries.TryGetValue(row.HostId, out var entry) || row.State == EnumText<HostState>.Of(HostState.Revoked))
        {
            return row;
        }

        lock (entry.Gate)
        {
            return row.LastSeenAt > entry.LastSeenAt
                ? row
                : row with
                {
                    State = EnumText<HostState>.Of(entry.State),
                    StateReason = EnumText<HostStateReason>.Of(entry.Reason),
                    StateSince = entry.Since,
                    LastSeenAt = entry.LastSeenAt,
                    LastHeartbeatAt = entry.LastHeartbeatAt == 0 ? row.LastHeartbeatAt : entry.LastHeartbeatAt,
                    Heartbeat = entry.Heartbeat ?? row.Heartbeat,
                    NodeStatus = entry.NodeStatus ?? row.NodeStatus,
                };
        }
    }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await AdoptAsync(cancellationToken);
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await Periodic.RunAsync(Tick, time, SweepAsync, stoppingToken);
        await FlushAsync(everything: true, CancellationToken.None); // What was heard last is worth one more batch.
    }

    /// <summary>Moves silent hosts to SUSPECT and OFFLINE and writes what is due.</summary>
    internal async Task SweepAsync(CancellationToken cancellation)
    {
        // Judged first and written then: an outage of the store must not keep a silent host ONLINE.
        var now = time.NowMs();
        var unwritten = new List<Entry>();
        foreach (var entry in Entries)
        {
            lock (entry.Gate)
            {
                var silent = TimeSpan.FromMilliseconds(now - entry.LastSeenAt);
                if (silent >= entry.OfflineAfter)
                {
                    entry.Become(HostState.Offline, entry.State == HostState.Suspect ? entry.Reason : HostStateReason.Silent, now);
                }
                else if (silent >= entry.SuspectAfter && entry.State == HostState.Online)
                {
                    entry.Become(HostState.Suspect, HostStateReason.Silent, now);
                }

                if (entry.StateUnwritten)
                {
                    unwritten.Add(entry); // Also what could not be written when it changed.
                }
            }

            if (entry is { State: HostState.Offline, Dirty: false, StateUnwritten: false })
            {
                _entries.TryRemove(entry.HostId, out _); // The database knows all of it; memory is for hosts in contact.
            }
        }

        foreach (var chunk in ByTeam(unwritten).SelectMany(team => team.Chunk(FlushRowsMax)))
        {
            if (!await TryWriteStatesAsync(chunk))
            {
                return; // The store is out: the next sweep goes on, and memory stays right meanwhile.
            }
        }

        await FlushAsync(everything: false, cancellation);
    }

    /// <summary>
    /// Hosts the database still believes in contact, from before this process started, get their full bound to come back before they are
    /// called silent.
    /// </summary>
    private async Task AdoptAsync(CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<AdoptedRow>(
            TeamScope.System,
            """
            select host_id, team_id, state, state_reason, state_since from hosts
            where state in ('ONLINE', 'SUSPECT', 'DRAINING') and deleted_at is null
            """,
            ct: cancellation);
        var now = time.NowMs();
        foreach (var row in rows)
        {
            var entry = new Entry(row.TeamId, row.HostId)
            {
                LastSeenAt = now,
                SuspectAfter = RestSuspectAfter,
                OfflineAfter = RestOfflineAfter,
            };
            entry.Stored(EnumText<HostState>.Parse(row.State), EnumText<HostStateReason>.Parse(row.StateReason), row.StateSince);
            _entries.TryAdd(row.HostId, entry);
        }
    }

    /// <param name="storedSince">Since when the database says that the host is ONLINE by its link; null if it need not.</param>
    /// <returns>The entry if its state or reason is another now.</returns>
    private Entry? Hear(string teamId, string hostId, TimeSpan interval, string? nodeStatus, long? storedSince = null)
    {
        var now = time.NowMs();
        var entry = _entries.GetOrAdd(hostId, id => new Entry(teamId, id));
        lock (entry.Gate)
        {
            var before = (entry.State, entry.Reason);
            entry.OnLink = true;
            entry.SuspectAfter = 1.5 * interval;
            entry.OfflineAfter = 2.5 * interval;
            entry.LastSeenAt = entry.LastHeartbeatAt = now;
            entry.Say(null, nodeStatus);
            entry.Dirty = true;
            if (storedSince is { } since)
            {
                entry.Stored(HostState.Online, HostStateReason.Link, since);
            }
            else
            {
                entry.Become(HostState.Online, HostStateReason.Link, now);
            }

            return before == (entry.State, entry.Reason) ? null : entry;
        }
    }

    /// <param name="entries">Of one team.</param>
    /// <returns>False if the store is out.</returns>
    private async Task<bool> TryWriteStatesAsync(IReadOnlyList<Entry> entries)
    {
        var rows = entries.Select(entry => entry.ShowState()).ToArray();
        try
        {
            await store.WriteAsync(entries[0].TeamId, tx =>
            {
                for (var i = 0; i < rows.Length; i++)
                {
                    if (tx.Execute(StateSql, rows[i]) == 1)
                    {
                        tx.AppendEvent(entries[i].TeamId, EnumText<WatchKind>.Of(WatchKind.Host), entries[i].HostId, entries[i].HostId, 0);
                    }
                }
            });
            for (var i = 0; i < rows.Length; i++)
            {
                entries[i].StateWritten(rows[i]);
            }

            return true;
        }
        catch (StoreUnavailableException e)
        {
            LogNotWritten(entries[0].HostId, e.Message); // Memory stays right; the next sweep writes it.
            return false;
        }
    }

    /// <summary>In one order on all replicas, which then never wait for each other's rows.</summary>
    private static IEnumerable<IGrouping<string, Entry>> ByTeam(IEnumerable<Entry> entries) =>
        entries.OrderBy(entry => entry.HostId, StringComparer.Ordinal).GroupBy(entry => entry.TeamId);

    private async Task FlushAsync(bool everything, CancellationToken cancellation)
    {
        var now = time.NowMs();
        var due = Entries.Where(entry =>
            entry.Dirty && (everything || now - entry.FlushedAt >= FlushInterval.TotalMilliseconds));
        foreach (var team in ByTeam(due))
        {
            foreach (var chunk in team.Chunk(FlushRowsMax))
            {
                var rows = chunk.Select(entry => entry.TakeUnwritten(now)).ToArray();
                try
                {
                    await store.WriteAsync(
                        team.Key,
                        tx =>
                        {
                            foreach (var row in rows)
                            {
                                tx.Execute(SeenSql, row);
                            }
                        },
                        cancellation);
                }
                catch (StoreUnavailableException e)
                {
                    LogNotWritten(chunk[0].HostId, e.Message);
                    foreach (var entry in chunk)
                    {
                        entry.Dirty = true;
                    }

                    return; // The others stay due.
                }
            }
        }
    }

    [LoggerMessage(LogLevel.Debug, "Presence of {HostId} not written yet: {Cause}", EventName = "PresenceNotWritten")]
    private partial void LogNotWritten(string hostId, string cause);

    private sealed record StateRow(string HostId, string State, string Reason, long Since, long Seen, long? HeartbeatAt);

    private sealed record AdoptedRow(string HostId, string TeamId, string State, string StateReason, long StateSince);

    /// <summary>What is known of one host. All but <see cref="Dirty"/> is guarded by <see cref="Gate"/>.</summary>
    private sealed class Entry(string teamId, string hostId)
    {
        private volatile bool _dirty;

        public Lock Gate { get; } = new();
        public string TeamId { get; } = teamId;
        public string HostId { get; } = hostId;
        public HostState State { get; private set; } = HostState.Unspecified;
        public HostStateReason Reason { get; private set; }
        public long Since { get; private set; }
        public bool OnLink { get; set; }
        public long LastSeenAt { get; set; }
        public long LastHeartbeatAt { get; set; }
        public long FlushedAt { get; private set; }
        public TimeSpan ObservedPeriod { get; set; }
        public TimeSpan SuspectAfter { get; set; }
        public TimeSpan OfflineAfter { get; set; }

        /// <summary>What the node last said of itself; kept for readers after it was written.</summary>
        public string? Heartbeat { get; private set; }
        public string? NodeStatus { get; private set; }

        public bool Dirty
        {
            get => _dirty;
            set => _dirty = value;
        }

        /// <summary>State or reason changed and the database does not say so yet.</summary>
        public bool StateUnwritten { get; private set; }

        public void Become(HostState state, HostStateReason reason, long now)
        {
            StateUnwritten |= (State, Reason) != (state, reason);
            if (State != state)
            {
                (State, Since) = (state, now);
            }

            Reason = reason;
        }

        /// <summary>The database says so.</summary>
        public void Stored(HostState state, HostStateReason reason, long since) =>
            (State, Reason, Since, StateUnwritten) = (state, reason, since, false);

        public void Say(string? heartbeat, string? nodeStatus)
        {
            Heartbeat = heartbeat ?? Heartbeat;
            NodeStatus = nodeStatus ?? NodeStatus;
        }

        public StateRow ShowState()
        {
            lock (Gate)
            {
                return new StateRow(
                    HostId, EnumText<HostState>.Of(State), EnumText<HostStateReason>.Of(Reason), Since, LastSeenAt, LastHeartbeatAt == 0 ? null : LastHeartbeatAt);
            }
        }

        public void StateWritten(StateRow row)
        {
            lock (Gate)
            {
                StateUnwritten = (row.State, row.Reason) != (EnumText<HostState>.Of(State), EnumText<HostStateReason>.Of(Reason))
                    || row.Since != Since;
            }
        }

        public object TakeUnwritten(long now)
        {
            lock (Gate)
            {
                Dirty = false;
                FlushedAt = now;
                return new
                {
                    hostId = HostId,
                    seen = LastSeenAt,
                    heartbeatAt = LastHeartbeatAt == 0 ? (long?)null : LastHeartbeatAt,
                    heartbeat = Heartbeat,
                    nodeStatus = NodeStatus,
                };
            }
        }
    }
}
