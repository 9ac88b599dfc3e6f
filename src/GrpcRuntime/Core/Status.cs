namespace Grpc.Core;

/// <summary>How a call ended: a code, a text for people and, locally only, the cause.</summary>
/// <param name="statusCode">The code.</param>
/// <param name="detail">The text that travels as grpc-message.</param>
/// <param name="debugException">The local cause; it never travels.</param>
public struct Status(StatusCode statusCode, string detail, Exception? debugException) : IEquatable<Status>
{
    /// <summary>Success without a text.</summary>
    public static readonly Status DefaultSuccess = new(StatusCode.OK, "");

    /// <summary>Cancelled without a text.</summary>
    public static readonly Status DefaultCancelled = new(StatusCode.Cancelled, "");

    private readonly string? _detail = detail;

    /// <summary>Makes a status without a local cause.</summary>
    /// <param name="statusCode">The code.</param>
    /// <param name="detail">The text that travels as grpc-message.</param>
    public Status(StatusCode statusCode, string detail)
        : this(statusCode, detail, null)
    {
    }

    /// <summary>The code.</summary>
    public readonly StatusCode StatusCode { get; } = statusCode;

    /// <summary>The text that travels as grpc-message.</summary>
    public readonly string Detail => _detail ?? "";

    /// <summary>The local cause, for logs; never sent.</summary>
    public readonly Exception? DebugException { get; } = debugException;

    /// <summary>Compares code and text.</summary>
    public static bool operator ==(Status left, Status right) => left.Equals(right);

    /// <summary>Compares code and text.</summary>
    public static bool operator !=(Status left, Status right) => !left.Equals(right);

    /// <inheritdoc/>
    public readonly bool Equals(Status other) => StatusCode == other.StatusCode && Detail == other.Detail;

    /// <inheritdoc/>
    public override readonly bool Equals(object? obj) => obj is Status other && Equals(other);

    /// <inheritdoc/>
    public override readonly int GetHashCode() => HashCode.Combine(StatusCode, Detail);

    /// <inheritdoc/>
    public override readonly string ToString() =>
        DebugException is null
            ? $"Status(StatusCode=\"{StatusCode}\", Detail=\"{Detail}\")"
            : $"Status(StatusCode=\"{StatusCode}\", Detail=\"{Detail}\", DebugException=\"{DebugException.GetType()}: {DebugException.Message}\")";
}
