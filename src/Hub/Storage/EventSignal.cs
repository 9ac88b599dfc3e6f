using System.Runtime.InteropServices;

namespace Hub.Storage;

/// <summary>
/// Wakes those who tail a team's events. Only watched teams have an entry, one for all their watchers, so memory is bounded by the
/// watches and a commit costs one completion per watched team. While commits follow each other fast, all watchers of a team are woken
/// together and not for each commit: they stand at the same number then, and are shown the same page.
/// </summary>
internal sealed class EventSignal(TimeProvider time)
{
    /// <summary>A team's watchers are woken at most this often; the first commit after a pause wakes them at once.</summary>
    public static readonly TimeSpan WakeInterval = TimeSpan.FromMilliseconds(10);

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
            if (!_entries.TryGetValue(teamId, out var entry) || seq <= entry.Seq)
            {
                return;
            }

            entry.Seq = seq;
            var wait = entry.WokenAt is { } at ? WakeInterval - time.GetElapsedTime(at) : TimeSpan.Zero;
            if (wait <= TimeSpan.Zero)
            {
                Wake(entry);
            }
            else if (!entry.IsWakeDue)
            {
                entry.IsWakeDue = true;
                entry.Timer ??= time.CreateTimer(OnDue, entry, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
                entry.Timer.Change(wait, Timeout.InfiniteTimeSpan);
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
                entry.Timer?.Dispose();
            }
        }
    }

    /// <summary>The number up to which watchers are woken, and what completes when that is higher.</summary>
    internal (long Seq, Task Change) Woken(Entry entry)
    {
        lock (_gate)
        {
            return (entry.WokenSeq, entry.Changed.Task);
        }
    }

    private void OnDue(object? state)
    {
        var entry = (Entry)state!;
        lock (_gate)
        {
            if (entry.IsWakeDue)
            {
                Wake(entry);
            }
        }
    }

    private void Wake(Entry entry)
    {
        (entry.WokenSeq, entry.WokenAt, entry.IsWakeDue) = (entry.Seq, time.GetTimestamp(), false);
        var wake = entry.Changed;
        entry.Changed = Entry.NewChanged();
        wake.SetResult(); // Continuations run elsewhere, so this is cheap under the lock.
    }

    /// <summary>A watched team; guarded by the signal's gate.</summary>
    internal sealed class Entry
    {
        public int Watches { get; set; }

        /// <summary>Highest number that is known to be committed.</summary>
        public long Seq { get; set; }

        /// <summary>Number up to which the watchers were woken, and when (a timestamp), if they were.</summary>
        public long WokenSeq { get; set; }

        public long? WokenAt { get; set; }

        /// <summary>The timer will wake them.</summary>
        public bool IsWakeDue { get; set; }

        public ITimer? Timer { get; set; }

        public TaskCompletionSource Changed { get; set; } = NewChanged();

        public static TaskCompletionSource NewChanged() => new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}

/// <summary>One watcher's hold on its team's entry; dispose ends it. For one caller at a time.</summary>
internal sealed class EventWatch(EventSignal signal, string teamId, EventSignal.Entry entry) : IDisposable
{
    private bool _ended;

    /// <summary>Completes once an event after <paramref name="seq"/> is committed.</summary>
    /// <returns>The number that all watchers of the team who wait now are woken for.</returns>
    public async Task<long> WaitAsync(long seq, CancellationToken ct)
    {
        while (true)
        {
            var (woken, change) = signal.Woken(entry);
            if (woken > seq)
            {
                return woken;
            }

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
