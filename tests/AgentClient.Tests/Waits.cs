namespace Hub.AgentClient.Tests;

/// <summary>Bounds every wait of a test; running out of time is a failure and nothing else.</summary>
internal static class Waits
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static Task<T> Within<T>(this Task<T> task) => task.WaitAsync(Limit);

    public static Task Within(this Task task) => task.WaitAsync(Limit);
}
