using System.Data.Common;
using Dapper;

namespace Hub.Storage;

/// <summary>Statements of one read: they all see the same snapshot. Valid only within <see cref="Store.ReadAsync"/>.</summary>
/// <param name="transaction">Null for a read of one query, which needs none.</param>
/// <param name="begin">A query of one row that goes before the first statement, in its round trip; null for none.</param>
/// <param name="beginValues">Its parameters.</param>
internal sealed class StoreReader(
    IDialect dialect, DbConnection connection, DbTransaction? transaction, CancellationToken ct, string? begin = null,
    object? beginValues = null)
{
    private bool _hasBegun = begin is null;

    public IDialect Dialect { get; } = dialect;

    public async Task<T?> QuerySingleOrDefaultAsync<T>(string sql, object? args = null) => (await QueryAsync<T>(sql, args)).SingleOrDefault();

    public async Task<T> QuerySingleAsync<T>(string sql, object? args = null) => (await QueryAsync<T>(sql, args)).Single();

    public async Task<IReadOnlyList<T>> QueryAsync<T>(string sql, object? args = null)
    {
        if (_hasBegun)
        {
            return (await connection.QueryAsync<T>(Command(sql, args))).AsList();
        }

        _hasBegun = true;
        var values = new DynamicParameters(args);
        values.AddDynamicParams(beginValues);
        using var results = await connection.QueryMultipleAsync(Command($"{begin}; {sql}", values));
        await results.ReadSingleAsync<string>();
        return (await results.ReadAsync<T>()).AsList();
    }

    public async Task<IReadOnlyList<TResult>> QueryAsync<T, TResult>(RowsStatement<T> statement, IReadOnlyList<T> rows)
    {
        var results = new List<TResult>(rows.Count);
        if (rows.Count > 0)
        {
            foreach (var (sql, values) in Dialect.QueriesOf(statement.On(rows)))
            {
                results.AddRange(await QueryAsync<TResult>(sql, values));
            }
        }

        return results;
    }

    private CommandDefinition Command(string sql, object? args) => new(sql, args, transaction, cancellationToken: ct);
}
