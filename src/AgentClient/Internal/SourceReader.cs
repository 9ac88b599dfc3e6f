using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Internal;

/// <summary>Reads the application's records into the session when a re-sync asks for them; one reading per collection at a time.</summary>
internal sealed partial class SourceReader(SharedSession session, Func<Collection, IAsyncEnumerable<HostTask>> source, ILogger logger)
{
    // Records handed over in one step: bounds both memory and the time the session is held.
    private const int StepMax = 50;

    private readonly Lock _gate = new();
    private readonly Dictionary<Collection, Task> _readings = [];

    // Asked for once more while a reading was about to end: what that one said came too early for the link that asks.
    private readonly HashSet<Collection> _again = [];

    public void Start(Collection collection, CancellationToken stopping)
    {
        lock (_gate)
        {
            if (_readings.ContainsKey(collection))
            {
                _again.Add(collection);
            }
            else
            {
                _readings[collection] = Task.Run(() => ReadAsWantedAsync(collection, stopping), CancellationToken.None);
            }
        }
    }

    /// <summary>Ends when every reading has ended.</summary>
    public Task EndedAsync()
    {
        lock (_gate)
        {
            return Task.WhenAll(_readings.Values);
        }
    }

    private async Task ReadAsWantedAsync(Collection collection, CancellationToken stopping)
    {
        do
        {
            await ReadAsync(collection, stopping);
        }
        while (!stopping.IsCancellationRequested && IsWantedAgain(collection));
    }

    private bool IsWantedAgain(Collection collection)
    {
        lock (_gate)
        {
            if (_again.Remove(collection))
            {
                return true;
            }

            _readings.Remove(collection);
            return false;
        }
    }

    private async Task ReadAsync(Collection collection, CancellationToken stopping)
    {
        try
        {
            session.Change(target => target.BeginSource(collection));
            var step = new List<HostTask>(StepMax);
            await foreach (var task in source(collection).WithCancellation(stopping))
            {
                step.Add(task);
                if (step.Count == StepMax)
                {
                    session.Change(target => target.AddSourced(collection, step));
                    step.Clear();
                }
            }

            session.Change(target =>
            {
                target.AddSourced(collection, step);
                target.CommitSource(collection);
            });
        }
#pragma warning disable CA1031 // The application's code: a source that fails costs this re-sync, and the next Welcome asks for it again.
        catch (Exception error)
#pragma warning restore CA1031
        {
            LogFailed(error, collection);
            session.Change(target => target.AbortSource(collection));
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, EventName = "SourceFailed", Message = "The snapshot source of {Collection} failed; the next link asks for it again.")]
    private partial void LogFailed(Exception error, Collection collection);
}
