using Grpc.AspNetCore.Server;
using Hub.Contracts.V1;
using Hub.Hosting;

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
internal sealed class TailPages(TimeProvider time) : SharedAnswers<TailPosition, TailPage>(time, KeptFor, PagesMax, IsKept)
{
    /// <summary>Pages kept; the oldest go first.</summary>
    public const int PagesMax = 64;

    /// <summary>Largest page that is kept, in bytes of its messages; each of the three formats may take twice as much besides.</summary>
    public const int KeptBytesMax = 512 * 1024;

    public static readonly TimeSpan KeptFor = TimeSpan.FromSeconds(1);

    // After an empty page there may be more at any moment.
    private static bool IsKept(TailPosition position, TailPage page) => page.LastSeq != position.After && page.Bytes <= KeptBytesMax;
}
