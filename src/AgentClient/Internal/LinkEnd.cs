using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>Why a link, or the attempt to open one, ended.</summary>
internal abstract record LinkEnd
{
    /// <summary>The Hub said so in its last frame.</summary>
    public sealed record Dismissed(GoodbyeReason Reason, TimeSpan RetryAfter, string Detail) : LinkEnd
    {
        public override string ToString() => $"the Hub said {Reason}{(Detail.Length == 0 ? "" : $": {Detail}")}";
    }

    /// <summary>The call failed.</summary>
    public sealed record Failed(StatusCode Code, string Detail) : LinkEnd
    {
        public override string ToString() => $"{Code}: {Detail}";
    }

    /// <summary>No frame came for longer than a live Hub is silent.</summary>
    public sealed record Silent : LinkEnd
    {
        public override string ToString() => "the Hub was silent";
    }

    /// <summary>The Hub asked to be left, and everything was sent.</summary>
    public sealed record Drained(TimeSpan ReconnectAfter) : LinkEnd
    {
        public override string ToString() => "the Hub is draining";
    }

    /// <summary>The journal has a new id and has to be introduced.</summary>
    public sealed record JournalReplaced : LinkEnd
    {
        public override string ToString() => "the journal was an old copy and has a new id now";
    }

    /// <summary>The Hub broke the protocol, or the journal could not be written.</summary>
    public sealed record Broken(string Detail) : LinkEnd
    {
        public override string ToString() => Detail;
    }

    /// <summary>This side closed the link because the node is being shut down.</summary>
    public sealed record Left : LinkEnd;
}
