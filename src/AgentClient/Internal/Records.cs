using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>How the records of each collection are named and wrapped. Adding a collection adds one case to each method.</summary>
internal static class Records
{
    public static readonly IReadOnlyList<Collection> Collections = [Collection.Tasks];

    public static string Key(Collection collection, string recordId) => FormattableString.Invariant($"{(int)collection}/{recordId}");

    public static string Key(Delta delta) => Key(delta.Collection, delta.RecordId);

    public static Delta Upsert(HostTask task, long version) =>
        new() { Collection = Collection.Tasks, RecordId = task.Id, Op = DeltaOp.Upsert, Version = version, Task = task };

    public static Delta Delete(Collection collection, string recordId, long version) =>
        new() { Collection = collection, RecordId = recordId, Op = DeltaOp.Delete, Version = version };

    /// <summary>The record as an entry that waits for its number.</summary>
    public static Entry Entry(Delta delta) => new() { Delta = delta };

    /// <summary>The record's message as a re-sync compares it: with its id and without a version.</summary>
    public static IMessage Body(Delta delta)
    {
        var task = delta.Task.Clone();
        (task.Id, task.Version) = (delta.RecordId, 0);
        return task;
    }

    public static bool SameBody(Delta left, Delta right) => left.BodyCase == right.BodyCase && Equals(left.Task, right.Task);

    /// <summary>What an acknowledged entry tells the application about.</summary>
    public static RecordAcked? Acked(Entry entry) => entry.BodyCase switch
    {
        Contracts.V1.Entry.BodyOneofCase.Delta => new RecordAcked(
            entry.Delta.Op is DeltaOp.Delete ? RecordKind.TaskDeleted : RecordKind.Task, entry.Delta.RecordId, entry.Delta.Version),
        Contracts.V1.Entry.BodyOneofCase.Chat => new RecordAcked(RecordKind.Chat, entry.Chat.Id, 0),
        Contracts.V1.Entry.BodyOneofCase.CommandOutcome => new RecordAcked(
            RecordKind.CommandOutcome, entry.CommandOutcome.CommandId, entry.CommandOutcome.Attempt),
        _ => null,
    };
}
