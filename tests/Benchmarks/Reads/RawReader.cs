using System.Data;
using System.Data.Common;
using Npgsql;

namespace Hub.Benchmarks.Reads;

/// <summary>Reads what a route reads, by the same driver and in transactions as the Hub has them, and makes nothing of it.</summary>
internal sealed class RawReader(DbConnection connection, string userId) : IAsyncDisposable
{
    private const string UserSql = "select user_id, email, name from users where user_id = @UserId";

    private const string TeamsSql =
        "select m.team_id, m.role, t.suspended_at from team_members m join teams t on t.team_id = m.team_id where m.user_id = @UserId";

    private const string ScopeSql = "set_config('role', 'hub_app', true), set_config('hub.team_ids', 'default', true), ";
    private const string ReadOnlySql = "set_config('transaction_read_only', 'on', true)";

    private const string HostSql = $"select team_id from hosts where host_id = '{ReadsDatabase.Host}' and deleted_at is null";

    /// <summary>Who asks, whose the host is, and what was asked for.</summary>
    /// <returns>How many rows the last statement gave.</returns>
    public async Task<int> ReadAsync(ReadRoute route)
    {
        await InTransactionAsync(isSystem: true, route.OfHost ? [UserSql, TeamsSql, HostSql] : [UserSql, TeamsSql]);
        return await InTransactionAsync(isSystem: false, route.Statements);
    }

    /// <summary>How the engine goes about a route's own statements.</summary>
    public async Task<IReadOnlyList<string>> ExplainAsync(ReadRoute route)
    {
        var lines = new List<string>();
        foreach (var statement in route.Statements)
        {
            await using var command = CommandOf((connection is NpgsqlConnection ? "explain " : "explain query plan ") + statement);
            await using var reader = await command.ExecuteReaderAsync();
            while (await reader.ReadAsync())
            {
                lines.Add(reader.GetString(reader.FieldCount - 1));
            }
        }

        return lines;
    }

    public ValueTask DisposeAsync() => connection.DisposeAsync();

    private async Task<int> InTransactionAsync(bool isSystem, params string[] statements)
    {
        var rows = 0;
        await using var transaction = await connection.BeginTransactionAsync(
            connection is NpgsqlConnection ? IsolationLevel.RepeatableRead : IsolationLevel.Serializable);
        foreach (var statement in Begin(isSystem, statements))
        {
            rows = await ExecuteAsync(statement);
        }

        await transaction.CommitAsync();
        return rows;

        async Task<int> ExecuteAsync(string sql)
        {
            await using var command = CommandOf(sql);
            command.Transaction = transaction;
            await using var reader = await command.ExecuteReaderAsync();
            int count;
            do
            {
                count = 0;
                var values = new object[reader.FieldCount];
                while (await reader.ReadAsync())
                {
                    reader.GetValues(values);
                    count++;
                }
            }
            while (await reader.NextResultAsync());

            return count;
        }
    }

    /// <summary>The settings of the transaction go with its first statement, as the Hub's do.</summary>
    private string[] Begin(bool isSystem, string[] statements) => connection is NpgsqlConnection
        ? [$"select {(isSystem ? "" : ScopeSql)}{ReadOnlySql}; {statements[0]}", .. statements[1..]]
        : statements;

    private DbCommand CommandOf(string sql)
    {
        var command = connection.CreateCommand();
        command.CommandText = sql;
        if (sql.Contains("@UserId", StringComparison.Ordinal))
        {
            var parameter = command.CreateParameter();
            (parameter.ParameterName, parameter.Value) = ("UserId", userId);
            command.Parameters.Add(parameter);
        }

        return command;
    }
}
