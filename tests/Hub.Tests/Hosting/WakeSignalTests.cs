using Hub.Hosting;
using Hub.TestKit;

namespace Hub.Tests.Hosting;

/// <summary>One waiter, woken once for any number of sets.</summary>
public class WakeSignalTests
{
    private readonly WakeSignal _signal = new();

    [Fact]
    public async Task Wait_AfterTwoSets_CompletesOnce()
    {
        _signal.Set();
        _signal.Set();

        await _signal.WaitAsync(CancellationToken.None).AsTask().Within();
        var second = _signal.WaitAsync(CancellationToken.None).AsTask();
        Assert.False(second.IsCompleted);

        _signal.Set();
        await second.Within();
    }

    [Fact]
    public async Task Wait_ThatIsCancelled_LeavesTheNextOneToItself()
    {
        using var first = new CancellationTokenSource();
        var cancelled = _signal.WaitAsync(first.Token).AsTask();
        await first.CancelAsync();
        var thrown = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => cancelled.Within());

        using var second = new CancellationTokenSource();
        var waiting = _signal.WaitAsync(second.Token).AsTask();
        _signal.Set();
        await waiting.Within();
        await second.CancelAsync();
        var last = _signal.WaitAsync(CancellationToken.None).AsTask();

        Assert.Equal(first.Token, thrown.CancellationToken);
        Assert.False(last.IsCompleted);
    }

    [Fact]
    public async Task Sets_ByManyWhileOneWaits_AreNeverMissed()
    {
        const int rounds = 20_000;
        using var stop = new CancellationTokenSource();
        var asked = 0;
        var waiting = Task.Run(async () =>
        {
            for (var seen = 0; seen < rounds; seen = Volatile.Read(ref asked))
            {
                await _signal.WaitAsync(stop.Token);
            }
        });

        await Task.WhenAll(Enumerable.Range(0, 2).Select(_ => Task.Run(() =>
        {
            for (var i = 0; i < rounds / 2; i++)
            {
                Interlocked.Increment(ref asked);
                _signal.Set();
            }
        })));

        await waiting.Within();
    }
}
