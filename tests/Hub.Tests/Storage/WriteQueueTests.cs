using Hub.Storage;

namespace Hub.Tests.Storage;

public sealed class WriteQueueTests : IDisposable
{
    private const int Slots = 4;

    private readonly WriteQueue _queue = new(Slots);

    [Fact]
    public void Take_OneTeamFloods_TheOthersAreInTheFirstGroup()
    {
        AddMany("noisy", 100);
        AddMany("quiet", 2);
        AddMany("calm", 1);

        var group = Take(max: 6);

        Assert.Equal(["noisy", "quiet", "calm", "noisy", "quiet", "noisy"], group.Select(job => job.Scope.Csv));
    }

    [Fact]
    public void Take_JobsOfOneTeam_KeepTheirOrder()
    {
        var jobs = AddMany("team", 5);

        Assert.Equal(jobs, Take(max: 2).Concat(Take(max: 10)));
    }

    [Fact]
    public void Take_UrgentAndBulkFlood_BothAreInEveryGroup()
    {
        AddMany("team", 100);
        AddMany("team", 100, isBulk: true);

        var group = Take(max: 10);

        Assert.Equal(9, group.Count(job => !job.IsBulk));
        Assert.True(group[^1].IsBulk);
    }

    [Fact]
    public void Take_MoreBulkThanIsAskedFor_LeavesTheRest()
    {
        AddMany("team", 100, isBulk: true);

        Assert.Equal(3, Take(max: 10, bulkMax: 3).Count);
    }

    [Fact]
    public void Take_CancelledJobs_AreLeftOut()
    {
        var jobs = AddMany("team", 3);
        jobs[0].TryCancel(CancellationToken.None);
        jobs[2].TryCancel(CancellationToken.None);

        Assert.Equal([jobs[1]], Take(max: 10));
    }

    [Fact]
    public void Return_JobsThatDidNotRun_ComeBeforeThoseAfterThemAndTeamsThatRanComeLast()
    {
        var noisy = AddMany("noisy", 6, isBulk: true);
        var group = Take(max: 4);
        var quiet = AddMany("quiet", 1, isBulk: true);

        _queue.Return(group[1..], new HashSet<TeamScope> { group[0].Scope });

        Assert.Equal([quiet[0], .. noisy[1..]], Take(max: 10));
    }

    [Fact]
    public void Return_ToAClosedQueue_IsStillTaken()
    {
        var jobs = AddMany("team", 2);
        var group = Take(max: 2);
        _queue.Close();

        _queue.Return(group, new HashSet<TeamScope>());

        Assert.Equal(jobs, Take(max: 10));
    }

    [Fact]
    public void HasOthers_BulkOfOneTeam_IsNotAnother()
    {
        var team = AddMany("team", 1, isBulk: true)[0].Scope;
        Assert.False(_queue.HasOthers(team));

        AddMany("team", 1);
        Assert.True(_queue.HasOthers(team));

        Take(max: 2);
        AddMany("other", 1, isBulk: true);
        Assert.True(_queue.HasOthers(team));
    }

    [Fact]
    public void Close_LinesLongerThanTheirSlots_GivesBackWhatIsBehind()
    {
        var noisy = AddMany("noisy", Slots + 2);
        var quiet = AddMany("quiet", 1);
        Assert.Equal(Slots + 1, _queue.Count);

        var back = _queue.Close();

        Assert.Equal(noisy[Slots..], back);
        Assert.Equal([.. noisy[..Slots], .. quiet], Take(max: 10).OrderBy(job => job.Scope.Csv));
        Assert.False(_queue.Take([], 10, 10));
        Assert.False(_queue.TryAdd(new LoneJob<bool>("late", null, _ => true)));
    }

    public void Dispose() => _queue.Dispose();

    private List<WriteJob> AddMany(string team, int count, bool isBulk = false)
    {
        var jobs = Enumerable.Range(0, count).Select(WriteJob (_) => new LoneJob<bool>(team, null, _ => true, isBulk)).ToList();
        Assert.All(jobs, job => Assert.True(_queue.TryAdd(job)));
        return jobs;
    }

    private List<WriteJob> Take(int max, int bulkMax = 100)
    {
        var group = new List<WriteJob>();
        Assert.True(_queue.Take(group, max, bulkMax));
        return group;
    }
}
