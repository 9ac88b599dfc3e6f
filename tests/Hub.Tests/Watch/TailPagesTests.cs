using Hub.Contracts.V1;
using Hub.TestKit;
using Hub.Watch;

namespace Hub.Tests.Watch;

public sealed class TailPagesTests
{
    private static readonly TailPosition Here = new("team", "", 7);

    private readonly ManualTimeProvider _time = new();
    private readonly TailPages _pages;
    private int _reads;

    public TailPagesTests() => _pages = new TailPages(_time);

    [Fact]
    public async Task Page_ForManyAtOnePosition_IsReadOnce()
    {
        var reading = new TaskCompletionSource<TailPage>();

        var readers = Enumerable.Range(0, 20).Select(_ => ReadAsync(Here, reading.Task)).ToArray();
        reading.SetResult(await PageTo(9));

        Assert.All(await Task.WhenAll(readers).Within(), page => Assert.Equal(9, page.LastSeq));
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task Page_OfAnotherTeamKindsOrNumber_IsReadForItself()
    {
        await ReadAsync(Here, PageTo(9));
        await ReadAsync(Here with { TeamId = "other" }, PageTo(9));
        await ReadAsync(Here with { KindsKey = "Task" }, PageTo(9));
        await ReadAsync(Here with { After = 8 }, PageTo(9));

        Assert.Equal(4, _reads);
    }

    [Fact]
    public async Task Page_AfterAMoment_IsReadAgain()
    {
        await ReadAsync(Here, PageTo(9));
        _time.Advance(TailPages.KeptFor);

        Assert.Equal(10, (await ReadAsync(Here, PageTo(10))).LastSeq);
    }

    [Fact]
    public async Task Page_WithoutAChange_IsNotKept()
    {
        await ReadAsync(Here, PageTo(Here.After));

        Assert.Equal(9, (await ReadAsync(Here, PageTo(9))).LastSeq);
    }

    [Fact]
    public async Task Page_LargerThanTheBound_IsNotKept()
    {
        var large = new TailPage([new WatchResponse { EntityId = new string('x', TailPages.KeptBytesMax) }], 9);

        await ReadAsync(Here, Task.FromResult(large));
        await ReadAsync(Here, Task.FromResult(large));

        Assert.Equal(2, _reads);
    }

    [Fact]
    public async Task Page_MoreThanAreKept_TheOldestGoes()
    {
        for (var after = 0L; after <= TailPages.PagesMax; after++)
        {
            await ReadAsync(Here with { After = after }, PageTo(after + 1));
        }

        await ReadAsync(Here with { After = TailPages.PagesMax }, PageTo(TailPages.PagesMax + 1));
        Assert.Equal(TailPages.PagesMax + 1, _reads);
        await ReadAsync(Here with { After = 0 }, PageTo(1));
        Assert.Equal(TailPages.PagesMax + 2, _reads);
    }

    [Fact]
    public async Task Page_ThatCannotBeRead_FailsAllWhoWaitAndIsTriedAgain()
    {
        var reading = new TaskCompletionSource<TailPage>();

        var readers = Enumerable.Range(0, 3).Select(_ => ReadAsync(Here, reading.Task)).ToArray();
        reading.SetException(new FormatException("gone"));

        foreach (var reader in readers)
        {
            await Assert.ThrowsAsync<FormatException>(() => reader.Within());
        }

        Assert.Equal(9, (await ReadAsync(Here, PageTo(9))).LastSeq);
    }

    [Fact]
    public async Task Page_AWaiterGivesUp_TheOthersGetIt()
    {
        var reading = new TaskCompletionSource<TailPage>();
        using var gone = new CancellationTokenSource();

        var first = ReadAsync(Here, reading.Task);
        var leaving = ReadAsync(Here, reading.Task, gone.Token);
        await gone.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => leaving.Within());
        reading.SetResult(await PageTo(9));

        Assert.Equal(9, (await first.Within()).LastSeq);
    }

    private static Task<TailPage> PageTo(long last) => Task.FromResult(new TailPage([new WatchResponse()], last));

    private Task<TailPage> ReadAsync(TailPosition position, Task<TailPage> reading, CancellationToken cancellation = default) =>
        _pages.GetAsync(
            position,
            () =>
            {
                _reads++;
                return reading;
            },
            cancellation);
}
