using System.Text;

namespace Hub.Storage;

/// <summary>The database as the Hub uses it: writes are jobs for a <see cref="Writer"/>, reads are snapshots. One per process.</summary>
internal sealed class Store : IAsyncDisposable
{
    /// <summary>The team of a job that belongs to none; such a job sees every team.</summary>
    public const string SystemTeam = "";

    private readonly StoreEngine _engine;

    private readonly Writer[] _writers;

    private volatile bool _closed;

    private Store(StoreEngine engine, int schemaVersion, StoreOptions options, TimeProvider time, ILoggerFactory logs)
    {
        _engine = engine;
        SchemaVersion = schemaVersion;
        Events = new EventSignal(TimeProvider.System); // It spares the processor, whose time is never another.
        engine.SchemaReady(Events);
        var clock = new StoreClock(time);
        var log = logs.CreateLogger<Writer>();
        Condition = new StoreCondition(time, logs.CreateLogger<Store>());
        _writers = [.. Enumerable.Range(0, engine.WriterCount).Select(i => new Writer(i, engine, options, clock, Events, Condition, time, log))];
    }

    /// <summary>Wake-ups for those who tail a team's events.</summary>
    public EventSignal Events { get; }

    /// <summary>Whether it works, and what an operator should do when it does not.</summary>
    public StoreCondition Condition { get; }

    public IDialect Dialect => _engine.Dialect;

    public int SchemaVersion { get; }

    /// <summary>Jobs that have a slot in the queue of a writer.</summary>
    public int QueuedJobs => _writers.Sum(writer => writer.QueuedJobs);

    /// <summary>Opens the database, migrates it unless told not to, checks its durability and starts the writers.</summary>
    /// <exception cref="StoreRefusedException">It cannot be served as configured.</exception>
    /// <exception cref="StoreUnavailableException">It cannot be reached at the moment.</exception>
    public static async Task<Store> OpenAsync(StoreOptions options, TimeProvider time, ILoggerFactory logs, CancellationToken ct)
    {
        RowMap.Install();
        ArgumentOutOfRangeException.ThrowIfLessThan(options.WriterCount, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.WriterCount, StoreOptions.WriterCountMax);
        StoreEngine engine = options.Backend == StoreBackend.Sqlite ? new SqliteEngine(options) : new PostgresEngine(options, time, logs);
        try
        {
            var migrator = new Migrator(engine, options.Migrations ?? Migration.Embedded(), time, logs.CreateLogger<Migrator>());
            // The drivers' synchronous calls, once, off the caller's thread.
            return await Task.Run(() => new Store(engine, options.Migrate ? migrator.Apply() : migrator.Verify(), options, time, logs), ct);
        }
        catch (Exception e)
        {
            await engine.DisposeAsync();
            if (engine.Dialect.Translate(e) is { } known)
            {
                throw known;
            }
            throw;
        }
    }

    /// <summary>
    /// Runs the job in the team's next group and returns once it is committed. The team's jobs run in their order, in turns with other teams'. A job that has
    /// not started can be cancelled; one that has runs on.
    /// </summary>
    /// <exception cref="ConstraintException">The job, or its group's commit because of it, violated a constraint.</exception>
    /// <exception cref="StoreUnavailableException">The database is at fault: retry.</exception>
    public Task<T> WriteAsync<T>(string teamId, Func<StoreTransaction, T> job, CancellationToken ct = default) =>
        WriterOf(teamId).WriteAsync(new LoneJob<T>(teamId, null, job), ct);

    public Task WriteAsync(string teamId, Action<StoreTransaction> job, CancellationToken ct = default) =>
        WriteAsync(teamId, Returning(job), ct);

    /// <summary>As <see cref="WriteAsync{T}"/>, for a job that speaks for a link.</summary>
    /// <exception cref="LinkFencedException">A newer link of the host exists; the job was not run.</exception>
    public Task<T> WriteFencedAsync<T>(string teamId, Fence fence, Func<StoreTransaction, T> job, CancellationToken ct = default) =>
        WriterOf(teamId).WriteAsync(new LoneJob<T>(teamId, fence, job), ct);

    /// <summary>
    /// As <see cref="WriteFencedAsync{T}"/>, for a job that may wait behind others: a node that replays a long absence must not hold up
    /// commands. Bulk jobs of a team keep their order among themselves.
    /// </summary>
    /// <param name="fence">Null for a job that speaks for no link.</param>
    /// <exception cref="LinkFencedException">A newer link of the host exists; the job was not run.</exception>
    public Task<T> WriteBulkAsync<T>(string teamId, Fence? fence, Func<StoreTransaction, T> job, CancellationToken ct = default) =>
        WriterOf(teamId).WriteAsync(new LoneJob<T>(teamId, fence, job, isBulk: true), ct);

    /// <summary>As <see cref="WriteFencedAsync{T}"/> or <see cref="WriteBulkAsync{T}"/>, for work that others in the group share.</summary>
    /// <param name="fence">Null for an input that speaks for no link.</param>
    /// <exception cref="LinkFencedException">A newer link of the host exists; the input was not worked on.</exception>
    public Task<T> WriteSharedAsync<TInput, T>(
        string teamId, Fence? fence, ISharedWork<TInput, T> work, TInput input, bool isBulk, CancellationToken ct = default) =>
        WriterOf(teamId).WriteAsync(new SharedJob<TInput, T>(teamId, fence, work, input, isBulk), ct);

    public Task WriteFencedAsync(string teamId, Fence fence, Action<StoreTransaction> job, CancellationToken ct = default) =>
        WriteFencedAsync(teamId, fence, Returning(job), ct);

    /// <summary>Runs the read in one snapshot, which holds a connection of a bounded pool: no waiting for anything else inside.</summary>
    public Task<T> ReadAsync<T>(TeamScope scope, Func<StoreReader, Task<T>> read, CancellationToken ct = default) =>
        TryAsync(() => _engine.ReadAsync(scope, read, ct), ct);

    /// <summary>A read of one query.</summary>
    public Task<IReadOnlyList<T>> QueryAsync<T>(TeamScope scope, string sql, object? args = null, CancellationToken ct = default) =>
        TryAsync(() => _engine.QueryAsync<T>(scope, sql, args, byKey: false, ct), ct);

    /// <summary>A read of one query that finds its rows by key: few, however much is stored.</summary>
    public Task<IReadOnlyList<T>> FindAsync<T>(TeamScope scope, string sql, object? args = null, CancellationToken ct = default) =>
        TryAsync(() => _engine.QueryAsync<T>(scope, sql, args, byKey: true, ct), ct);

    /// <inheritdoc cref="FindAsync"/>
    public async Task<T> QuerySingleAsync<T>(TeamScope scope, string sql, object? args = null, CancellationToken ct = default) =>
        (await FindAsync<T>(scope, sql, args, ct)).Single();

    /// <inheritdoc cref="FindAsync"/>
    public async Task<T?> QuerySingleOrDefaultAsync<T>(TeamScope scope, string sql, object? args = null, CancellationToken ct = default) =>
        (await FindAsync<T>(scope, sql, args, ct)).SingleOrDefault();

    public async ValueTask DisposeAsync()
    {
        foreach (var writer in _writers)
        {
            await writer.DisposeAsync();
        }
        _closed = true;
        await _engine.DisposeAsync();
    }

    private async Task<T> TryAsync<T>(Func<Task<T>> read, CancellationToken ct)
    {
        Condition.ThrowIfLost();
        if (_closed)
        {
            throw Writer.Closed(cause: null);
        }

        try
        {
            return await read();
        }
        catch (Exception e) when (!(e is OperationCanceledException && ct.IsCancellationRequested) && Dialect.Translate(e) is { } known)
        {
            if (known is StoreUnavailableException { IsFinal: true } lost)
            {
                // The Writers must stop too. Whether the store is away they find by themselves: one broken read connection is no outage.
                Condition.Failed(lost);
            }
            throw known;
        }
    }

    private static Func<StoreTransaction, bool> Returning(Action<StoreTransaction> job) => transaction =>
    {
        job(transaction);
        return true;
    };

    /// <summary>Always the same for a team, so that its jobs run in the order they came and never wait for each other's locks.</summary>
    private Writer WriterOf(string teamId)
    {
        // FNV-1a; string.GetHashCode differs from process to process.
        var hash = 2166136261u;
        foreach (var octet in Encoding.UTF8.GetBytes(teamId))
        {
            hash = (hash ^ octet) * 16777619u;
        }
        return _writers[hash % (uint)_writers.Length];
    }
}
