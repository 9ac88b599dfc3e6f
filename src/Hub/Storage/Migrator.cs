using System.Data.Common;
using Dapper;

namespace Hub.Storage;

/// <summary>
/// Brings the schema forward: each step and its row in <c>schema_version</c> in one transaction, under a lock that lets one process at a
/// time do so. There is no way back, and a schema from a newer program is left alone.
/// </summary>
internal sealed class Migrator(StoreEngine engine, IReadOnlyList<Migration> migrations, TimeProvider time, ILogger log)
{
    /// <summary>Applies what is missing and returns the version.</summary>
    public int Apply()
    {
        RequireContiguous();
        using var connection = engine.OpenWriter();
        InLock(connection, transaction =>
        {
            engine.PrepareRoles(connection, transaction);
            connection.Execute(
                "create table if not exists schema_version(version integer primary key, name text not null, applied_at bigint not null)",
                transaction: transaction);
            return 0;
        });
        while (InLock(connection, transaction => ApplyNext(connection, transaction)))
        {
        }
        InLock(connection, transaction =>
        {
            engine.SecureTables(connection, transaction);
            return 0;
        });
        return migrations.Count;
    }

    /// <summary>Applies nothing: the schema must be the one this program knows.</summary>
    public int Verify()
    {
        RequireContiguous();
        using var connection = engine.OpenWriter();
        int version;
        try
        {
            version = CurrentVersion(connection, null);
        }
        catch (DbException e) when (engine.Dialect.Translate(e) is null)
        {
            version = 0; // No such table: nothing was ever applied.
        }
        RequireKnown(version);
        return version == migrations.Count
            ? version
            : throw new StoreRefusedException(
                StoreRefusal.SchemaOlder, $"The database has schema version {version}, this program needs {migrations.Count}: run 'hub migrate' first.");
    }

    private bool ApplyNext(DbConnection connection, DbTransaction transaction)
    {
        // Read again in each step's lock: another process may have made the step meanwhile.
        var version = CurrentVersion(connection, transaction);
        RequireKnown(version);
        if (version == migrations.Count)
        {
            return false;
        }
        var next = migrations[version];
        connection.Execute(engine.MigrationSql(next), transaction: transaction, commandTimeout: 0);
        connection.Execute(
            "insert into schema_version(version, name, applied_at) values (@Number, @Name, @now)",
            new { next.Number, next.Name, now = time.GetUtcNow().ToUnixTimeMilliseconds() },
            transaction);
        StoreLog.MigrationApplied(log, next.Number, next.Name);
        return true;
    }

    private T InLock<T>(DbConnection connection, Func<DbTransaction, T> step)
    {
        var transaction = engine.BeginWrite(connection);
        try
        {
            engine.LockMigrations(connection, transaction);
            var result = step(transaction);
            transaction.Commit();
            return result;
        }
        finally
        {
            engine.TryAbandon(transaction);
        }
    }

    private static int CurrentVersion(DbConnection connection, DbTransaction? transaction)
    {
        var versions = connection.Query<int>("select version from schema_version order by version", transaction: transaction).AsList();
        for (var i = 0; i < versions.Count; i++)
        {
            if (versions[i] != i + 1)
            {
                throw new StoreRefusedException(StoreRefusal.BadMigrations, $"The database lacks schema version {i + 1} but has {versions[i]}.");
            }
        }
        return versions.Count;
    }

    private void RequireKnown(int version)
    {
        if (version > migrations.Count)
        {
            throw new StoreRefusedException(
                StoreRefusal.SchemaNewer,
                $"The database has schema version {version}, this program knows {migrations.Count}: start the newer Hub that made it.");
        }
    }

    private void RequireContiguous()
    {
        for (var i = 0; i < migrations.Count; i++)
        {
            if (migrations[i].Number != i + 1)
            {
                throw new StoreRefusedException(
                    StoreRefusal.BadMigrations, $"Migrations must be numbered without a gap: {i + 1} is missing before {migrations[i].Name}.");
            }
        }
    }
}
