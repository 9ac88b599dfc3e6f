namespace Hub.AgentClient.Internal;

/// <summary>
/// Waits that are uniform in doubling windows. What is left of a window is waited out before the next begins: after an outage the
/// arrivals of a fleet are spread evenly, where plain jitter would bunch them at the start of each window.
/// </summary>
internal sealed class BackOff(TimeSpan first, TimeSpan max, Random random)
{
    private TimeSpan _window;
    private TimeSpan _leftOver;

    public TimeSpan Next()
    {
        _window = _window == TimeSpan.Zero ? first : _window * 2 < max ? _window * 2 : max;
        var draw = _window * random.NextDouble();
        var wait = _leftOver + draw;
        _leftOver = _window - draw;
        return wait;
    }

    public void Reset()
    {
        _window = TimeSpan.Zero;
        _leftOver = TimeSpan.Zero;
    }
}
