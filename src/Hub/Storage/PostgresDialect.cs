using System.Net.Sockets;
using Npgsql;

namespace Hub.Storage;

internal sealed class PostgresDialect : IDialect
{
    // Classes and codes, https://www.postgresql.org/docs/current/errcodes-appendix.html: connection, rolled back (deadlock,
    // serialization), no resources (disk full, too many connections), operator intervention (shutdown, cancel), system (I/O);
    // lock not available; read-only since a failover; ended for idling in a transaction.
    private static readonly string[] Unavailable = ["08", "40", "53", "57", "58", "55P03", "25006", "25P03"];

    public string BlobType => "bytea";

    public string ForUpdate => " for update";

    public string ForUpdateSkipLocked => " for update skip locked";

    public string ForShare => " for share";

    public string In(string column, string parameter) => $"{column} = any(@{parameter})";

    public object InValue<T>(IEnumerable<T> values) => values.ToArray();

    public Exception? Translate(Exception thrown) => thrown switch
    {
        PostgresException { SqlState: ['2', '3', ..] } e => Violation(e),
        PostgresException e => Array.Exists(Unavailable, code => e.SqlState.StartsWith(code, StringComparison.Ordinal))
            ? new StoreUnavailableException($"PostgreSQL is unavailable ({e.SqlState}).", e)
            : null,
        // Whatever the driver reports without the server's word is about the connection.
        NpgsqlException or SocketException or TimeoutException => new StoreUnavailableException("PostgreSQL cannot be reached.", thrown),
        _ => null,
    };

    private static ConstraintException Violation(PostgresException e) => e.SqlState switch
    {
        PostgresErrorCodes.UniqueViolation => new(e.ConstraintName ?? "", ConstraintKind.Unique, e),
        PostgresErrorCodes.ForeignKeyViolation => new(e.ConstraintName ?? "", ConstraintKind.ForeignKey, e),
        PostgresErrorCodes.CheckViolation => new(e.ConstraintName ?? "", ConstraintKind.Check, e),
        PostgresErrorCodes.NotNullViolation => new($"{e.TableName}.{e.ColumnName}", ConstraintKind.NotNull, e),
        _ => new(e.ConstraintName ?? "", ConstraintKind.Other, e),
    };
}
