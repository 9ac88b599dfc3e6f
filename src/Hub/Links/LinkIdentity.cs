using Hub.Storage;

namespace Hub.Links;

/// <summary>The states of a link's row.</summary>
internal static class LinkState
{
    public const string Live = "LIVE";
    public const string Ended = "ENDED";
}

/// <summary>What an accepted Hello fixed for the life of a link.</summary>
internal sealed record LinkIdentity(
    string TeamId, string HostId, string LinkId, long Epoch, string JournalId, string InstanceId, bool Rewound)
{
    public Fence Fence => new(HostId, Epoch);
}
