using System.Data.Common;
using Dapper;

namespace Hub.Storage;

/// <summary>
/// What a write job works with: synchronous statements on the Writer's connection, in the group's transaction.
/// Valid only while the job runs. A job may run more than once, so it has no effect but through this and <see cref="OnCommitted"/>;
/// it must not wait for another job, which would stand behind it. A statement that failed dooms the job, even if the job goes on.
/// </summary>
internal sealed class StoreTransaction(StoreEngine engine, DbConnection connection, DbTransaction transaction, long nowMs)
{
    /// <summary>A job that makes more events than this is a bug, found before it fills the memory.</summary>
    public const int EventsPerJobMax = 10_000;

    private readonly List<PendingEvent> _groupEvents = [];

    private readonly List<PendingEvent> _jobEvents = [];

    private readonly List<RowsCall> _unsent = [];

    private readonly Dictionary<string, FencedLink> _links = new(StringComparer.Ordinal);

    private readonly Dictionary<string, long> _jobEpochs = new(StringComparer.Ordinal);

    private readonly Dictionary<string, FencedLink> _jobLinks = new(StringComparer.Ordinal);

    private List<Action> _jobEffects = [];

    private bool _running;

    private Exception? _doom;

    /// <summary>Epoch milliseconds, one value for the whole group.</summary>
    public long NowMs { get; } = nowMs;

    public IDialect Dialect => engine.Dialect;

    public int Execute(string sql, object? args = null) => Run(() => connection.Execute(sql, args, transaction));

    public T? QuerySingleOrDefault<T>(string sql, object? args = null) => Run(() => connection.QuerySingleOrDefault<T>(sql, args, transaction));

    public T QuerySingle<T>(string sql, object? args = null) => Run(() => connection.QuerySingle<T>(sql, args, transaction));

    public IReadOnlyList<T> Query<T>(string sql, object? args = null) => Run(() => connection.Query<T>(sql, args, transaction).AsList());

    /// <summary>
    /// Takes effect before the next statement, or else at the end of the job or of its group: what is written in a row goes in one round
    /// trip. A failure shows there.
    /// </summary>
    /// <param name="rows">Not changed afterwards.</param>
    public void Execute<T>(RowsStatement<T> statement, IReadOnlyList<T> rows)
    {
        RequireRunning();
        if (rows.Count > 0)
        {
            _unsent.Add(statement.On(rows));
        }
    }

    public IReadOnlyList<TResult> Query<T, TResult>(RowsStatement<T> statement, IReadOnlyList<T> rows) =>
        rows.Count == 0
            ? []
            : Run(() => Dialect.QueriesOf(statement.On(rows))
                .SelectMany(query => connection.Query<TResult>(query.Sql, query.Values, transaction)).AsList());

    /// <summary>
    /// Makes a visible change known to the team's watchers. Events are numbered and written once per group, at its end, so that the row
    /// that orders a team's commits is locked for a moment only.
    /// </summary>
    public void AppendEvent(string teamId, string kind, string? hostId, string entityId, long version)
    {
        RequireRunning();
        _ = TeamScope.Of(teamId);
        if (_jobEvents.Count == EventsPerJobMax)
        {
            throw new InvalidOperationException($"A job appends at most {EventsPerJobMax} events.");
        }
        _jobEvents.Add(new PendingEvent(teamId, kind, hostId, entityId, version));
    }

    /// <summary>
    /// Raises the host's epoch and returns it; null if the host has no link row. The one way to do so: jobs with the old epoch that come
    /// later, even in this group, are fenced off. The new epoch is above <paramref name="above"/> too: a store restored from a backup may
    /// know lower epochs than its nodes.
    /// </summary>
    public long? RaiseEpoch(string hostId, long above = 0)
    {
        var epoch = QuerySingleOrDefault<long?>(
            "update links set epoch = case when epoch > @above then epoch else @above end + 1 where host_id = @hostId returning epoch",
            new { hostId, above });
        if (epoch is { } raised)
        {
            _jobEpochs[hostId] = raised;
        }
        return epoch;
    }

    /// <summary>The row of a host that a fence of the job names.</summary>
    public FencedLink LinkOf(string hostId)
    {
        RequireRunning();
        return _jobLinks.TryGetValue(hostId, out var moved) ? moved : _links[hostId];
    }

    /// <summary>Makes what the job writes to the row known to the jobs after it.</summary>
    /// <param name="link">As it is then.</param>
    public void Moved(FencedLink link)
    {
        RequireRunning();
        _jobLinks[link.HostId] = link;
    }

    /// <summary>
    /// Does something in memory after the commit, before the job's task completes; effects run in the order of the jobs, on the Writer's
    /// thread, so they are cheap and never fail.
    /// </summary>
    public void OnCommitted(Action effect)
    {
        RequireRunning();
        _jobEffects.Add(effect);
    }

    internal IReadOnlyList<PendingEvent> Events => _groupEvents;

    /// <summary>What jobs that have ended left to be written.</summary>
    internal IReadOnlyList<RowsCall> Unsent => _unsent;

    /// <summary>Writes what is unsent.</summary>
    internal void Send()
    {
        if (_unsent.Count > 0)
        {
            engine.Execute(connection, transaction, _unsent);
            _unsent.Clear();
        }
    }

    /// <summary>The rows of the hosts that the group's fences name.</summary>
    internal void Know(IEnumerable<FencedLink> links)
    {
        foreach (var link in links)
        {
            _links[link.HostId] = link;
        }
    }

    internal LinkFencedException? Check(Fence? fence)
    {
        if (fence is not { } given)
        {
            return null;
        }
        var stored = _links.GetValueOrDefault(given.HostId)?.Epoch;
        return stored == given.Epoch ? null : new LinkFencedException(given, stored);
    }

    internal void BeginJob()
    {
        _running = true;
        _doom = null;
        _jobEvents.Clear();
        _jobEpochs.Clear();
        _jobLinks.Clear();
        _jobEffects = [];
    }

    /// <summary>Keeps what the job gathered and returns its effects, or throws the failure the job hid.</summary>
    /// <param name="send">Whether what it wrote is sent: whatever fails by it fails the job.</param>
    internal IReadOnlyList<Action> EndJob(bool noteEpochs, bool send)
    {
        if (_doom is not null)
        {
            throw new InvalidOperationException("The job went on after a failed statement.", _doom);
        }
        if (send)
        {
            Run(() => true); // It sends before it does anything.
        }
        _running = false;
        _groupEvents.AddRange(_jobEvents);
        Know(_jobLinks.Values);
        if (noteEpochs)
        {
            Know(_jobEpochs.Where(raised => _links.ContainsKey(raised.Key)).Select(raised => _links[raised.Key] with { Epoch = raised.Value }));
        }
        return _jobEffects;
    }

    /// <summary>Forgets the job, if it has not ended.</summary>
    internal void AbandonJob()
    {
        if (_running)
        {
            _running = false;
            _unsent.Clear();
        }
    }

    private T Run<T>(Func<T> statement)
    {
        RequireRunning();
        try
        {
            Send();
            return statement();
        }
        catch (Exception e)
        {
            _doom = Dialect.Translate(e);
            if (_doom is null)
            {
                _doom = e;
                throw;
            }
            throw _doom;
        }
    }

    private void RequireRunning()
    {
        if (!_running)
        {
            throw new InvalidOperationException("A StoreTransaction is valid only while its job runs.");
        }
    }
}
