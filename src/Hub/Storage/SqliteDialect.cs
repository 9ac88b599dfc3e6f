using System.Collections.Frozen;
using System.Data.Common;
using System.Text.Json;
using System.Text.RegularExpressions;
using Dapper;
using Microsoft.Data.Sqlite;

namespace Hub.Storage;

internal sealed partial class SqliteDialect : IDialect
{
    // Primary result codes, https://www.sqlite.org/rescode.html.
    private const int Constraint = 19;
    private const int ConstraintForeignKey = 787;
    private const int ConstraintNotNull = 1299;
    private const int ConstraintPrimaryKey = 1555;
    private const int ConstraintUnique = 2067;
    private const int ConstraintCheck = 275;

    // Busy, locked, out of memory, read-only, interrupted, I/O error, corrupt, full, cannot open, lock protocol, not a database:
    // the file or the machine is at fault, never the job.
    private static readonly FrozenSet<int> Unavailable = new[] { 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 26 }.ToFrozenSet();

    // "table.a, table.b", as SQLite reports a violated unique constraint, to its name. Replaced once, when the schema is final.
    private FrozenDictionary<string, string> _uniqueNames = FrozenDictionary<string, string>.Empty;

    public string BlobType => "blob";

    public string ForUpdate => "";

    public string ForUpdateSkipLocked => "";

    public string ForShare => "";

    public string In(string column, string parameter) => $"{column} in (select value from json_each(@{parameter}))";

    public object InValue<T>(IEnumerable<T> values) => JsonSerializer.Serialize(values);

    public Exception? Translate(Exception thrown) => thrown switch
    {
        SqliteException { SqliteErrorCode: Constraint } e => Violation(e),
        SqliteException e when Unavailable.Contains(e.SqliteErrorCode) =>
            new StoreUnavailableException($"SQLite is unavailable (code {e.SqliteExtendedErrorCode}).", e),
        _ => null,
    };

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
