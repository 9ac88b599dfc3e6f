using System.Data.Common;
using Dapper;

namespace Hub.Storage;

/// <summary>An event row before its team's number is known; see <see cref="StoreTransaction.AppendEvent"/>.</summary>
internal readonly record struct PendingEvent(string TeamId, string Kind, string? HostId, string EntityId, long Version);

/// <summary>Connections of one database engine and what a transaction on them needs around the feature's SQL.</summary>
internal abstract class StoreEngine : IAsyncDisposable
{
    public abstract IDialect Dialect { get; }

    public abstract int WriterCount { get; }

    /// <summary>How long the jobs of a group run while others wait for its commit: a few times what a group costs besides its jobs.</summary>
    public abstract TimeSpan SharedGroupTarget { get; }

    /// <summary>Events of jobs that run together meanwhile: what takes about as long.</summary>
    public abstract int SharedWeightMax { get; }

    /// <summary>Opens a write connection, sets its durability and reads it back; the caller owns it.</summary>
    public abstract DbConnection OpenWriter();

    /// <summary>On SQLite this takes the write lock of the database.</summary>
    public abstract DbTransaction BeginWrite(DbConnection connection);

    /// <summary>Called after a commit: whoever opens the database next must find it there.</summary>
    /// <exception cref="StoreUnavailableException">It went to a file that nobody can open again.</exception>
    public abstract void RequireStored(DbConnection connection);

    /// <summary>Called when the callers of a commit have been told: for upkeep that none of them should wait for. Never throws.</summary>
    public virtual void CallersTold(DbConnection connection)
    {
    }

    /// <summary>Restricts the rest of the transaction to the teams.</summary>
    public abstract void EnterScope(DbConnection connection, DbTransaction transaction, TeamScope scope);

    /// <summary>Runs a query, and enters the scope before in the same round trip.</summary>
    /// <param name="enter">Null where the transaction is in it already.</param>
    public abstract IReadOnlyList<T> Query<T>(
        DbConnection connection, DbTransaction transaction, TeamScope? enter, string sql, DynamicParameters values);

    /// <summary>
    /// Enters the scope behind a new savepoint, in one round trip; releases the previous job's when there is one. The scope comes after
    /// the savepoint, so that rolling back to it undoes the scope too.
    /// </summary>
    public abstract void BeginJob(DbConnection connection, DbTransaction transaction, TeamScope scope, bool releasePrevious);

    /// <summary>Ends a transaction that failed, or has ended; what is wrong with it does not take the place of the failure.</summary>
    /// <returns>False if the connection is of no more use.</returns>
    public virtual bool TryAbandon(DbTransaction transaction)
    {
        try
        {
            transaction.Dispose();
            return true;
        }
        catch (Exception e) when (e is DbException or InvalidOperationException)
        {
            return false;
        }
    }

    /// <summary>
    /// Numbers the events of each team, inserts them and commits. The counter's row stays locked until the commit, hence numbers are committed
    /// in order and without a gap; the teams come in sorted order, so that two replicas cannot deadlock.
    /// </summary>
    /// <param name="before">Calls to make before; on PostgreSQL everything here is one round trip.</param>
    /// <param name="enter">The scope of the teams; null where the transaction is in it already, or there are no events.</param>
    /// <returns>Each team's last number.</returns>
    public abstract IReadOnlyList<(string TeamId, long Seq)> Commit(
        DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> before, TeamScope? enter,
        IReadOnlyList<IGrouping<string, PendingEvent>> teams, long nowMs);

    public static void RollBackJob(DbConnection connection, DbTransaction transaction) =>
        connection.Execute("rollback to savepoint job", transaction: transaction);

    /// <summary>Makes the calls in their order; on PostgreSQL in one round trip.</summary>
    public abstract void Execute(DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> calls);

    /// <summary>Runs the read in one read-only snapshot on a connection of the bounded pool.</summary>
    public abstract Task<T> ReadAsync<T>(TeamScope scope, Func<StoreReader, Task<T>> read, CancellationToken ct);

    /// <summary>A read of one query.</summary>
    /// <param name="byKey">It finds its rows by key.</param>
    public abstract Task<IReadOnlyList<T>> QueryAsync<T>(TeamScope scope, string sql, object? args, bool byKey, CancellationToken ct);

    /// <summary>Holds off every other process that migrates, until the transaction ends.</summary>
    public abstract void LockMigrations(DbConnection connection, DbTransaction transaction);

    /// <summary>The step's SQL for this engine.</summary>
    public abstract string MigrationSql(Migration migration);

    /// <summary>Runs in the migration lock before the first step and after the last; idempotent.</summary>
    public abstract void PrepareRoles(DbConnection connection, DbTransaction transaction);

    public abstract void SecureTables(DbConnection connection, DbTransaction transaction);

    /// <summary>Called once, when the schema is the final one.</summary>
    public abstract void SchemaReady(EventSignal events);

    /// <summary>Tells the other processes that events were committed; cheap, may be called by any thread.</summary>
    public abstract void AnnounceEvents();

    public abstract ValueTask DisposeAsync();
}
