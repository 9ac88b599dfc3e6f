using System.Net.Sockets;
using Dapper;
using Npgsql;

namespace Hub.Storage;

/// <param name="server">Host and port, for messages.</param>
internal sealed class PostgresDialect(string server) : IDialect
{
    public string BlobType => "bytea";

    public string ForUpdate => " for update";

    public string ForUpdateSkipLocked => " for update skip locked";

    public string ForShare => " for share";

    public string In(string column, string parameter) => $"{column} = any(@{parameter})";

    public object InValue<T>(IEnumerable<T> values) => values.ToArray();

    public IEnumerable<(string Sql, DynamicParameters Values)> QueriesOf(RowsCall call)
    {
        var arrays = new DynamicParameters();
        for (var i = 0; i < call.ColumnNames.Count; i++)
        {
            arrays.Add(call.ColumnNames[i], call.Values(i));
        }

        return call.ArraysSql.Select(sql => (sql, arrays));
    }

    public Exception? Translate(Exception thrown) => thrown switch
    {
        StoreUnavailableException => thrown,
        PostgresException { SqlState: ['2', '3', ..] } e => Violation(e),
        PostgresException e when FaultOf(e.SqlState) is { } fault => Unavailable(fault, e.SqlState, e),
        PostgresException => null,
        // Whatever the driver reports without the server's word is about the connection; a caller who gives up is told so before it comes here.
        NpgsqlException or SocketException or TimeoutException or IOException or OperationCanceledException =>
            Unavailable(StoreFault.Away, Innermost(thrown).Message, thrown),
        _ => null,
    };

    // Classes and codes, https://www.postgresql.org/docs/current/errcodes-appendix.html.
    private static StoreFault? FaultOf(string state) => state switch
    {
        PostgresErrorCodes.DiskFull => StoreFault.DiskFull,
        PostgresErrorCodes.ReadOnlySqlTransaction => StoreFault.ReadOnly, // A standby, or read-only since a failover.
        // Deadlock, serialization, lock or statement timeout, or one statement that wants more than the server gives.
        ['4', '0', ..] or PostgresErrorCodes.LockNotAvailable or PostgresErrorCodes.QueryCanceled or PostgresErrorCodes.OutOfMemory
            or PostgresErrorCodes.ConfigurationLimitExceeded => StoreFault.Contended,
        // Connection, login, no such database, too many connections, shutdown, a session ended by the server.
        ['0', '8', ..] or ['2', '8', ..] or ['3', 'D', ..] or ['5', '3', ..] or ['5', '7', ..] or "25P03" => StoreFault.Away,
        // I/O, internal errors such as damaged pages.
        ['5', '8', ..] or ['X', 'X', ..] => StoreFault.Failing,
        _ => null,
    };

    private StoreUnavailableException Unavailable(StoreFault fault, string detail, Exception cause) => new(
        fault,
        fault switch
        {
            StoreFault.DiskFull => $"The disk of PostgreSQL at {server} is full: free some space there; the Hub goes on by itself.",
            StoreFault.ReadOnly =>
                $"PostgreSQL at {server} is read-only: point DATABASE_URL at the primary, or set default_transaction_read_only off there; the "
                + "Hub goes on by itself.",
            StoreFault.Contended => $"PostgreSQL at {server} gave up a statement ({detail}).",
            StoreFault.Failing => $"PostgreSQL at {server} reports a fault of its own ({detail}): look into its log.",
            _ => $"PostgreSQL at {server} cannot be used ({detail}): see that it runs, answers, and takes DATABASE_URL; the Hub goes on by itself.",
        },
        cause);

    private static Exception Innermost(Exception e) => e.InnerException is { } inner ? Innermost(inner) : e;

    private static ConstraintException Violation(PostgresException e) => e.SqlState switch
    {
        PostgresErrorCodes.UniqueViolation => new(e.ConstraintName ?? "", ConstraintKind.Unique, e),
        PostgresErrorCodes.ForeignKeyViolation => new(e.ConstraintName ?? "", ConstraintKind.ForeignKey, e),
        PostgresErrorCodes.CheckViolation => new(e.ConstraintName ?? "", ConstraintKind.Check, e),
        PostgresErrorCodes.NotNullViolation => new($"{e.TableName}.{e.ColumnName}", ConstraintKind.NotNull, e),
        _ => new(e.ConstraintName ?? "", ConstraintKind.Other, e),
    };
}
