using System.Runtime.CompilerServices;

namespace Hub.TestKit;

/// <summary>Bounds an await: a test waits for an event, and the limit only turns one that never comes into a failure with a place.</summary>
public static class WithinExtensions
{
    public static readonly TimeSpan DefaultLimit = TimeSpan.FromSeconds(30);

    public static async Task Within(
        this Task task, TimeSpan? limit = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        try
        {
            await task.WaitAsync(limit ?? DefaultLimit);
        }
        catch (TimeoutException) when (!task.IsCompleted)
        {
            throw NotWithin(limit, file, line);
        }
    }

    public static async Task<T> Within<T>(
        this Task<T> task, TimeSpan? limit = null, [CallerFilePath] string file = "", [CallerLineNumber] int line = 0)
    {
        await Within((Task)task, limit, file, line);
        return await task;
    }

    private static TimeoutException NotWithin(TimeSpan? limit, string file, int line) =>
        new($"{Path.GetFileName(file)}:{line} waited {limit ?? DefaultLimit} in vain.");
}
