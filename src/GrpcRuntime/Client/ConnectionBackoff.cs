namespace Grpc.Net.Client;

/// <summary>
/// The waits of a channel whose server cannot be reached (connection back-off of the gRPC documents): after a failed attempt to connect no
/// call tries again until the wait is over. Calls that shared an attempt count it once.
/// </summary>
/// <param name="initial">The first wait.</param>
/// <param name="max">The longest wait before jitter; null for no limit.</param>
/// <param name="time">The clock.</param>
/// <param name="random">Spreads the waits, so that clients of one server do not come back together.</param>
internal sealed class ConnectionBackoff(TimeSpan initial, TimeSpan? max, TimeProvider time, Random random)
{
    private const double Factor = 1.6;
    private const double Jitter = 0.2;

    private readonly Lock _gate = new();
    private TimeSpan? _unspread;
    private TimeSpan _wait;
    private long _failedAt;
    private long _attempt;
    private Exception? _cause;
    private volatile bool _isFailing;

    /// <summary>How long no attempt may be made, and why; the attempt's number is to be given back with its outcome.</summary>
    public TimeSpan Left(out long attempt, out Exception? cause)
    {
        lock (_gate)
        {
            attempt = _attempt;
            cause = _cause;
            var left = _isFailing ? _wait - time.GetElapsedTime(_failedAt) : TimeSpan.Zero;
            return left > TimeSpan.Zero ? left : TimeSpan.Zero;
        }
    }

    /// <summary>The attempt of that number found no server.</summary>
    public void Failed(long attempt, Exception cause)
    {
        lock (_gate)
        {
            if (attempt != _attempt)
            {
                return;
            }

            _attempt++;
            _cause = cause;
            _failedAt = time.GetTimestamp();
            var next = _unspread * Factor ?? initial;
            next = next > max ? max.Value : next;
            _unspread = next;
            _wait = next * (1 + (Jitter * ((2 * random.NextDouble()) - 1)));
            _isFailing = true;
        }
    }

    /// <summary>The server answered.</summary>
    public void Succeeded()
    {
        // Nearly every call of a channel's life ends here; the lock is for the one that ends an outage.
        if (!_isFailing)
        {
            return;
        }

        lock (_gate)
        {
            _attempt++;
            _cause = null;
            _unspread = null;
            _isFailing = false;
        }
    }
}
