namespace Hub.Storage;

/// <summary>The time of groups: epoch milliseconds that never go backwards within the process, whatever the machine's clock does.</summary>
internal sealed class StoreClock(TimeProvider time)
{
    private long _last;

    public long ReadMs()
    {
        var now = time.GetUtcNow().ToUnixTimeMilliseconds();
        var seen = Volatile.Read(ref _last);
        while (now > seen)
        {
            var before = Interlocked.CompareExchange(ref _last, now, seen);
            if (before == seen)
            {
                return now;
            }
            seen = before;
        }
        return seen;
    }
}
