using System.Collections.Concurrent;
using System.Data.Common;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Hub.Storage;

/// <summary>One file, one writer, readers beside it on snapshots (WAL).</summary>
internal sealed class SqliteEngine : StoreEngine
{
    // How long a statement waits for another process that writes the same file, for example a backup.
    private const int BusySeconds = 5;

    private readonly SqliteDialect _dialect = new();

    private readonly StoreOptions _options;

    private readonly SemaphoreSlim _readerSlots;

    // Read connections at rest; at most ReadersMax, since one exists only for a slot.
    private readonly ConcurrentBag<SqliteConnection> _idleReaders = [];

    public SqliteEngine(StoreOptions options)
    {
        SqliteLibrary.Load();
        _options = options;
        _readerSlots = new SemaphoreSlim(options.ReadersMax);
    }

    public override IDialect Dialect => _dialect;

    public override int WriterCount => 1;

    public override DbConnection OpenWriter()
    {
        var connection = Open(SqliteOpenMode.ReadWriteCreate);
        try
        {
            connection.Execute(_options.RelaxedDurability
                ? "pragma journal_mode = wal; pragma synchronous = normal"
                : "pragma journal_mode = wal; pragma synchronous = full");
            RequireDurability(connection);
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public override DbTransaction BeginWrite(DbConnection connection) => ((SqliteConnection)connection).BeginTransaction(deferred: false);

    public override void EnterScope(DbConnection connection, DbTransaction transaction, TeamScope scope)
    {
        // SQLite has no row level security.
    }

    public override void BeginJob(DbConnection connection, DbTransaction transaction, TeamScope scope, bool releasePrevious) =>
        connection.Execute(releasePrevious ? "release savepoint job; savepoint job" : "savepoint job", transaction: transaction);

    public override void InsertEvents(DbConnection connection, DbTransaction transaction, IReadOnlyList<NumberedEvent> events, long nowMs) =>
        connection.Execute(
            "insert into events(team_id, seq, kind, host_id, entity_id, version, at) values (@TeamId, @Seq, @Kind, @HostId, @EntityId, @Version, @nowMs)",
            events.Select(e => new { e.Event.TeamId, e.Seq, e.Event.Kind, e.Event.HostId, e.Event.EntityId, e.Event.Version, nowMs }),
            transaction);

    public override async Task<T> ReadAsync<T>(TeamScope scope, Func<DbConnection, DbTransaction, Task<T>> read, CancellationToken ct)
    {
        await _readerSlots.WaitAsync(ct);
        try
        {
            if (!_idleReaders.TryTake(out var connection))
            {
                connection = Open(SqliteOpenMode.ReadOnly);
            }
            var ended = false;
            try
            {
                using var transaction = connection.BeginTransaction(deferred: true);
                var result = await read(connection, transaction);
                transaction.Commit();
                ended = true;
                return result;
            }
            finally
            {
                if (ended)
                {
                    _idleReaders.Add(connection);
                }
                else
                {
                    connection.Dispose();
                }
            }
        }
        finally
        {
            _readerSlots.Release();
        }
    }

    public override void LockMigrations(DbConnection connection, DbTransaction transaction)
    {
        // BeginWrite has taken the write lock.
    }

    public override string MigrationSql(Migration migration) => migration.Sql.Replace("{blob}", _dialect.BlobType, StringComparison.Ordinal);

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
        return ValueTask.CompletedTask;
    }

    private SqliteConnection Open(SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = _options.SqlitePath,
            Mode = mode,
            ForeignKeys = true,
            Pooling = false, // The Writer and the pool above own their connections.
            DefaultTimeout = BusySeconds,
        }.ConnectionString);
        try
        {
            connection.Open();
            connection.Execute($"pragma busy_timeout = {BusySeconds * 1000}");
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
        if (foreignKeys != 1 || (!_options.RelaxedDurability && (journal != "wal" || synchronous < full)))
        {
            throw new StoreRefusedException(
                StoreRefusal.NotDurable,
                $"SQLite would not keep what it acknowledged (journal_mode={journal}, synchronous={synchronous}, foreign_keys={foreignKeys}); "
                + "put the file on a local disk, or set HUB_DURABILITY=relaxed to accept that.");
        }
    }
}
