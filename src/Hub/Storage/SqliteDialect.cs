using System.Collections.Frozen;
using System.Data.Common;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Hub.Storage;

internal sealed partial class SqliteDialect(string path) : IDialect
{
    // Primary result codes, https://www.sqlite.org/rescode.html.
    private const int Constraint = 19;
    private const int ConstraintForeignKey = 787;
    private const int ConstraintNotNull = 1299;
    private const int ConstraintPrimaryKey = 1555;
    private const int ConstraintUnique = 2067;
    private const int ConstraintCheck = 275;

    private const int ReadOnlyMoved = 1032;
    private const int IoShortRead = 522;
    private const int IoCorruptFileSystem = 8458;

    // "table.a, table.b", as SQLite reports a violated unique constraint, to its name. Replaced once, when the schema is final.
    private FrozenDictionary<string, string> _uniqueNames = FrozenDictionary<string, string>.Empty;

    public string BlobType => "blob";

    public string ForUpdate => "";

    public string ForUpdateSkipLocked => "";

    public string ForShare => "";

    public string In(string column, string parameter) => $"{column} in (select value from json_each(@{parameter}))";

    public object InValue<T>(IEnumerable<T> values) => JsonSerializer.Serialize(values);

    public IEnumerable<(string Sql, DynamicParameters Values)> QueriesOf(RowsCall call)
    {
        for (var row = 0; row < call.RowCount; row++)
        {
            var values = new DynamicParameters();
            for (var i = 0; i < call.ColumnNames.Count; i++)
            {
                values.Add(call.ColumnNames[i], call.Value(i, row));
            }

            yield return (call.RowSql, values);
        }
    }

    public Exception? Translate(Exception thrown) => thrown switch
    {
        StoreUnavailableException => thrown,
        SqliteException { SqliteErrorCode: Constraint } e => Violation(e),
        SqliteException e when FaultOf(e) is { } fault => Unavailable(fault, e),
        _ => null,
    };

    public StoreUnavailableException Unavailable(StoreFault fault, Exception? cause = null) => new(fault, Reason(fault, cause), cause);

    /// <summary>
    /// SQLite names no unique constraint when it is violated, only the columns. Two unique indexes over the same columns of one table
    /// (partial ones) cannot be told apart.
    /// </summary>
    public void ReadConstraintNames(DbConnection connection)
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var table in connection.Query<(string Name, string Sql)>("select name, sql from sqlite_master where type = 'table' and sql is not null"))
        {
            var declared = NamedConstraint().Matches(table.Sql).ToDictionary(
                m => Columns(table.Name, m.Groups["columns"].Value.Split(',').Select(c => c.Trim(' ', '\n', '\r', '\t', '"'))),
                m => m.Groups["name"].Value);
            var key = connection.Query<string>("select name from pragma_table_info(@Name) where pk > 0 order by pk", new { table.Name }).ToList();
            if (key.Count > 0)
            {
                var columns = Columns(table.Name, key);
                names[columns] = declared.GetValueOrDefault(columns, $"{table.Name}_pkey");
            }
            foreach (var index in connection.Query<(string Name, string Origin)>(
                "select name, origin from pragma_index_list(@Name) where \"unique\" = 1 and origin <> 'pk'", new { table.Name }))
            {
                var indexed = connection.Query<string?>("select name from pragma_index_info(@Name) order by seqno", new { index.Name }).ToList();
                if (indexed.Contains(null))
                {
                    continue; // An index over an expression: SQLite reports its name.
                }
                var columns = Columns(table.Name, indexed!);
                names[columns] = index.Origin == "c"
                    ? index.Name
                    : declared.GetValueOrDefault(columns, $"{table.Name}_{string.Join('_', indexed)}_key");
            }
        }
        _uniqueNames = names.ToFrozenDictionary(StringComparer.Ordinal);
    }

    private static StoreFault? FaultOf(SqliteException e) => (e.SqliteErrorCode, e.SqliteExtendedErrorCode) switch
    {
        (_, ReadOnlyMoved) => StoreFault.Removed,
        (_, IoShortRead or IoCorruptFileSystem) => StoreFault.Corrupt,
        (raw.SQLITE_CORRUPT or raw.SQLITE_NOTADB, _) => StoreFault.Corrupt,
        (raw.SQLITE_BUSY or raw.SQLITE_LOCKED or raw.SQLITE_PROTOCOL, _) => StoreFault.Locked,
        (raw.SQLITE_FULL, _) => StoreFault.DiskFull,
        (raw.SQLITE_READONLY or raw.SQLITE_CANTOPEN or raw.SQLITE_PERM, _) => StoreFault.ReadOnly,
        (raw.SQLITE_IOERR or raw.SQLITE_NOMEM, _) => StoreFault.Failing,
        (raw.SQLITE_INTERRUPT or raw.SQLITE_ABORT, _) => StoreFault.Contended,
        _ => null,
    };

    private string Reason(StoreFault fault, Exception? cause) => fault switch
    {
        StoreFault.Locked =>
            $"Another process holds the write lock of {path}: end that process or its transaction; the Hub goes on by itself.",
        StoreFault.DiskFull =>
            $"The disk of {path} is full ({FreeBytes()} bytes free): free some space or enlarge it; the Hub goes on by itself.",
        StoreFault.ReadOnly =>
            $"{path} cannot be written: the Hub's user needs read and write access to the file and its folder, on a file system that is not "
            + "mounted read-only; the Hub goes on by itself.",
        StoreFault.Removed =>
            $"{path} or its -wal file was removed or replaced while it was in use: stop the Hub, put both files back or restore a backup, and "
            + "start it again. Nothing is acknowledged until then.",
        StoreFault.Corrupt =>
            $"{path} is damaged: stop the Hub, restore a backup (or rescue what is left with sqlite3's .recover), and start it again.",
        StoreFault.Contended => $"A statement on {path} was interrupted.",
        _ => $"Reading or writing {path} fails ({cause?.Message}): check the disk, its {FreeBytes()} free bytes, and the limit on file sizes.",
    };

    private string FreeBytes()
    {
        try
        {
            return new DriveInfo(Path.GetDirectoryName(Path.GetFullPath(path))!).AvailableFreeSpace.ToString(CultureInfo.InvariantCulture);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return "an unknown number of";
        }
    }

    private static string Columns(string table, IEnumerable<string> columns) => string.Join(", ", columns.Select(c => $"{table}.{c}"));

    private ConstraintException Violation(SqliteException e)
    {
        // "SQLite Error 19: 'UNIQUE constraint failed: hosts.team_id, hosts.name'."
        var detail = Detail().Match(e.Message).Groups["detail"].Value;
        return e.SqliteExtendedErrorCode switch
        {
            ConstraintUnique or ConstraintPrimaryKey => new(UniqueName(detail), ConstraintKind.Unique, e),
            ConstraintForeignKey => new("", ConstraintKind.ForeignKey, e),
            ConstraintCheck => new(detail, ConstraintKind.Check, e),
            ConstraintNotNull => new(detail, ConstraintKind.NotNull, e),
            _ => new(detail, ConstraintKind.Other, e),
        };
    }

    private string UniqueName(string detail) =>
        IndexName().Match(detail) is { Success: true } index ? index.Groups["name"].Value : _uniqueNames.GetValueOrDefault(detail, detail);

    [GeneratedRegex("constraint failed: (?<detail>.*)'\\.$", RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex Detail();

    [GeneratedRegex("^index '(?<name>.*)'$", RegexOptions.CultureInvariant)]
    private static partial Regex IndexName();

    [GeneratedRegex("""\bconstraint\s+"?(?<name>\w+)"?\s+(unique|primary\s+key)\s*\((?<columns>[^)]*)\)""", RegexOptions.CultureInvariant | RegexOptions.IgnoreCase)]
    private static partial Regex NamedConstraint();
}
