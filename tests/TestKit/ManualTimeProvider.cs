namespace Hub.TestKit;

/// <summary>Time that moves only when the test says so; due timers fire on the caller's thread, in the order they are due.</summary>
public sealed class ManualTimeProvider(DateTimeOffset start) : TimeProvider
{
    private readonly Lock _gate = new();

    private readonly List<ManualTimer> _timers = [];

    private DateTimeOffset _now = start;

    private TimeSpan _elapsed;

    private long _created;

    public ManualTimeProvider()
        : this(new DateTimeOffset(2030, 1, 1, 0, 0, 0, TimeSpan.Zero))
    {
    }

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override DateTimeOffset GetUtcNow()
    {
        lock (_gate)
        {
            return _now;
        }
    }

    public override long GetTimestamp()
    {
        lock (_gate)
        {
            return _elapsed.Ticks;
        }
    }

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new ManualTimer(this, callback, state);
        timer.Change(dueTime, period);
        return timer;
    }

    /// <summary>Lets time pass, firing each timer at its own moment.</summary>
    public void Advance(TimeSpan span)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(span.Ticks);
        TimeSpan end;
        lock (_gate)
        {
            end = _elapsed + span;
        }
        while (TakeDue(end) is { } due)
        {
            due.Fire();
        }
    }

    /// <summary>Sets the machine's clock, as an operator or NTP does; no time passes and no timer fires.</summary>
    public void SetClock(DateTimeOffset value)
    {
        lock (_gate)
        {
            _now = value;
        }
    }

    private ManualTimer? TakeDue(TimeSpan end)
    {
        lock (_gate)
        {
            var due = _timers.Where(t => t.Due <= end).OrderBy(t => t.Due).ThenBy(t => t.Order).FirstOrDefault();
            var until = due?.Due ?? end;
            if (until > _elapsed)
            {
                _now += until - _elapsed;
                _elapsed = until;
            }
            due?.Rearm();
            return due;
        }
    }

    private sealed class ManualTimer(ManualTimeProvider owner, TimerCallback callback, object? state) : ITimer
    {
        private TimeSpan _period;

        public TimeSpan Due { get; private set; }

        public long Order { get; private set; }

        public void Fire() => callback(state);

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            lock (owner._gate)
            {
                _period = period;
                owner._timers.Remove(this);
                if (dueTime != Timeout.InfiniteTimeSpan)
                {
                    Due = owner._elapsed + dueTime;
                    Order = owner._created++;
                    owner._timers.Add(this);
                }
            }
            return true;
        }

        /// <summary>Runs under the owner's lock.</summary>
        public void Rearm()
        {
            if (_period > TimeSpan.Zero)
            {
                Due += _period;
            }
            else
            {
                owner._timers.Remove(this);
            }
        }

        public void Dispose()
        {
            lock (owner._gate)
            {
                owner._timers.Remove(this);
            }
        }

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
