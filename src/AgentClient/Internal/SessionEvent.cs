using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>What a <see cref="NodeSession"/> tells its driver after a frame was taken.</summary>
internal abstract record SessionEvent
{
    /// <summary>The link is up.</summary>
    public sealed record Welcomed(string LinkId, string HostId, long Epoch) : SessionEvent;

    /// <summary>The journal turned out to be an old copy and has a new id now: end this link and dial again at once.</summary>
    public sealed record JournalReplaced : SessionEvent;

    /// <summary>The Hub stored a record.</summary>
    public sealed record Acked(RecordAcked Record) : SessionEvent;

    /// <summary>The Hub refused a record for good.</summary>
    public sealed record Refused(RecordRefused Record) : SessionEvent;

    /// <summary>Both sides changed a record.</summary>
    public sealed record Conflicting(RecordConflict Record) : SessionEvent;

    /// <summary>A running attempt has to stop: cancel its handler and complete it as it ends.</summary>
    public sealed record StopCommand(CommandKey Key) : SessionEvent;

    /// <summary>A re-sync is due and the application's source has to be read; see <see cref="NodeSession.BeginSource"/>.</summary>
    public sealed record SourceWanted(Collection Collection) : SessionEvent;

    /// <summary>A new credential: store it, then call <see cref="NodeSession.CredentialStored"/>.</summary>
    public sealed record CredentialIssued(string CredentialId, string Token) : SessionEvent;

    /// <summary>The Hub is about to end the link: finish sending and dial again after the delay.</summary>
    public sealed record Draining(TimeSpan ReconnectAfter) : SessionEvent;

    /// <summary>The Hub ended the link.</summary>
    public sealed record Ended(Goodbye Goodbye) : SessionEvent;
}
