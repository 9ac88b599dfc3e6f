using System.Data;
using System.Data.Common;
using System.Diagnostics.CodeAnalysis;
using Microsoft.Data.Sqlite;

namespace Hub.Storage;

/// <summary>
/// A connection that compiles each statement once: the driver forgets what it compiled with the command, and Dapper makes a command for each
/// call. To compile a statement takes longer than to run it.
/// </summary>
internal sealed class SqliteStatements(string connectionString) : SqliteConnection(connectionString)
{
    /// <summary>Of parameters, as everywhere in the Hub's SQL.</summary>
    private const string Prefix = "@";

    /// <summary>Texts kept. The Hub has fewer; beyond that, some are compiled again.</summary>
    private const int TextsMax = 500;

    // Commands at rest. Whoever runs one has taken it out, so a statement may run within itself.
    private readonly Dictionary<string, SqliteCommand> _atRest = new(StringComparer.Ordinal);

    protected override DbCommand CreateDbCommand() => new Command(this);

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            Forget();
        }

        base.Dispose(disposing);
    }

    private void Forget()
    {
        foreach (var command in _atRest.Values)
        {
            command.Dispose();
        }

        _atRest.Clear();
    }

    private SqliteCommand Take(string text) => _atRest.Remove(text, out var compiled) ? compiled : new SqliteCommand(text, this);

    private void Rest(SqliteCommand command)
    {
        command.Parameters.Clear();
        command.Transaction = null;
        if (State != ConnectionState.Open || !_atRest.TryAdd(command.CommandText, command))
        {
            command.Dispose();
        }
        else if (_atRest.Count > TextsMax)
        {
            Forget();
        }
    }

    /// <summary>Stands for a command until its text is known, and then for the compiled one.</summary>
    private sealed class Command(SqliteStatements owner) : DbCommand
    {
        private readonly Values _values = new();
        private SqliteCommand? _compiled;
        private string _text = "";

        [AllowNull]
        public override string CommandText
        {
            get => _text;
            set
            {
                GiveBack();
                _text = value ?? "";
            }
        }

        public override int CommandTimeout { get; set; } = owner.DefaultTimeout;

        public override CommandType CommandType
        {
            get => CommandType.Text;
            set
            {
                if (value != CommandType.Text)
                {
                    throw new NotSupportedException("SQLite runs text only.");
                }
            }
        }

        public override bool DesignTimeVisible { get; set; }

        public override UpdateRowSource UpdatedRowSource { get; set; }

        protected override DbConnection? DbConnection
        {
            get => owner;
            set
            {
                if (value != owner)
                {
                    throw new NotSupportedException("The statement belongs to its connection.");
                }
            }
        }

        protected override DbParameterCollection DbParameterCollection => _values;

        protected override DbTransaction? DbTransaction { get; set; }

        public override void Cancel()
        {
            // SQLite runs in the caller's thread; there is nobody who could cancel.
        }

        public override void Prepare() => Compiled().Prepare();

        public override int ExecuteNonQuery() => Compiled().ExecuteNonQuery();

        public override object? ExecuteScalar() => Compiled().ExecuteScalar();

        protected override DbParameter CreateDbParameter() => new SqliteParameter();

        protected override DbDataReader ExecuteDbDataReader(CommandBehavior behavior) => Compiled().ExecuteReader(behavior);

        protected override void Dispose(bool disposing)
        {
            if (disposing)
            {
                GiveBack();
            }

            base.Dispose(disposing);
        }

        private SqliteCommand Compiled()
        {
            var compiled = _compiled ??= owner.Take(_text);
            compiled.Transaction = (SqliteTransaction?)DbTransaction;
            compiled.CommandTimeout = CommandTimeout;
            compiled.Parameters.Clear();
            foreach (SqliteParameter value in _values)
            {
                // Dapper leaves out the prefix; the driver would look for the name as it is and then with each prefix there may be.
                if (!value.ParameterName.StartsWith(Prefix, StringComparison.Ordinal))
                {
                    value.ParameterName = Prefix + value.ParameterName;
                }

                compiled.Parameters.Add(value);
            }

            return compiled;
        }

        private void GiveBack()
        {
            if (_compiled is { } compiled)
            {
                _compiled = null;
                owner.Rest(compiled);
            }
        }
    }

    // The driver's own list may not be made outside of a class of its kind.
    private sealed class Values : SqliteParameterCollection;
}
