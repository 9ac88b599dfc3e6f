using System.Collections.Concurrent;
using System.Data;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Hub.Storage;

/// <summary>One file, one writer, readers beside it on snapshots (WAL).</summary>
internal sealed class SqliteEngine : StoreEngine
{
    // Pages a connection keeps, in KiB of memory. With SQLite's own 2 MiB the Writer reads most pages of a database of some size again for
    // every group, and writes those of a large group before their time and then once more.
    private const int WriterCacheKib = 64 * 1024;
    private const int ReaderCacheKib = 8 * 1024;

    private const string NextSeqSql = """
        insert into team_counters (team_id, event_seq) values (@teamId, @count)
        on conflict (team_id) do update set event_seq = team_counters.event_seq + excluded.event_seq
        returning event_seq
        """;

    private static readonly RowsStatement<NumberedEvent> InsertEvents = new(
        "insert into events (team_id, seq, kind, host_id, entity_id, version, at) select * from {rows}",
        Column<NumberedEvent>.Of("team_id", row => row.Event.TeamId),
        Column<NumberedEvent>.Of("seq", row => row.Seq),
        Column<NumberedEvent>.Of("kind", row => row.Event.Kind),
        Column<NumberedEvent>.Of("host_id", row => row.Event.HostId),
        Column<NumberedEvent>.Of("entity_id", row => row.Event.EntityId),
        Column<NumberedEvent>.Of("version", row => row.Event.Version),
        Column<NumberedEvent>.Of("at", row => row.At));

    private readonly SqliteDialect _dialect;

    private readonly StoreOptions _options;

    private readonly SemaphoreSlim _readerSlots;

    private readonly SqliteCheckpoints _checkpoints = new();

    // From then on a missing file is one that was removed, never one to make.
    private volatile bool _served;

    // The Writer's thread alone; false only where relaxed durability accepts a file system without one.
    private bool _hasLog;

    // Read connections at rest; at most ReadersMax, since one exists only for a slot.
    private readonly ConcurrentBag<SqliteStatements> _idleReaders = [];

    public SqliteEngine(StoreOptions options)
    {
        SqliteLibrary.Load();
        _options = options;
        _dialect = new SqliteDialect(options.SqlitePath);
        _readerSlots = new SemaphoreSlim(options.ReadersMax);
    }

    public override IDialect Dialect => _dialect;

    public override TimeSpan SharedGroupTarget => TimeSpan.FromMilliseconds(2);

    public override int SharedWeightMax => 64;

    public override int WriterCount => 1;

    public override DbConnection OpenWriter()
    {
        RequireFile();
        var connection = Open(_served ? SqliteOpenMode.ReadWrite : SqliteOpenMode.ReadWriteCreate, WriterCacheKib);
        try
        {
            // SQLite opens what it may not write all the same, and lets a transaction begin.
            if (raw.sqlite3_db_readonly(connection.Handle, "main") == 1)
            {
                throw _dialect.Unavailable(StoreFault.ReadOnly);
            }
            connection.Execute(_options.RelaxedDurability
                ? "pragma journal_mode = wal; pragma synchronous = normal"
                : "pragma journal_mode = wal; pragma synchronous = full");
            RequireDurability(connection);
            if (!_served)
            {
                RequireIntact(connection);
            }
            _checkpoints.Follow(connection, Open(SqliteOpenMode.ReadWrite));
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public override void RequireStored(DbConnection connection)
    {
        // SQLite itself looks only when it keeps a rollback journal.
        RequireInPlace(connection);
        if (_hasLog && !File.Exists(Log))
        {
            throw _dialect.Unavailable(StoreFault.Removed);
        }
    }

    public override void CallersTold(DbConnection connection) => _checkpoints.Advance((SqliteConnection)connection);

    public override DbTransaction BeginWrite(DbConnection connection) => ((SqliteConnection)connection).BeginTransaction(deferred: false);

    public override bool TryAbandon(DbTransaction transaction)
    {
        if (transaction.Connection is not SqliteConnection { State: ConnectionState.Open, Handle: { } handle })
        {
            return base.TryAbandon(transaction);
        }
        // SQLite has rolled back by itself when the disk was full. The driver does not always see it, and could neither roll back nor close then.
        if (raw.sqlite3_get_autocommit(handle) != 0)
        {
            raw.sqlite3_exec(handle, "begin");
        }
        var abandoned = base.TryAbandon(transaction);
        if (raw.sqlite3_get_autocommit(handle) == 0)
        {
            raw.sqlite3_exec(handle, "rollback"); // The driver had seen it, and left the new transaction alone.
        }
        return abandoned;
    }

    public override void EnterScope(DbConnection connection, DbTransaction transaction, TeamScope scope)
    {
        // SQLite has no row level security.
    }

    public override IReadOnlyList<T> Query<T>(
        DbConnection connection, DbTransaction transaction, TeamScope? enter, string sql, DynamicParameters values) =>
        connection.Query<T>(sql, values, transaction).AsList();

    public override void BeginJob(DbConnection connection, DbTransaction transaction, TeamScope scope, bool releasePrevious) =>
        connection.Execute(releasePrevious ? "release savepoint job; savepoint job" : "savepoint job", transaction: transaction);

    public override void Execute(DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> calls)
    {
        foreach (var call in calls)
        {
            using var command = connection.CreateCommand();
            (command.CommandText, command.Transaction) = (call.RowSql, transaction);
            foreach (var column in call.ColumnNames)
            {
                command.Parameters.Add(new SqliteParameter { ParameterName = column });
            }

            for (var row = 0; row < call.RowCount; row++)
            {
                for (var i = 0; i < call.ColumnNames.Count; i++)
                {
                    command.Parameters[i].Value = call.Value(i, row) ?? DBNull.Value;
                }

                command.ExecuteNonQuery();
            }
        }
    }

    public override IReadOnlyList<(string TeamId, long Seq)> Commit(
        DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> before, TeamScope? enter,
        IReadOnlyList<IGrouping<string, PendingEvent>> teams, long nowMs)
    {
        Execute(connection, transaction, before);
        var last = new List<(string TeamId, long Seq)>(teams.Count);
        var numbered = new List<NumberedEvent>();
        foreach (var team in teams)
        {
            var count = team.Count();
            var seq = connection.QuerySingle<long>(NextSeqSql, new { teamId = team.Key, count }, transaction);
            numbered.AddRange(team.Select((e, i) => new NumberedEvent(e, seq - count + 1 + i, nowMs)));
            last.Add((team.Key, seq));
        }

        if (numbered.Count > 0)
        {
            Execute(connection, transaction, [InsertEvents.On(numbered)]);
        }

        transaction.Commit();
        return last;
    }

    public override Task<T> ReadAsync<T>(TeamScope scope, Func<StoreReader, Task<T>> read, CancellationToken ct) => OnReaderAsync(
        async connection =>
        {
            var transaction = connection.BeginTransaction(deferred: true);
            try
            {
                var result = await read(new StoreReader(_dialect, connection, transaction, ct));
                transaction.Commit();
                return result;
            }
            catch
            {
                TryAbandon(transaction);
                throw;
            }
        },
        ct);

    // A statement alone sees one snapshot as it is.
    public override Task<IReadOnlyList<T>> QueryAsync<T>(TeamScope scope, string sql, object? args, bool byKey, CancellationToken ct) =>
        OnReaderAsync(connection => new StoreReader(_dialect, connection, transaction: null, ct).QueryAsync<T>(sql, args), ct);

    public override void LockMigrations(DbConnection connection, DbTransaction transaction)
    {
        // BeginWrite has taken the write lock.
    }

    public override string MigrationSql(Migration migration) =>
        migration.Sql.Replace("{blob}", _dialect.BlobType, StringComparison.Ordinal) + ";\n" + migration.SqliteSql;

    public override void PrepareRoles(DbConnection connection, DbTransaction transaction)
    {
        // SQLite has no roles.
    }

    public override void SecureTables(DbConnection connection, DbTransaction transaction)
    {
        // SQLite has no row level security.
    }

    public override void SchemaReady(EventSignal events)
    {
        using var connection = Open(SqliteOpenMode.ReadOnly);
        _dialect.ReadConstraintNames(connection);
        _served = true;
    }

    public override void AnnounceEvents()
    {
        // A SQLite file is served by one process, whose watchers were woken already.
    }

    public override ValueTask DisposeAsync()
    {
        while (_idleReaders.TryTake(out var connection))
        {
            connection.Dispose();
        }
        _readerSlots.Dispose();
        _checkpoints.Dispose(); // Who closes the file last moves all of the log and removes it, if it may write.
        return ValueTask.CompletedTask;
    }

    private string Log => _options.SqlitePath + "-wal";

    /// <summary>Lends a connection of the pool, which does not come back from a read that failed.</summary>
    private async Task<T> OnReaderAsync<T>(Func<SqliteConnection, Task<T>> read, CancellationToken ct)
    {
        await _readerSlots.WaitAsync(ct);
        try
        {
            if (!_idleReaders.TryTake(out var connection))
            {
                RequireFile();
                connection = Open(SqliteOpenMode.ReadOnly);
            }

            try
            {
                RequireInPlace(connection); // Not an answer from a file that nobody else sees any more.
                var result = await read(connection);
                _idleReaders.Add(connection);
                return result;
            }
            catch
            {
                connection.Dispose();
                throw;
            }
        }
        finally
        {
            _readerSlots.Release();
        }
    }

    private void RequireInPlace(DbConnection connection)
    {
        if (SqliteLibrary.HasMoved(((SqliteConnection)connection).Handle!))
        {
            throw _dialect.Unavailable(StoreFault.Removed);
        }
    }

    /// <summary>SQLite would make a new database in place of a lost one, and throw the log of the lost one away.</summary>
    private void RequireFile()
    {
        if (!File.Exists(_options.SqlitePath) && (_served || new FileInfo(Log) is { Exists: true, Length: > 0 }))
        {
            throw _dialect.Unavailable(StoreFault.Removed);
        }
    }

    /// <summary>Damage to the structure shows at the start and not in the middle of somebody's call; SQLite has no checksum over the rest.</summary>
    private void RequireIntact(SqliteConnection connection)
    {
        if (connection.QuerySingle<string>("pragma quick_check(1)", commandTimeout: 0) is not "ok")
        {
            throw _dialect.Unavailable(StoreFault.Corrupt);
        }
    }

    private SqliteStatements Open(SqliteOpenMode mode, int cacheKib = ReaderCacheKib)
    {
        var connection = new SqliteStatements(new SqliteConnectionStringBuilder
        {
            DataSource = _options.SqlitePath,
            Mode = mode,
            ForeignKeys = true,
            Pooling = false, // The Writer and the pool above own their connections.
            DefaultTimeout = (int)Math.Ceiling(_options.LockTimeout.TotalSeconds),
        }.ConnectionString);
        try
        {
            connection.Open();
            connection.Execute($"pragma busy_timeout = {(int)_options.LockTimeout.TotalMilliseconds}");
            connection.Execute(FormattableString.Invariant($"pragma cache_size = -{cacheKib}"));
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private void RequireDurability(SqliteConnection connection)
    {
        var journal = connection.QuerySingle<string>("pragma journal_mode");
        var synchronous = connection.QuerySingle<long>("pragma synchronous");
        var foreignKeys = connection.QuerySingle<long>("pragma foreign_keys");
        const int full = 2;
        _hasLog = journal == "wal";
        if (foreignKeys != 1 || (!_options.RelaxedDurability && (journal != "wal" || synchronous < full)))
        {
            throw new StoreRefusedException(
                StoreRefusal.NotDurable,
                $"SQLite would not keep what it acknowledged (journal_mode={journal}, synchronous={synchronous}, foreign_keys={foreignKeys}); "
                + "put the file on a local disk, or set HUB_DURABILITY=relaxed to accept that.");
        }
    }

    private readonly record struct NumberedEvent(PendingEvent Event, long Seq, long At);
}
