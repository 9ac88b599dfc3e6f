using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>What a node does after a link ended. Only a revocation or a deletion ends it for good.</summary>
internal sealed class RetryPolicy(Random random)
{
    /// <summary>Longest wait of all.</summary>
    public static readonly TimeSpan WaitMax = TimeSpan.FromMinutes(15);

    private static readonly TimeSpan TakenOverFirst = TimeSpan.FromSeconds(30);

    // A link that lived this long was a good one: the next failure is a new story.
    private static readonly TimeSpan StableAfter = TimeSpan.FromMinutes(1);

    private readonly BackOff _quick = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(64), random);

    // A wait spans the rest of one window and a part of the next, so half of the bound is the largest window.
    private readonly BackOff _slow = new(TimeSpan.FromSeconds(1), WaitMax / 2, random);
    private TimeSpan _takenOver = TakenOverFirst;
    private bool _journalReplaced;

    /// <summary>Decides, given how long the link had been online.</summary>
    public RetryDecision After(LinkEnd end, TimeSpan online)
    {
        if (online >= StableAfter)
        {
            _quick.Reset();
            _slow.Reset();
        }

        // Once is how it should be; a Hub that says it of the new journal too must not be dialled in a tight loop.
        var replacedAgain = _journalReplaced;
        _journalReplaced = end is LinkEnd.JournalReplaced;
        if (end is not LinkEnd.Dismissed { Reason: GoodbyeReason.TakenOver } || online >= WaitMax)
        {
            _takenOver = TakenOverFirst;
        }

        return end switch
        {
            LinkEnd.JournalReplaced when !replacedAgain => RetryDecision.In(TimeSpan.Zero),
            LinkEnd.Drained drained => RetryDecision.In(Bounded(drained.ReconnectAfter)),
            LinkEnd.Dismissed { Reason: GoodbyeReason.Revoked or GoodbyeReason.Deleted } => RetryDecision.Stop,
            LinkEnd.Dismissed { Reason: GoodbyeReason.TakenOver } => RetryDecision.In(NextTakenOver()),
            LinkEnd.Dismissed { RetryAfter: var after } when after > TimeSpan.Zero => RetryDecision.In(Bounded(after)),
            LinkEnd.Dismissed { Reason: GoodbyeReason.ClonedIdentity } => RetryDecision.In(WaitMax),
            LinkEnd.Dismissed { Reason: GoodbyeReason.TeamSuspended } => RetryDecision.In(_slow.Next()),
            LinkEnd.Failed { Code: StatusCode.Unauthenticated } => RetryDecision.InWithNewCredential(_slow.Next()),
            LinkEnd.Failed { Code: StatusCode.FailedPrecondition } => RetryDecision.In(_slow.Next()),
            _ => RetryDecision.In(_quick.Next()),
        };
    }

    private TimeSpan NextTakenOver()
    {
        var wait = _takenOver;
        _takenOver = Bounded(_takenOver * 2);
        return wait;
    }

    private static TimeSpan Bounded(TimeSpan wait) => wait < TimeSpan.Zero ? TimeSpan.Zero : wait > WaitMax ? WaitMax : wait;
}

/// <summary>Whether and when to dial again.</summary>
/// <param name="IsStop">Not at all.</param>
/// <param name="Wait">The wait before the next dial.</param>
/// <param name="ClaimFirst">The credential is no good: claim a new one before, if there is a join token.</param>
internal readonly record struct RetryDecision(bool IsStop, TimeSpan Wait, bool ClaimFirst)
{
    public static readonly RetryDecision Stop = new(true, TimeSpan.Zero, false);

    public static RetryDecision In(TimeSpan wait) => new(false, wait, false);

    public static RetryDecision InWithNewCredential(TimeSpan wait) => new(false, wait, true);
}
