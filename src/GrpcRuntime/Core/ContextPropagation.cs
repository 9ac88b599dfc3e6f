namespace Grpc.Core;

/// <summary>What a call hands on to the calls made on its behalf.</summary>
/// <param name="propagateDeadline">Whether the earlier of both deadlines counts.</param>
/// <param name="propagateCancellation">Whether the end of the parent cancels the child.</param>
public class ContextPropagationOptions(bool propagateDeadline = true, bool propagateCancellation = true)
{
    /// <summary>Deadline and cancellation.</summary>
    public static readonly ContextPropagationOptions Default = new();

    /// <summary>Whether the earlier of both deadlines counts.</summary>
    public bool IsPropagateDeadline { get; } = propagateDeadline;

    /// <summary>Whether the end of the parent cancels the child.</summary>
    public bool IsPropagateCancellation { get; } = propagateCancellation;
}

/// <summary>Deadline and cancellation of a call, for the calls made on its behalf.</summary>
public sealed class ContextPropagationToken
{
    internal ContextPropagationToken(ContextPropagationOptions options, DateTime deadline, CancellationToken cancellationToken)
    {
        Deadline = options.IsPropagateDeadline ? deadline : DateTime.MaxValue;
        CancellationToken = options.IsPropagateCancellation ? cancellationToken : CancellationToken.None;
    }

    internal DateTime Deadline { get; }

    internal CancellationToken CancellationToken { get; }
}
