using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;

namespace Hub.TestKit;

/// <summary>
/// Records what is logged and, when disposed, fails if there was an Error whose event name the test had not announced.
/// It is a factory for code that takes one and a provider for hosts.
/// </summary>
public sealed class LogGuard : ILoggerFactory, ILoggerProvider
{
    // The latest entries; a chatty test keeps its memory.
    private const int EntriesMax = 10_000;

    private readonly ConcurrentQueue<LogEntry> _entries = new();

    private readonly ConcurrentQueue<LogEntry> _unannounced = new();

    private readonly ConcurrentDictionary<string, bool> _announced = new(StringComparer.Ordinal);

    public IReadOnlyCollection<LogEntry> Entries => _entries;

    /// <summary>Errors of this event name are part of the test.</summary>
    public void Announce(string eventName) => _announced[eventName] = true;

    public ILogger CreateLogger(string categoryName) => new GuardedLogger(this, categoryName);

    public void AddProvider(ILoggerProvider provider) => throw new NotSupportedException("The guard is the only provider.");

    public void Dispose()
    {
        if (_unannounced.TryPeek(out var entry))
        {
            throw new InvalidOperationException(
                $"{_unannounced.Count} unannounced errors were logged, first {entry.Category} {entry.EventName}: {entry.Message}", entry.Exception);
        }
    }

    private void Record(LogEntry entry)
    {
        _entries.Enqueue(entry);
        if (_entries.Count > EntriesMax)
        {
            _entries.TryDequeue(out _);
        }
        if (entry.Level >= LogLevel.Error && !_announced.ContainsKey(entry.EventName))
        {
            _unannounced.Enqueue(entry);
        }
    }

    private sealed class GuardedLogger(LogGuard guard, string category) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Debug;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (IsEnabled(logLevel))
            {
                guard.Record(new LogEntry(logLevel, category, eventId.Name ?? "", formatter(state, exception), exception));
            }
        }
    }
}

public sealed record LogEntry(LogLevel Level, string Category, string EventName, string Message, Exception? Exception);
