namespace Hub.Hosts;

/// <summary>What claims led to, for a while: twins at the same time and repeats share one claim. Thread-safe.</summary>
internal sealed class ClaimRepeats(TimeProvider time)
{
    /// <summary>Claims remembered; the oldest go first.</summary>
    public const int ClaimsMax = 10_000;

    /// <summary>How long a claim is remembered.</summary>
    public static readonly TimeSpan Within = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();

    private readonly Dictionary<string, Claim> _claims = new(StringComparer.Ordinal);

    // By age; one that was refused is not in the dictionary any more.
    private readonly Queue<Claim> _byAge = new();

    /// <summary>The claim of the token if there was one, or this one.</summary>
    /// <param name="hash">Of the token.</param>
    /// <param name="claim">Runs at most once, outside of any lock.</param>
    public async Task<EnrolledHost> GetAsync(string hash, Func<Task<EnrolledHost>> claim, CancellationToken cancellation)
    {
        var shared = Share(hash, claim);
        try
        {
            return await shared.Answer.Value.WaitAsync(cancellation);
        }
        catch (Exception) when (shared.Answer.Value.IsFaulted)
        {
            Forget(shared); // A refusal is not an answer worth repeating.
            throw;
        }
    }

    private Claim Share(string hash, Func<Task<EnrolledHost>> claim)
    {
        var now = time.GetUtcNow();
        lock (_gate)
        {
            while (_byAge.TryPeek(out var oldest) && oldest.At <= now - Within)
            {
                Forget(_byAge.Dequeue());
            }

            if (!_claims.TryGetValue(hash, out var shared))
            {
                if (_byAge.Count >= ClaimsMax)
                {
                    Forget(_byAge.Dequeue());
                }

                shared = new Claim(hash, now, new Lazy<Task<EnrolledHost>>(claim));
                _claims.Add(hash, shared);
                _byAge.Enqueue(shared);
            }

            return shared;
        }
    }

    private void Forget(Claim claim)
    {
        lock (_gate)
        {
            if (_claims.TryGetValue(claim.Hash, out var kept) && kept == claim)
            {
                _claims.Remove(claim.Hash);
            }
        }
    }

    private sealed class Claim(string hash, DateTimeOffset at, Lazy<Task<EnrolledHost>> answer)
    {
        public string Hash { get; } = hash;

        public DateTimeOffset At { get; } = at;

        public Lazy<Task<EnrolledHost>> Answer { get; } = answer;
    }
}
