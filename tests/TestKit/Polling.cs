namespace Hub.TestKit;

/// <summary>For what no event tells: asks until it holds, and the limit only turns what never does into a failure that says so.</summary>
public static class Polling
{
    // Between two questions the processor is for those who are waited for.
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);

    /// <param name="complaint">Called when the limit has passed.</param>
    public static async Task UntilAsync(Func<Task<bool>> holds, Func<string> complaint, TimeSpan? limit = null)
    {
        var time = TimeProvider.System;
        var began = time.GetTimestamp();
        while (!await holds())
        {
            if (time.GetElapsedTime(began) > (limit ?? WithinExtensions.DefaultLimit))
            {
                throw new TimeoutException(complaint());
            }

            await Task.Delay(Pace, time);
        }
    }
}
