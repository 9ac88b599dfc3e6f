using Hub.Contracts.V1;

namespace Hub.Errors;

/// <summary>
/// A refusal: thrown where it is found, shown to the caller as gRPC status with ErrorInfo or as the REST error of its surface.
/// </summary>
/// <param name="reason">What is refused; carries the gRPC and HTTP status.</param>
/// <param name="message">Brief text for people that says what to do; never internals or secrets.</param>
/// <param name="metadata">Machine-readable details, such as the field, the limit and its use.</param>
internal sealed class HubException(ErrorReason reason, string message, params (string Key, string Value)[] metadata)
    : Exception(message)
{
    public ErrorReason Reason { get; } = reason;

    public IReadOnlyList<(string Key, string Value)> Metadata { get; } = metadata;

    /// <summary>How long a caller should wait before it tries again, if waiting helps.</summary>
    public TimeSpan? RetryAfter { get; init; }

    public static HubException InvalidField(string field, string message) =>
        new(ErrorReason.InvalidField, message, ("field", field));
}
