namespace Hub.AgentClient.Internal;

/// <summary>Names one attempt of one command: what a frame, a journal row and a running handler are identified by.</summary>
internal readonly record struct CommandKey(string CommandId, int Attempt)
{
    /// <summary>The form used as the outbox's record key.</summary>
    public override string ToString() => FormattableString.Invariant($"{CommandId}/{Attempt}");
}
