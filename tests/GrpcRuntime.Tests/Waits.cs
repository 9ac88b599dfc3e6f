namespace Hub.GrpcRuntime.Tests;

/// <summary>Bounds waits; running out of time is always a failure, never a way to go on.</summary>
internal static class Waits
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static Task Within(this Task task) => task.WaitAsync(Limit);

    public static Task<T> Within<T>(this Task<T> task) => task.WaitAsync(Limit);
}
