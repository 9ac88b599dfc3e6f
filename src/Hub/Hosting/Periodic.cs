using Hub.Storage;

namespace Hub.Hosting;

/// <summary>The loop of the services that do the same work again and again.</summary>
internal static class Periodic
{
    /// <summary>
    /// Calls <paramref name="sweep"/> after each interval, one call at a time, until <paramref name="stopping"/> fires; then it returns.
    /// While the store cannot be used the work waits for the next interval.
    /// </summary>
    public static Task RunAsync(
        TimeSpan interval, TimeProvider time, Func<CancellationToken, Task> sweep, Action<string> notSwept, CancellationToken stopping) =>
        RunAsync(
            interval,
            time,
            async cancellation =>
            {
                try
                {
                    await sweep(cancellation);
                }
                catch (StoreUnavailableException e)
                {
                    notSwept(e.Message);
                }
            },
            stopping);

    /// <summary>As the other, for work that itself knows what to do without the store.</summary>
    public static async Task RunAsync(TimeSpan interval, TimeProvider time, Func<CancellationToken, Task> sweep, CancellationToken stopping)
    {
        using var timer = new PeriodicTimer(interval, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stopping))
            {
                await sweep(stopping);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            // The process ends; what is left to do is found at the next start.
        }
    }
}
