namespace Hub.AgentClient.Internal;

/// <summary>
/// Waits that are uniform in doubling windows. What is left of a window is waited out before the next begins: after an outage the
/// arrivals of a fleet are spread evenly, where plain jitter would bunch them at the start of each window.
/// </summary>
internal sealed class BackOff(TimeSpan first, TimeSpan max, Random random)
{
    private TimeSpan window;
    private TimeSpan leftOver;

    public TimeSpan Next()
    {
        window = window == TimeSpan.Zero ? first : window * 2 < max ? window * 2 : max;
        var draw = window * random.NextDouble();
        var wait = leftOver + draw;
        leftOver = window - draw;
        return wait;
    }

    public void Reset()
    {
        window = TimeSpan.Zero;
        leftOver = TimeSpan.Zero;
    }
}
