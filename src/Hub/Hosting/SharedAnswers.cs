namespace Hub.Hosting;

/// <summary>Answers that all who ask for one key share: at the same time, and for a while after. Thread-safe.</summary>
/// <param name="keptFor">How long an answer is given again, from when it was first asked for.</param>
/// <param name="keptMax">Answers kept; the oldest go first.</param>
/// <param name="isKept">Whether an answer is given to those who come later; null for every answer.</param>
internal class SharedAnswers<TKey, TAnswer>(TimeProvider time, TimeSpan keptFor, int keptMax, Func<TKey, TAnswer, bool>? isKept = null)
    where TKey : notnull
{
    private readonly Lock _gate = new();
    private readonly Dictionary<TKey, Shared> _shared = [];

    // One that was forgotten keeps its place here until its time is over; meanwhile another may be of its key.
    private readonly Queue<Shared> _byAge = new();

    /// <summary>The answer that others have asked for, or else the one to this question. Who goes leaves it to the others.</summary>
    /// <param name="askAsync">Runs at most once, outside of any lock. A failure is for those who wait for it, and then forgotten.</param>
    public async Task<TAnswer> GetAsync(TKey key, Func<Task<TAnswer>> askAsync, CancellationToken cancellation)
    {
        var (shared, isOwn) = Take(key);
        if (isOwn)
        {
            // To its end, even if this caller goes: what nobody waits for would still be at work when the Hub stops.
            try
            {
                var answer = await askAsync();
                if (isKept?.Invoke(key, answer) == false)
                {
                    Forget(shared); // First, or who asks for what follows would find this answer again.
                }

                shared.Answer.SetResult(answer);
            }
            catch (Exception e)
            {
                Forget(shared);
                shared.Answer.SetException(e);
            }
        }

        return await shared.Answer.Task.WaitAsync(cancellation);
    }

    private (Shared Shared, bool IsOwn) Take(TKey key)
    {
        lock (_gate)
        {
            while (_byAge.TryPeek(out var oldest) && time.GetElapsedTime(oldest.Began) >= keptFor)
            {
                Remove(_byAge.Dequeue());
            }

            if (_shared.TryGetValue(key, out var shared))
            {
                return (shared, false);
            }

            if (_byAge.Count >= keptMax)
            {
                Remove(_byAge.Dequeue());
            }

            var own = new Shared(key, time.GetTimestamp());
            _shared.Add(key, own);
            _byAge.Enqueue(own);
            return (own, true);
        }
    }

    private void Forget(Shared shared)
    {
        lock (_gate)
        {
            Remove(shared);
        }
    }

    private void Remove(Shared shared)
    {
        if (_shared.TryGetValue(shared.Key, out var present) && present == shared)
        {
            _shared.Remove(shared.Key);
        }
    }

    private sealed class Shared(TKey key, long began)
    {
        public TKey Key { get; } = key;

        public long Began { get; } = began;

        public TaskCompletionSource<TAnswer> Answer { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
