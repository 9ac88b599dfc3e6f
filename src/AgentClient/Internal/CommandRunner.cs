using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Internal;

/// <summary>Runs the handlers of commands that may start, so many at once, and completes each attempt as its handler ends.</summary>
internal sealed partial class CommandRunner(
    SharedSession session, IReadOnlyDictionary<string, Func<CommandContext, Task<JsonNode?>>> handlers, int concurrentMax, ILogger logger)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<CommandKey, RunningAttempt> _running = [];

    /// <summary>Starts what may start until <paramref name="stopping"/>; then cancels what runs and waits for it to end.</summary>
    public async Task RunAsync(CancellationToken stopping)
    {
        try
        {
            while (true)
            {
                while (TryStart(stopping))
                {
                    // CommandStarted waits to be sent.
                    session.Outgoing.Set();
                }

                await session.Startable.WaitAsync(stopping);
            }
        }
        catch (OperationCanceledException) when (stopping.IsCancellationRequested)
        {
            await Task.WhenAll(Tasks());
        }
    }

    /// <summary>Asks a running attempt to stop; harmless when it has ended.</summary>
    public void Cancel(CommandKey key)
    {
        RunningAttempt? attempt;
        lock (_gate)
        {
            _running.TryGetValue(key, out attempt);
        }

        attempt?.Cancel();
    }

    private bool TryStart(CancellationToken stopping)
    {
        // One step for Cancel: an attempt the session calls running is found here. The session's lock never takes this one.
        lock (_gate)
        {
            if (_running.Count >= concurrentMax || session.Read(target => target.TryTakeStart(out var next) ? next : null) is not { } started)
            {
                return false;
            }

            var attempt = new RunningAttempt(stopping);
            _running.Add(started.Key, attempt);
            attempt.Ending = Task.Run(() => RunAsync(started, attempt), CancellationToken.None);
            return true;
        }
    }

    private async Task RunAsync(StartedCommand started, RunningAttempt attempt)
    {
        var (state, result, error) = await HandleAsync(started, attempt);
        try
        {
            session.Change(target => target.Complete(started.Key, state, result, error));
        }
#pragma warning disable CA1031 // The journal could not be written: the attempt stays RUNNING there and is reported INTERRUPTED by the next process.
        catch (Exception failure)
#pragma warning restore CA1031
        {
            LogNotJournaled(failure, started.Key);
        }

        lock (_gate)
        {
            _running.Remove(started.Key);
        }

        attempt.Dispose();
        session.Startable.Set();
    }

    private async Task<(CommandState State, Value? Result, string? Error)> HandleAsync(StartedCommand started, RunningAttempt attempt)
    {
        try
        {
            var context = new CommandContext(
                started.Key,
                started.Type,
                Json.ToJson(started.Payload),
                started.TraceParent,
                (percent, message) => session.Change(target => target.ReportProgress(started.Key, percent, message)),
                attempt.Token);
            var result = await handlers[started.Type](context);
            return (CommandState.Succeeded, result is null ? null : Json.ToValue(result), null);
        }
        catch (OperationCanceledException) when (attempt.IsCancelAsked)
        {
            return (CommandState.Cancelled, null, null);
        }
        catch (OperationCanceledException) when (attempt.Token.IsCancellationRequested)
        {
            return (CommandState.Interrupted, null, "The node was shut down while the command ran.");
        }
#pragma warning disable CA1031 // The application's code: whatever it throws is how the attempt failed.
        catch (Exception error)
#pragma warning restore CA1031
        {
            LogFailed(error, started.Key, started.Type);
            return (CommandState.Failed, null, error.Message);
        }
    }

    private Task[] Tasks()
    {
        lock (_gate)
        {
            return [.. _running.Values.Select(attempt => attempt.Ending)];
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, EventName = "CommandFailed", Message = "Command {Key} of type {Type} failed.")]
    private partial void LogFailed(Exception error, CommandKey key, string type);

    [LoggerMessage(Level = LogLevel.Error, EventName = "OutcomeNotJournaled", Message = "The outcome of command {Key} could not be journaled.")]
    private partial void LogNotJournaled(Exception error, CommandKey key);

    private sealed class RunningAttempt(CancellationToken stopping) : IDisposable
    {
        private readonly CancellationTokenSource _source = CancellationTokenSource.CreateLinkedTokenSource(stopping);
        private volatile bool _cancelAsked;

        public CancellationToken Token => _source.Token;

        public bool IsCancelAsked => _cancelAsked;

        public Task Ending { get; set; } = Task.CompletedTask;

        public void Cancel()
        {
            _cancelAsked = true;
            try
            {
                _source.Cancel();
            }
            catch (ObjectDisposedException)
            {
                // The attempt ended between being found and being cancelled.
            }
        }

        public void Dispose() => _source.Dispose();
    }
}
