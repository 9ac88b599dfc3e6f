using System.Data;
using System.Data.Common;
using System.Runtime.ExceptionServices;
using Dapper;

namespace Hub.Storage;

/// <summary>
/// Owns one write connection on one thread. Takes whatever jobs wait, at most <see cref="GroupJobsMax"/>, runs them in one transaction, and
/// tells their callers after the commit. A group in which a job fails runs again with each job behind a savepoint, which most groups are
/// spared: it costs PostgreSQL a round trip, and SQLite copies every page that is changed behind one. There is no timer: the next group
/// gathers while this one commits, so groups grow with load and a lone job waits for nothing. All of a group wait for its commit, so it
/// ends early where somebody besides the bulk of one team is waiting; what has not run then goes back to its place in the queue.
/// </summary>
internal sealed class Writer : IAsyncDisposable
{
    public const int GroupJobsMax = 512;

    // What the engine says of groups that are shared, for those in which the bulk of one team has the writer to itself.
    private static readonly TimeSpan AloneGroupTarget = TimeSpan.FromMilliseconds(50);
    private const int AloneWeightMax = 2_000;

    // Others are expected for this long after they were there.
    private static readonly TimeSpan SharedFor = TimeSpan.FromMilliseconds(100);

    // Jobs fail in rows: who sends one that is refused sends more.
    private static readonly TimeSpan CarefulFor = TimeSpan.FromMilliseconds(100);

    private const int TakenMin = 8;

    // Between attempts to open the connection, doubling from the first to the last.
    private static readonly TimeSpan ReopenDelayMin = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan ReopenDelayMax = TimeSpan.FromSeconds(2);

    // A group that is running at shutdown may finish; after this the process does not wait for the database any more.
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(40);

    private readonly StoreEngine _engine;

    private readonly StoreOptions _options;

    private readonly StoreClock _clock;

    private readonly EventSignal _events;

    private readonly StoreCondition _condition;

    private readonly TimeProvider _time;

    private readonly ILogger _log;

    private readonly WriteQueue _queue;

    private readonly CancellationTokenSource _stopping = new();

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    // Owned by the thread, as is the delay before the next attempt to open it.
    private DbConnection? _connection;
    private TimeSpan _reopenDelay;

    // The scope the transaction is in, where that is known: to enter one costs PostgreSQL a round trip.
    private TeamScope? _scope;

    // Jobs taken into the next group, all and of bulk alone: twice those that ran in the last, since what is taken in vain has its cost.
    private int _jobsMax = GroupJobsMax;
    private int _bulkJobsMax = GroupJobsMax;

    private long? _sharedAt;

    private long? _failedAt;

    public Writer(
        int number, StoreEngine engine, StoreOptions options, StoreClock clock, EventSignal events, StoreCondition condition, TimeProvider time,
        ILogger log)
    {
        _engine = engine;
        _options = options;
        _clock = clock;
        _events = events;
        _condition = condition;
        _time = time;
        _log = log;
        _queue = new WriteQueue(options.QueueJobsMax);
        // The drivers block on the disk or the socket here; a pool thread must not.
        new Thread(RunGroups) { IsBackground = true, Name = $"hub-writer-{number}" }.Start();
    }

    public int QueuedJobs => _queue.Count;

    /// <summary>Waits for the job's turn and for the commit, which is how load is felt.</summary>
    public async Task<T> WriteAsync<T>(WriteJob<T> job, CancellationToken ct)
    {
        ct.ThrowIfCancellationRequested();
        using var registration = ct.UnsafeRegister(static (state, token) => ((WriteJob)state!).TryCancel(token), job);
        return _queue.TryAdd(job) ? await job.Told : throw Closed(cause: null);
    }

    /// <summary>What was queued is still written.</summary>
    public async ValueTask DisposeAsync()
    {
        CloseQueue(cause: null);
        await _stopping.CancelAsync();
        try
        {
            await _ended.Task.WaitAsync(StopTimeout, _time);
        }
        catch (TimeoutException)
        {
            StoreLog.WriterStuck(_log, StopTimeout);
            return; // The thread may still use what would be disposed.
        }
        _stopping.Dispose();
        _queue.Dispose();
    }

    private void RunGroups()
    {
        var group = new List<WriteJob>(GroupJobsMax);
        try
        {
            while (_queue.Take(group, _jobsMax, _bulkJobsMax))
            {
                RunGroup([.. group], mayLeave: true, isCareful: IsRecent(_failedAt, CarefulFor));
                group.Clear();
            }
            CloseConnection();
        }
        catch (Exception e)
        {
            // Only a bug in this class comes here. Callers must not wait for a thread that is gone.
            StoreLog.WriterDied(_log, e);
            FailAll([.. group], e);
            CloseQueue(e);
            for (group.Clear(); _queue.Take(group, GroupJobsMax, GroupJobsMax); group.Clear())
            {
                FailAll([.. group], Closed(e));
            }
        }
        _ended.SetResult();
    }

    private void CloseQueue(Exception? cause) => FailAll([.. _queue.Close()], Closed(cause));

    /// <summary>Why nothing is read or written any more.</summary>
    /// <param name="cause">The fault that ended a writer; null where the store is closed.</param>
    public static StoreUnavailableException Closed(Exception? cause) => cause is null
        ? new(StoreFault.Away, "The store is closing.")
        : new(StoreFault.Failing, "A writer has ended by a fault of the Hub: restart it.", cause);

    /// <summary>Commits the jobs; those of a group that cannot commit are halved until the culprit stands alone and bears the failure.</summary>
    /// <param name="mayLeave">Whether the group may end early. Halves may not: what they left would come behind what is after them.</param>
    /// <param name="isCareful">Whether a job that fails is undone alone; one that is alone needs no care.</param>
    /// <param name="parted">Jobs that failed together already.</param>
    private void RunGroup(ReadOnlySpan<WriteJob> jobs, bool mayLeave, bool isCareful, IReadOnlyList<WriteJob>? parted = null)
    {
        isCareful = isCareful && jobs.Length > 1;
        switch (TryCommit(jobs, mayLeave, isCareful, parted ?? []))
        {
            case null:
                _condition.Works();
                return;
            case JobFailedException { InnerException: { } failure } when jobs.Length == 1:
                NoteContention(failure);
                FailAll(jobs, failure);
                return;
            case JobFailedException failed:
                StoreLog.GroupRepeated(_log, jobs.Length, failed.InnerException!);
                _failedAt = _time.GetTimestamp();
                RunGroup(jobs, mayLeave, isCareful: true, failed.Jobs);
                return;
            case StoreUnavailableException unavailable:
                _condition.Failed(unavailable);
                StoreLog.GroupUnavailable(_log, jobs.Length, unavailable);
                CloseConnection();
                FailAll(jobs, unavailable);
                return;
            case var failure when jobs.Length == 1 || !_options.Guards.PoisonSplit:
                FailAll(jobs, failure);
                return;
            case var failure:
                StoreLog.GroupHalved(_log, jobs.Length, failure);
                RunGroup(jobs[..(jobs.Length / 2)], mayLeave: false, isCareful: true);
                RunGroup(jobs[(jobs.Length / 2)..], mayLeave: false, isCareful: true);
                return;
        }
    }

    /// <summary>Null when the group has committed and its callers are told, else why nothing of it has.</summary>
    private Exception? TryCommit(ReadOnlySpan<WriteJob> jobs, bool mayLeave, bool isCareful, IReadOnlyList<WriteJob> parted)
    {
        IReadOnlyList<(string TeamId, long Seq)> published;
        List<WriteJob> left;
        DbTransaction? transaction = null;
        try
        {
            _condition.ThrowIfLost();
            var open = _connection ??= OpenConnection();
            var unlocked = _options.Guards.EpochLock ? [] : ReadLinks(open, null, jobs);
            transaction = _engine.BeginWrite(open);
            _scope = null;
            var work = new StoreTransaction(_engine, open, transaction, _clock.ReadMs());
            work.Know(_options.Guards.EpochLock ? ReadLinks(open, transaction, jobs) : unlocked);
            left = RunJobs(jobs, open, transaction, work, mayLeave, isCareful, parted);
            Reach(WriteStep.BeforeCommit);
            published = Commit(open, transaction, work);
            transaction.Dispose();
            _engine.RequireStored(open);
            Reach(WriteStep.AfterCommit);
        }
        catch (Exception e)
        {
            // Whatever the job or the driver made of it, without the connection it says nothing about the jobs.
            var failure = _engine.Dialect.Translate(e) ?? e;
            var lost = _connection is { State: not ConnectionState.Open } && failure is not StoreUnavailableException;
            if (transaction is not null && !_engine.TryAbandon(transaction))
            {
                CloseConnection(); // It is in no known state; the failure that counts is the first.
            }
            return lost ? new StoreUnavailableException(StoreFault.Away, "The connection to the database was lost.", e) : failure;
        }

        if (left.Count == 0)
        {
            Publish(jobs, published);
        }
        else
        {
            WriteJob[] ran = [.. jobs.ToArray().Except(left)];
            Publish(ran, published);
            _queue.Return(left, ran.Select(job => job.Scope).ToHashSet());
        }

        _engine.CallersTold(_connection);
        return null;
    }

    private void Publish(ReadOnlySpan<WriteJob> jobs, IReadOnlyList<(string TeamId, long Seq)> published)
    {
        foreach (var job in jobs)
        {
            RunEffects(job);
            job.Deliver();
        }
        foreach (var (teamId, seq) in published)
        {
            _events.Publish(teamId, seq);
        }
        if (published.Count > 0)
        {
            _engine.AnnounceEvents();
        }
    }

    /// <param name="parted">Jobs that failed together once; again would cost the group as often as it has jobs.</param>
    /// <returns>The jobs that did not run.</returns>
    private List<WriteJob> RunJobs(
        ReadOnlySpan<WriteJob> jobs, DbConnection open, DbTransaction transaction, StoreTransaction work, bool mayLeave, bool isCareful,
        IReadOnlyList<WriteJob> parted)
    {
        var began = _time.GetTimestamp();
        var left = new List<WriteJob>();
        var (savepoint, isOver, bulkRan) = (false, false, 0);
        var ran = new HashSet<WriteJob>(ReferenceEqualityComparer.Instance);
        var apart = new HashSet<WriteJob>(parted, ReferenceEqualityComparer.Instance);
        for (var i = 0; i < jobs.Length; i++)
        {
            var job = jobs[i];
            if (ran.Contains(job))
            {
                continue;
            }

            var isShared = IsShared(jobs);
            isOver = isOver || (mayLeave && i > 0 && _time.GetElapsedTime(began) >= (isShared ? _engine.SharedGroupTarget : AloneGroupTarget));
            if (isOver && (bulkRan > 0 || !job.IsBulk)) // Some of the bulk runs in any case, so that what is urgent does not starve it.
            {
                left.Add(job);
                continue;
            }

            Reach(WriteStep.BeforeJob);
            job.Effects = [];
            job.Failure = work.Check(job.Fence);
            if (job.Failure is null && _options.Guards.PoisonSplit)
            {
                var together = apart.Contains(job) ? [] : Together(jobs[i..], work, isShared ? _engine.SharedWeightMax : AloneWeightMax);
                if (!isCareful)
                {
                    OrFail([], work.Send);
                    EnterScope(open, transaction, job.Scope);
                    IReadOnlyList<WriteJob> run = together.Count > 1 ? together : [job];
                    OrFail(run, () => Run(run, work, send: false));
                }
                else
                {
                    _engine.BeginJob(open, transaction, job.Scope, releasePrevious: savepoint);
                    _scope = job.Scope;
                    savepoint = true;
                    if (together.Count <= 1 || !TryRunTogether(together, open, transaction, work))
                    {
                        apart.UnionWith(together);
                        together = [];
                        EnterScope(open, transaction, job.Scope); // Again, where those that ran together were undone.
                        RunIsolated(job, open, transaction, work);
                    }
                }

                ran.UnionWith(together);
                bulkRan += together.Count(other => other.IsBulk && other != job);
            }
            else if (job.Failure is null)
            {
                EnterScope(open, transaction, job.Scope);
                Run([job], work, send: true);
            }

            bulkRan += job.IsBulk ? 1 : 0;
            Reach(WriteStep.AfterJob);
            if (!_options.Guards.AckAfterCommit)
            {
                job.Deliver();
            }
        }

        if (mayLeave)
        {
            _jobsMax = Math.Clamp(2 * (left.Count == 0 ? _jobsMax : jobs.Length - left.Count), TakenMin, GroupJobsMax);
            if (jobs[^1].IsBulk)
            {
                _bulkJobsMax = Math.Clamp(2 * bulkRan, TakenMin, GroupJobsMax);
            }
        }

        return left;
    }

    /// <summary>Whether anybody waits for the writer, or did a moment ago, besides the bulk of one team.</summary>
    private bool IsShared(ReadOnlySpan<WriteJob> jobs)
    {
        if (!jobs[^1].IsBulk || !jobs[0].IsBulk || jobs[0].Scope != jobs[^1].Scope || _queue.HasOthers(jobs[0].Scope))
        {
            _sharedAt = _time.GetTimestamp();
        }

        return IsRecent(_sharedAt, SharedFor);
    }

    private bool IsRecent(long? timestamp, TimeSpan within) => timestamp is { } at && _time.GetElapsedTime(at) < within;

    /// <summary>
    /// The first job and those after it that share its work and may run. Other teams' jobs are passed over, and so is other shared work, of
    /// which nobody knows yet that it was asked for first; a job of its team that runs alone is not.
    /// </summary>
    private static List<WriteJob> Together(ReadOnlySpan<WriteJob> jobs, StoreTransaction work, int weightMax)
    {
        var together = new List<WriteJob>();
        var weight = 0;
        foreach (var job in jobs)
        {
            if (job.Scope != jobs[0].Scope || (job.SharedWork is not null && job.SharedWork != jobs[0].SharedWork))
            {
                continue;
            }

            weight += job.Weight;
            if (job.SharedWork is null || work.Check(job.Fence) is not null || weight > weightMax)
            {
                break;
            }

            together.Add(job);
        }

        return together;
    }

    /// <summary>Does what fails the group if it fails.</summary>
    /// <param name="jobs">Those that are at fault then, if that is known.</param>
    /// <exception cref="JobFailedException">A job is at fault.</exception>
    private void OrFail(IReadOnlyList<WriteJob> jobs, Action run)
    {
        try
        {
            run();
        }
        catch (Exception e)
        {
            // What a job throws is its own, whatever it looks like: what the driver threw at it was translated there.
            var failure = jobs.Count > 0 ? e : _engine.Dialect.Translate(e) ?? e;
            if (IsOutage(failure))
            {
                throw;
            }

            throw new JobFailedException(jobs, failure);
        }
    }

    /// <summary>Whether it is nobody's fault, and fails the group.</summary>
    private static bool IsOutage(Exception failure) => failure is StoreUnavailableException { Fault: not StoreFault.Contended };

    /// <summary>False if anything of it failed: the group is as it was before, and each has to run by itself.</summary>
    private bool TryRunTogether(List<WriteJob> jobs, DbConnection open, DbTransaction transaction, StoreTransaction work)
    {
        try
        {
            Run(jobs, work, send: true);
            return true;
        }
        catch (Exception e) when (!IsOutage(e))
        {
            StoreLog.JobsParted(_log, jobs.Count, e);
            RollBack(open, transaction, e);
            return false;
        }
    }

    private void RunIsolated(WriteJob job, DbConnection open, DbTransaction transaction, StoreTransaction work)
    {
        try
        {
            Run([job], work, send: true);
        }
        catch (Exception e) when (!IsOutage(e))
        {
            // Whatever a job throws is its caller's; the group only has to be as it was before the job. An outage is nobody's: it fails the group.
            NoteContention(e);
            job.Failure = e;
            RollBack(open, transaction, e);
        }
    }

    private void RollBack(DbConnection open, DbTransaction transaction, Exception failure)
    {
        try
        {
            _scope = null; // Undone with the job.
            StoreEngine.RollBackJob(open, transaction);
        }
        catch (Exception rollback)
        {
            StoreLog.SavepointLost(_log, rollback);
            ExceptionDispatchInfo.Throw(failure); // The group fails for what the job did, and halving finds the job.
        }
    }

    private void NoteContention(Exception failure)
    {
        if (failure is StoreUnavailableException contended)
        {
            _condition.Failed(contended);
        }
    }

    /// <summary>Runs jobs that share their work, or one.</summary>
    /// <param name="send">Whether what they write is sent at once: whatever fails by it is theirs then.</param>
    private void Run(IReadOnlyList<WriteJob> jobs, StoreTransaction work, bool send)
    {
        foreach (var job in jobs)
        {
            (job.Effects, job.Failure) = ([], null);
        }

        work.BeginJob();
        try
        {
            jobs[0].Run(work, jobs);
            jobs[0].Effects = work.EndJob(noteEpochs: _options.Guards.EpochLock, send);
        }
        finally
        {
            work.AbandonJob();
        }
    }

    /// <summary>
    /// The rows of the hosts that the jobs' fences name. Within the transaction the rows are locked against a takeover until the
    /// commit; comparing without the lock would let an old link commit after it.
    /// </summary>
    private IReadOnlyList<FencedLink> ReadLinks(DbConnection open, DbTransaction? transaction, ReadOnlySpan<WriteJob> jobs)
    {
        var hosts = new SortedSet<string>(StringComparer.Ordinal);
        var scopes = new HashSet<TeamScope>();
        foreach (var job in jobs)
        {
            if (job.Fence is { } fence)
            {
                hosts.Add(fence.HostId);
                scopes.Add(job.Scope);
            }
        }
        if (hosts.Count == 0)
        {
            return [];
        }
        var dialect = _engine.Dialect;
        var sql = $"select {FencedLink.Columns} from links where {dialect.In("host_id", "hosts")} order by host_id";
        var values = new DynamicParameters();
        values.Add("hosts", dialect.InValue(hosts));
        if (transaction is null)
        {
            return open.Query<FencedLink>(sql, values).AsList();
        }
        var scope = scopes.Contains(TeamScope.System) ? TeamScope.System : TeamScope.Of(scopes.Select(s => s.Csv));
        var links = _engine.Query<FencedLink>(open, transaction, scope, sql + dialect.ForShare, values);
        _scope = scope;
        return links;
    }

    /// <summary>Returns each team's last number.</summary>
    private IReadOnlyList<(string TeamId, long Seq)> Commit(DbConnection open, DbTransaction transaction, StoreTransaction work)
    {
        var teams = work.Events.GroupBy(e => e.TeamId).OrderBy(team => team.Key, StringComparer.Ordinal).ToList();
        TeamScope? enter = teams.Count > 0 && TeamScope.Of(teams.Select(team => team.Key)) is var scope && scope != _scope ? scope : null;
        IReadOnlyList<(string TeamId, long Seq)> last = [];
        if (work.Unsent.Count == 0)
        {
            Send();
        }
        else
        {
            OrFail([], Send);
        }

        return last;

        void Send() => last = _engine.Commit(open, transaction, work.Unsent, enter, teams, work.NowMs);
    }

    private void EnterScope(DbConnection open, DbTransaction transaction, TeamScope scope)
    {
        if (_scope != scope)
        {
            _engine.EnterScope(open, transaction, scope);
            _scope = scope;
        }
    }

    private void RunEffects(WriteJob job)
    {
        foreach (var effect in job.Effects)
        {
            try
            {
                effect();
            }
            catch (Exception e)
            {
                // The data is committed; the other effects and the caller must still hear of it.
                StoreLog.EffectFailed(_log, e);
            }
        }
    }

    private void Reach(WriteStep step)
    {
        try
        {
            _options.FaultInjector?.Invoke(step);
        }
        catch (Exception e)
        {
            throw new StoreUnavailableException(StoreFault.Failing, $"The writer died at {step}.", e);
        }
    }

    private DbConnection OpenConnection()
    {
        if (_reopenDelay > TimeSpan.Zero)
        {
            // Ended early by the shutdown, which then fails what is left without waiting.
            ((IAsyncResult)Task.Delay(_reopenDelay, _time, _stopping.Token)).AsyncWaitHandle.WaitOne();
        }
        try
        {
            var open = _engine.OpenWriter();
            _reopenDelay = TimeSpan.Zero;
            return open;
        }
        catch (Exception e)
        {
            _reopenDelay = _reopenDelay == TimeSpan.Zero ? ReopenDelayMin : TimeSpan.FromTicks(Math.Min(2 * _reopenDelay.Ticks, ReopenDelayMax.Ticks));
            // Whatever keeps it from being opened, also a refused login, says nothing about the jobs.
            throw _engine.Dialect.Translate(e) as StoreUnavailableException
                ?? new StoreUnavailableException(StoreFault.Away, $"The database cannot be opened: {e.Message}", e);
        }
    }

    private void CloseConnection()
    {
        _connection?.Dispose();
        _connection = null;
    }

    private static void FailAll(ReadOnlySpan<WriteJob> jobs, Exception failure)
    {
        foreach (var job in jobs)
        {
            job.Fail(failure);
        }
    }

    /// <summary>A job of the group is at fault; the transaction is of no use any more.</summary>
    private sealed class JobFailedException(IReadOnlyList<WriteJob> jobs, Exception cause) : Exception(cause.Message, cause)
    {
        /// <summary>The job, or all that ran together with it; none where what failed is what some of the group left to be written.</summary>
        public IReadOnlyList<WriteJob> Jobs { get; } = jobs;
    }
}
