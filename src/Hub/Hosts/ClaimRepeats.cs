using Hub.Hosting;

namespace Hub.Hosts;

/// <summary>What claims led to, by the hash of their token: a twin or a repeat gets the same host and credential.</summary>
internal sealed class ClaimRepeats(TimeProvider time) : SharedAnswers<string, EnrolledHost>(time, Within, ClaimsMax)
{
    /// <summary>Claims remembered; the oldest go first.</summary>
    public const int ClaimsMax = 10_000;

    /// <summary>How long a claim is remembered.</summary>
    public static readonly TimeSpan Within = TimeSpan.FromSeconds(30);
}
