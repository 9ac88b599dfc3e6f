using Google.Protobuf.Reflection;

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

/// <summary>What keeps the store from working; also the word that /ready and refusals show, such as DISK_FULL.</summary>
internal enum StoreFault
{
    /// <summary>One job met another's lock, or took too long: the store itself works.</summary>
    [OriginalName("CONTENDED")]
    Contended,

    /// <summary>The server cannot be reached, does not answer, or refuses the session.</summary>
    [OriginalName("AWAY")]
    Away,

    /// <summary>Another process holds the file's write lock.</summary>
    [OriginalName("LOCKED")]
    Locked,

    [OriginalName("DISK_FULL")]
    DiskFull,

    [OriginalName("READ_ONLY")]
    ReadOnly,

    /// <summary>The disk or the server reports an error of another kind.</summary>
    [OriginalName("FAILING")]
    Failing,

    /// <summary>The file that is open is no longer at its path.</summary>
    [OriginalName("REMOVED")]
    Removed,

    [OriginalName("CORRUPT")]
    Corrupt,
}

internal static class StoreFaults
{
    /// <summary>Going on would make it worse, or acknowledge what nobody could read again: a person has to act, then a restart.</summary>
    public static bool IsFinal(this StoreFault fault) => fault is StoreFault.Removed or StoreFault.Corrupt;

    /// <summary>Waiting alone does not help.</summary>
    public static bool NeedsRepair(this StoreFault fault) => fault is StoreFault.DiskFull or StoreFault.ReadOnly or StoreFault.Failing || fault.IsFinal();
}

/// <summary>
/// The machine or the server is at fault, never the job. It did not commit, or its commit went unheard; jobs are re-runnable, so the
/// caller retries either way. The message is one line for the operator, with what to do.
/// </summary>
internal sealed class StoreUnavailableException(StoreFault fault, string message, Exception? cause = null) : Exception(message, cause)
{
    public StoreFault Fault { get; } = fault;

    /// <inheritdoc cref="StoreFaults.IsFinal"/>
    public bool IsFinal => Fault.IsFinal();
}

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
