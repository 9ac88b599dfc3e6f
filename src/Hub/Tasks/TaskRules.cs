using Hub.Contracts.V1;
using Hub.Errors;

namespace Hub.Tasks;

/// <summary>What a task must be like to be stored, on whatever way it comes.</summary>
internal static class TaskRules
{
    /// <summary>Largest task, in bytes of its message (stream-protocol.md §6).</summary>
    public const int TaskBytesMax = 512 * 1024;

    /// <summary>The fault that makes a task unacceptable for good, or null.</summary>
    public static HubException? Fault(string recordId, HostTask? task)
    {
        if (recordId.Length is 0 or > TaskRecords.ShortTextMax)
        {
            return new HubException(ErrorReason.RecordInvalid, $"A task's id has 1 to {TaskRecords.ShortTextMax} characters.");
        }

        if (task is null)
        {
            return null;
        }

        if (task.CalculateSize() is > TaskBytesMax and var size)
        {
            return new HubException(
                ErrorReason.RecordTooLarge, $"A task has at most {TaskBytesMax} bytes; this one has {size}.",
                ("limit", $"{TaskBytesMax}"), ("size", $"{size}"));
        }

        return task.Title.Length > TaskRecords.TitleMax || task.Status.Length > TaskRecords.ShortTextMax
            ? new HubException(
                ErrorReason.RecordInvalid,
                $"A task's title has at most {TaskRecords.TitleMax} characters and its status {TaskRecords.ShortTextMax}.")
            : null;
    }
}
