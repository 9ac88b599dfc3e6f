using System.Runtime.InteropServices;

namespace Hub.Storage;

/// <summary>
/// Wakes those who tail a team's events. Only watched teams have an entry, one for all their watchers, so memory is bounded by the
/// watches and a commit costs one completion per watched team.
/// </summary>
internal sealed class EventSignal
{
    private readonly Lock _gate = new();

    private readonly Dictionary<string, Entry> _entries = new(StringComparer.Ordinal);

    /// <summary>
    /// Starts to listen. Open the watch first, then read, then wait for more than what was read: what commits before the read is in it,
    /// what commits after it ends the wait.
    /// </summary>
    public EventWatch Watch(string teamId)
    {
        lock (_gate)
        {
            ref var entry = ref CollectionsMarshal.GetValueRefOrAddDefault(_entries, teamId, out _);
            entry ??= new Entry();
            entry.Watches++;
            return new EventWatch(this, teamId, entry);
        }
    }

    /// <summary>The events of the team up to <paramref name="seq"/> are committed. A repeat, or an older number, has no effect.</summary>
    public void Publish(string teamId, long seq)
    {
        lock (_gate)
        {
            if (_entries.TryGetValue(teamId, out var entry) && seq > entry.Seq)
            {
                entry.Seq = seq;
                var wake = entry.Changed;
                entry.Changed = Entry.NewChanged();
                wake.SetResult(); // Continuations run elsewhere, so this is cheap under the lock.
            }
        }
    }

    public IReadOnlyList<string> WatchedTeams()
    {
        lock (_gate)
        {
            return [.. _entries.Keys];
        }
    }

    internal void End(string teamId, Entry entry)
    {
        lock (_gate)
        {
            if (--entry.Watches == 0)
            {
                _entries.Remove(teamId);
            }
        }
    }

    /// <summary>Null if an event after <paramref name="seq"/> is known, else what completes with the next one.</summary>
    internal Task? ChangeAfter(Entry entry, long seq)
    {
        lock (_gate)
        {
            return entry.Seq > seq ? null : entry.Changed.Task;
        }
    }

    /// <summary>A watched team; guarded by the signal's gate.</summary>
    internal sealed class Entry
    {
        public int Watches { get; set; }

        public long Seq { get; set; }

        public TaskCompletionSource Changed { get; set; } = NewChanged();

        public static TaskCompletionSource NewChanged() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>One watcher's hold on its team's entry; dispose ends it. For one caller at a time.</summary>
internal sealed class EventWatch(EventSignal signal, string teamId, EventSignal.Entry entry) : IDisposable
{
    private bool _ended;

    /// <summary>Completes once an event after <paramref name="seq"/> is committed.</summary>
    public async Task WaitAsync(long seq, CancellationToken ct)
    {
        while (signal.ChangeAfter(entry, seq) is { } change)
        {
            await change.WaitAsync(ct);
        }
    }

    public void Dispose()
    {
        if (!_ended)
        {
            _ended = true;
            signal.End(teamId, entry);
        }
    }
}
