using Grpc.AspNetCore.Server;
using Hub.Contracts.V1;

namespace Hub.Watch;

/// <summary>Changes of a team after a number, as watchers are shown them.</summary>
internal sealed class TailPage
{
    /// <summary>Bytes of messages that are written at once; one message may have more.</summary>
    private const int BatchBytesMax = 32 * 1024;

    public TailPage(IReadOnlyList<WatchResponse> events, long lastSeq)
    {
        (Events, LastSeq) = (events, lastSeq);
        var batches = new List<MessageBatch<WatchResponse>>();
        var (batch, bytes) = (new List<WatchResponse>(), 0);
        foreach (var response in events)
        {
            var size = response.CalculateSize();
            if (batch.Count > 0 && bytes + size > BatchBytesMax)
            {
                batches.Add(new(batch));
                (batch, bytes) = ([], 0);
            }

            batch.Add(response);
            bytes += size;
            Bytes += size;
        }

        if (batch.Count > 0)
        {
            batches.Add(new(batch));
        }

        Batches = batches;
    }

    /// <summary>Of the kinds that were asked for, of all hosts.</summary>
    public IReadOnlyList<WatchResponse> Events { get; }

    /// <summary>Number the page ends at; the one it comes after if nothing has changed since.</summary>
    public long LastSeq { get; }

    /// <summary>All events, for those who want them all: each of the watchers' formats is made once.</summary>
    public IReadOnlyList<MessageBatch<WatchResponse>> Batches { get; }

    /// <summary>Size of all messages.</summary>
    public int Bytes { get; }
}

/// <summary>Where watchers stand who are shown the same.</summary>
/// <param name="KindsKey">Of <see cref="WatchFilter.KindsKey"/>.</param>
/// <param name="After">Number of the last change they were shown.</param>
internal readonly record struct TailPosition(string TeamId, string KindsKey, long After);

/// <summary>
/// Pages of tails that are read once for all watchers who stand at the same position: a commit wakes them all, and each alone would read the
/// same rows. A page shows each record as it was when it was read, so it is kept for a moment only.
/// </summary>
internal sealed class TailPages(TimeProvider time)
{
    /// <summary>Pages kept; the oldest go first.</summary>
    public const int PagesMax = 64;

    /// <summary>Largest page that is kept, in bytes of its messages; each of the three formats may take twice as much besides.</summary>
    public const int KeptBytesMax = 512 * 1024;

    public static readonly TimeSpan KeptFor = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private readonly Dictionary<TailPosition, Reading> _readings = [];
    private readonly Queue<Reading> _oldest = new();

    /// <summary>The page after a position. A caller that goes leaves the reading to the others.</summary>
    public async Task<TailPage> ReadAsync(TailPosition position, Func<Task<TailPage>> readAsync, CancellationToken cancellation)
    {
        var (reading, isOwn) = Take(position);
        if (isOwn)
        {
            try
            {
                var page = await readAsync();
                if (page.LastSeq == position.After || page.Bytes > KeptBytesMax)
                {
                    Forget(reading); // First, or who waits for what comes after an empty page would find that page again.
                }

                reading.Page.SetResult(page);
            }
            catch (Exception e)
            {
                Forget(reading);
                reading.Page.SetException(e);
            }
        }

        return await reading.Page.Task.WaitAsync(cancellation);
    }

    private (Reading Reading, bool IsOwn) Take(TailPosition position)
    {
        lock (_gate)
        {
            while (_oldest.TryPeek(out var oldest) && (_oldest.Count >= PagesMax || time.GetElapsedTime(oldest.Began) >= KeptFor))
            {
                Remove(_oldest.Dequeue());
            }

            if (_readings.TryGetValue(position, out var reading))
            {
                return (reading, false);
            }

            var own = new Reading(position, time.GetTimestamp());
            _readings.Add(position, own);
            _oldest.Enqueue(own);
            return (own, true);
        }
    }

    private void Forget(Reading reading)
    {
        lock (_gate)
        {
            Remove(reading);
        }
    }

    // Its place in the queue stays until its time is over; meanwhile another reading may be of its position.
    private void Remove(Reading reading)
    {
        if (_readings.TryGetValue(reading.Position, out var present) && present == reading)
        {
            _readings.Remove(reading.Position);
        }
    }

    private sealed class Reading(TailPosition position, long began)
    {
        public TailPosition Position { get; } = position;

        public long Began { get; } = began;

        public TaskCompletionSource<TailPage> Page { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
