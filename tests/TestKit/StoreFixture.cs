using System.Data.Common;
using Hub.Storage;
using Microsoft.Data.Sqlite;
using Npgsql;

namespace Hub.TestKit;

/// <summary>
/// Databases of one engine for one test class. A class that runs on both engines is abstract with a fixture parameter and has one sealed
/// heir per engine, which names its fixture by <c>IClassFixture</c>.
/// </summary>
public abstract class StoreFixture : IAsyncDisposable
{
    public LogGuard Logs { get; } = new();

    /// <summary>Options for a new, empty database.</summary>
    internal abstract Task<StoreOptions> CreateDatabaseAsync();

    /// <summary>A copy of a database that nobody has open, as a backup is.</summary>
    internal abstract Task<StoreOptions> CopyAsync(StoreOptions options);

    /// <summary>A connection beside the store, which sees what is committed.</summary>
    internal abstract DbConnection Connect(StoreOptions options);

    internal Task<Store> OpenAsync(StoreOptions options, TimeProvider? time = null) =>
        Store.OpenAsync(options, time ?? TimeProvider.System, Logs, CancellationToken.None).Within();

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        Logs.Dispose();
        return ValueTask.CompletedTask;
    }
}

public sealed class SqliteStoreFixture : StoreFixture
{
    private readonly string _directory = Directory.CreateTempSubdirectory("hub-sqlite-").FullName;

    private int _databases;

    internal override Task<StoreOptions> CreateDatabaseAsync() => Task.FromResult(new StoreOptions
    {
        Backend = StoreBackend.Sqlite,
        SqlitePath = Path.Combine(_directory, $"{Interlocked.Increment(ref _databases)}.db"),
    });

    internal override async Task<StoreOptions> CopyAsync(StoreOptions options)
    {
        Checkpoint(options);
        var copy = await CreateDatabaseAsync();
        File.Copy(options.SqlitePath, copy.SqlitePath);
        return copy;
    }

    internal override DbConnection Connect(StoreOptions options)
    {
        SqliteLibrary.Load();
        var connection = new SqliteConnection($"Data Source={options.SqlitePath};Pooling=False;Default Timeout=5");
        connection.Open();
        return connection;
    }

    /// <summary>Moves what is committed from the log into the file.</summary>
    internal void Checkpoint(StoreOptions options)
    {
        using var connection = Connect(options);
        using var command = connection.CreateCommand();
        command.CommandText = "pragma wal_checkpoint(truncate)";
        command.ExecuteNonQuery();
    }

    public override ValueTask DisposeAsync()
    {
        Directory.Delete(_directory, recursive: true);
        return base.DisposeAsync();
    }
}

public sealed class PostgresStoreFixture : StoreFixture
{
    internal override async Task<StoreOptions> CreateDatabaseAsync() => new()
    {
        Backend = StoreBackend.Postgres,
        ConnectionString = await (await PostgresServer.SharedAsync()).CreateDatabaseAsync(),
    };

    internal override async Task<StoreOptions> CopyAsync(StoreOptions options)
    {
        var database = new NpgsqlConnectionStringBuilder(options.ConnectionString).Database!;
        return options with { ConnectionString = await (await PostgresServer.SharedAsync()).CreateDatabaseAsync(database) };
    }

    internal override DbConnection Connect(StoreOptions options)
    {
        var connection = new NpgsqlConnection(options.ConnectionString + ";Pooling=false");
        connection.Open();
        return connection;
    }

    /// <summary>Somebody waits for a row that another transaction has not committed.</summary>
    internal static async Task<bool> IsBlockedAsync(Store store) => await store.ReadAsync(
        TeamScope.System,
        reader => reader.QuerySingleAsync<long>(
            """
            select count(*) from pg_locks l join pg_database d on d.oid = l.database or l.database is null
            where not l.granted and d.datname = current_database()
            """)) > 0;
}
