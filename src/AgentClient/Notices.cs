using Hub.Contracts.V1;

namespace Hub.AgentClient;

/// <summary>What kind of record the Hub acknowledged.</summary>
public enum RecordKind
{
    /// <summary>Never used.</summary>
    Unspecified,

    /// <summary>A task was created or changed.</summary>
    Task,

    /// <summary>A task was deleted.</summary>
    TaskDeleted,

    /// <summary>A chat message.</summary>
    Chat,

    /// <summary>The outcome of a command.</summary>
    CommandOutcome,
}

/// <summary>The Hub has stored a record durably. A change that was replaced by a newer one before it was acknowledged is not announced.</summary>
/// <param name="Kind">What it is.</param>
/// <param name="Id">Id of the task, message or command.</param>
/// <param name="Version">Version of the task, attempt of the command, 0 for a message.</param>
public sealed record RecordAcked(RecordKind Kind, string Id, long Version);

/// <summary>The Hub refused a record for good and set it aside.</summary>
/// <param name="Lane">The lane it travelled on.</param>
/// <param name="Id">The record, message or command.</param>
/// <param name="Reason">Error reason, such as RECORD_TOO_LARGE.</param>
/// <param name="Detail">What to do, for people.</param>
public sealed record RecordRefused(Lane Lane, string Id, string Reason, string Detail);

/// <summary>A record was changed here and at the Hub at once; the Hub keeps both versions for a person.</summary>
/// <param name="Collection">The collection.</param>
/// <param name="Id">The record.</param>
/// <param name="ConflictId">The conflict's id in the Hub's ledger.</param>
public sealed record RecordConflict(Collection Collection, string Id, string ConflictId);
