using System.Data.Common;
using Dapper;

namespace Hub.Storage;

/// <summary>Statements of one read: they all see the same snapshot. Valid only within <see cref="Store.ReadAsync"/>.</summary>
internal sealed class StoreReader(IDialect dialect, DbConnection connection, DbTransaction transaction, CancellationToken ct)
{
    public IDialect Dialect { get; } = dialect;

    public Task<T?> QuerySingleOrDefaultAsync<T>(string sql, object? args = null) => connection.QuerySingleOrDefaultAsync<T>(Command(sql, args));

    public Task<T> QuerySingleAsync<T>(string sql, object? args = null) => connection.QuerySingleAsync<T>(Command(sql, args));

    public async Task<IReadOnlyList<T>> QueryAsync<T>(string sql, object? args = null) =>
        (await connection.QueryAsync<T>(Command(sql, args))).AsList();

    public async Task<IReadOnlyList<TResult>> QueryAsync<T, TResult>(RowsStatement<T> statement, IReadOnlyList<T> rows)
    {
        var results = new List<TResult>(rows.Count);
        if (rows.Count > 0)
        {
            foreach (var (sql, values) in Dialect.Calls(statement, rows))
            {
                results.AddRange(await connection.QueryAsync<TResult>(Command(sql, values)));
            }
        }

        return results;
    }

    private CommandDefinition Command(string sql, object? args) => new(sql, args, transaction, cancellationToken: ct);
}
