namespace Hub.AgentClient;

/// <summary>What a link is doing.</summary>
public enum LinkPhase
{
    /// <summary>Not started.</summary>
    Idle,

    /// <summary>Claiming a credential or dialling.</summary>
    Connecting,

    /// <summary>The Hub has answered; everything flows.</summary>
    Online,

    /// <summary>Waiting before it dials again.</summary>
    Waiting,

    /// <summary>Ended for good: the host was revoked or deleted, or the link was disposed.</summary>
    Stopped,
}

/// <summary>What a link is doing, and why.</summary>
/// <param name="Phase">What it is doing.</param>
/// <param name="Reason">Why, for people; empty for the ordinary course.</param>
/// <param name="Until">When it dials again, while it waits.</param>
public sealed record LinkState(LinkPhase Phase, string Reason = "", DateTimeOffset? Until = null);
