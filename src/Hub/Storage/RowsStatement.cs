namespace Hub.Storage;

/// <summary>
/// A statement over rows that are given with it, which stand in it as the table <c>r</c>, in place of <c>{rows}</c>. PostgreSQL takes them all
/// in one round trip, as arrays; SQLite, where a round trip costs nothing, runs the statement for each. Made once and kept.
/// </summary>
/// <param name="sql">Its text, or the texts of several, each on lines of its own and parted by a semicolon. What it does to one row must
/// not depend on the others.</param>
/// <param name="columns">Of the rows; each is a parameter of its name.</param>
internal sealed class RowsStatement<T>(string sql, params Column<T>[] columns)
{
    public Column<T>[] Columns { get; } = columns;

    public IReadOnlyList<string> ColumnNames { get; } = Array.ConvertAll(columns, column => column.Name);

    /// <summary>Each parameter is a value.</summary>
    public string RowSql { get; } = sql.Replace(
        "{rows}", $"(select {string.Join(", ", columns.Select(column => $"@{column.Name} as {column.Name}"))}) as r", StringComparison.Ordinal);

    /// <summary>Each parameter is an array. Apart, as the driver plans them.</summary>
    public IReadOnlyList<string> ArraysSql { get; } = sql.Replace(
        "{rows}",
        $"unnest({string.Join(", ", columns.Select(column => $"@{column.Name}"))}) as r({string.Join(", ", columns.Select(column => column.Name))})",
        StringComparison.Ordinal).Split(";\n");

    /// <param name="rows">Stay as they are until the call is made.</param>
    public RowsCall On(IReadOnlyList<T> rows) => new Call(this, rows);

    private sealed class Call(RowsStatement<T> statement, IReadOnlyList<T> rows) : RowsCall
    {
        public override string RowSql => statement.RowSql;

        public override IReadOnlyList<string> ArraysSql => statement.ArraysSql;

        public override IReadOnlyList<string> ColumnNames => statement.ColumnNames;

        public override int RowCount => rows.Count;

        public override object? Value(int column, int row) => statement.Columns[column].Value(rows[row]);

        public override Array Values(int column) => statement.Columns[column].Values(rows);
    }
}

/// <summary>A <see cref="RowsStatement{T}"/> and the rows that are given with it.</summary>
internal abstract class RowsCall
{
    public abstract string RowSql { get; }

    public abstract IReadOnlyList<string> ArraysSql { get; }

    public abstract IReadOnlyList<string> ColumnNames { get; }

    public abstract int RowCount { get; }

    public abstract object? Value(int column, int row);

    /// <summary>The values of a column in all rows, as an array of their own type.</summary>
    public abstract Array Values(int column);
}

/// <summary>A column of given rows, and where its value comes from.</summary>
internal abstract class Column<T>(string name)
{
    public string Name { get; } = name;

    public static Column<T> Of<TValue>(string name, Func<T, TValue> value) => new Typed<TValue>(name, value);

    public abstract object? Value(T row);

    /// <summary>The values of all rows, as an array of their own type.</summary>
    public abstract Array Values(IReadOnlyList<T> rows);

    private sealed class Typed<TValue>(string name, Func<T, TValue> value) : Column<T>(name)
    {
        public override object? Value(T row) => value(row);

        public override Array Values(IReadOnlyList<T> rows)
        {
            var values = new TValue[rows.Count];
            for (var i = 0; i < values.Length; i++)
            {
                values[i] = value(rows[i]);
            }

            return values;
        }
    }
}
