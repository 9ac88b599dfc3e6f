namespace Hub.TestKit;

/// <summary>Work of a test that has no end of its own.</summary>
public static class CancellationExtensions
{
    /// <summary>Waits until the token is cancelled, and ends as cancelled work does.</summary>
    public static Task UntilCancelledAsync(this CancellationToken token) => Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, token);
}
