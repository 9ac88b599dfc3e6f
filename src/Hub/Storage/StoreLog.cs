namespace Hub.Storage;

internal static partial class StoreLog
{
    [LoggerMessage(EventName = "MigrationApplied", Level = LogLevel.Information, Message = "Schema is now at version {Version} ({Name})")]
    public static partial void MigrationApplied(ILogger log, int version, string name);

    [LoggerMessage(EventName = "GroupUnavailable", Level = LogLevel.Debug, Message = "{Jobs} write jobs were given back, the database is unavailable")]
    public static partial void GroupUnavailable(ILogger log, int jobs, Exception cause);

    [LoggerMessage(EventName = "GroupHalved", Level = LogLevel.Warning, Message = "A group of {Jobs} write jobs could not commit and is halved")]
    public static partial void GroupHalved(ILogger log, int jobs, Exception cause);

    [LoggerMessage(EventName = "GroupRepeated", Level = LogLevel.Debug, Message = "One of {Jobs} write jobs failed; they run again, each behind a savepoint")]
    public static partial void GroupRepeated(ILogger log, int jobs, Exception cause);

    [LoggerMessage(EventName = "JobsParted", Level = LogLevel.Debug, Message = "{Jobs} write jobs failed together and run one by one")]
    public static partial void JobsParted(ILogger log, int jobs, Exception cause);

    [LoggerMessage(EventName = "SavepointLost", Level = LogLevel.Warning, Message = "A write job could not be rolled back alone")]
    public static partial void SavepointLost(ILogger log, Exception cause);

    [LoggerMessage(EventName = "EffectFailed", Level = LogLevel.Error, Message = "An effect after a commit failed")]
    public static partial void EffectFailed(ILogger log, Exception cause);

    [LoggerMessage(EventName = "WriterDied", Level = LogLevel.Critical, Message = "A writer ended by a fault of its own")]
    public static partial void WriterDied(ILogger log, Exception cause);

    [LoggerMessage(EventName = "WriterStuck", Level = LogLevel.Error, Message = "A writer did not end within {Timeout}")]
    public static partial void WriterStuck(ILogger log, TimeSpan timeout);

    [LoggerMessage(EventName = "StoreUnavailable", Level = LogLevel.Warning, Message = "The store does not work since {Since:O} ({Fault}): {Reason}")]
    public static partial void Unavailable(ILogger log, StoreFault fault, DateTimeOffset since, string reason);

    [LoggerMessage(EventName = "StoreAvailable", Level = LogLevel.Information, Message = "The store works again, after {Outage} ({Fault})")]
    public static partial void AvailableAgain(ILogger log, StoreFault fault, TimeSpan outage);

    [LoggerMessage(EventName = "StoreContended", Level = LogLevel.Warning, Message = "Write jobs get in each other's way: {Reason}")]
    public static partial void Contended(ILogger log, string reason, Exception? cause);

    [LoggerMessage(EventName = "RelayInterrupted", Level = LogLevel.Warning, Message = "Wake-ups between replicas are interrupted ({Duty}): {Cause}")]
    public static partial void RelayInterrupted(ILogger log, string duty, string cause);
}
