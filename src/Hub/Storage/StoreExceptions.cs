namespace Hub.Storage;

internal enum ConstraintKind
{
    Unique,
    ForeignKey,
    Check,
    NotNull,
    Other,
}

/// <summary>A constraint of the schema was violated: the same data will always fail.</summary>
internal sealed class ConstraintException(string constraint, ConstraintKind kind, Exception cause)
    : Exception($"The {kind} constraint '{constraint}' was violated.", cause)
{
    /// <summary>
    /// Its name in the schema, or PostgreSQL's default name where the schema gives none; <c>table.column</c> for not null; empty for a
    /// foreign key on SQLite, which does not say which one.
    /// </summary>
    public string Constraint { get; } = constraint;

    public ConstraintKind Kind { get; } = kind;
}

/// <summary>The job came from a link that is no longer the newest of its host; it was not run.</summary>
internal sealed class LinkFencedException(Fence fence, long? storedEpoch)
    : Exception($"Host {fence.HostId}: epoch {fence.Epoch} was fenced off by {storedEpoch?.ToString() ?? "its removal"}.")
{
    public Fence Fence { get; } = fence;
}

/// <summary>
/// Connection lost, lock timeout, deadlock, disk full: no fault of the job. It did not commit, or its commit went unheard; jobs are
/// re-runnable, so the caller retries either way.
/// </summary>
internal sealed class StoreUnavailableException(string message, Exception? cause = null) : Exception(message, cause);

internal enum StoreRefusal
{
    LibraryMissing,
    BadConnectionString,
    BadMigrations,
    SchemaNewer,
    SchemaOlder,
    NotDurable,
}

/// <summary>The store cannot be served as configured; the message is one line for the operator. Retrying does not help.</summary>
internal sealed class StoreRefusedException(StoreRefusal reason, string message, Exception? cause = null) : Exception(message, cause)
{
    public StoreRefusal Reason { get; } = reason;
}
