using System.Globalization;
using Microsoft.Data.Sqlite;

namespace Hub.AgentClient.Internal;

/// <summary>
/// The node's durable memory, one SQLite file: what the Hub has not acknowledged (outbox), what it was last told (mirror), which commands
/// the node holds, and which chat messages wait for the handler. It knows rows and numbers; what they mean is <see cref="NodeSession"/>'s.
/// Not thread-safe: one owner at a time. A method that writes runs inside <see cref="Write{T}"/>.
/// </summary>
internal sealed partial class Journal : IDisposable
{
    private readonly SqliteConnection _connection;
    private readonly Dictionary<string, SqliteCommand> _commands = [];
    private bool _inTransaction;

    private Journal(SqliteConnection connection) => _connection = connection;

    /// <summary>Random, made with the file; a new one tells the Hub that numbering starts again.</summary>
    public string JournalId => Meta("journal_id")!;

    /// <summary>Epoch of the last Welcome stored under this journal id; 0 before the first.</summary>
    public long Epoch => MetaNumber("epoch");

    /// <summary>Highest downstream chat number taken durably.</summary>
    public long ChatDownSeq => MetaNumber("chat_down_seq");

    /// <summary>Opens the journal, or makes it when the file does not exist. Only one process at a time can have it open.</summary>
    /// <exception cref="IOException">Another process has it open, or it was written by a newer version.</exception>
    public static Journal Open(string path)
    {
        SqliteLibrary.EnsureBound();
        // The timeout (in seconds) only bounds how long a file that another process owns is tried for.
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Pooling = false, DefaultTimeout = 1 }.ToString());
        try
        {
            connection.Open();
            var journal = new Journal(connection);
            journal.Prepare(path);
            return journal;
        }
        catch (Exception error) when (IsBusy(error) || IsBusy(error.InnerException))
        {
            connection.Dispose();
            throw new IOException($"The journal {path} is in use by another process.", error);
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    /// <summary>Runs <paramref name="body"/> in one transaction that is on the disk when this returns.</summary>
    /// <exception cref="JournalException">The disk is full or broken; nothing was stored.</exception>
    public T Write<T>(Func<T> body)
    {
        if (_inTransaction)
        {
            throw new InvalidOperationException("A journal transaction is open already.");
        }

        _inTransaction = true;
        try
        {
            Execute("begin immediate");
            var result = body();
            Execute("commit");
            return result;
        }
        catch (SqliteException error)
        {
            RollBack();
            throw new JournalException($"The journal could not be written. {error.Message}", error);
        }
        catch
        {
            RollBack();
            throw;
        }
        finally
        {
            _inTransaction = false;
        }
    }

    /// <inheritdoc cref="Write{T}"/>
    public void Write(Action body) => Write(() =>
    {
        body();
        return true;
    });

    public void StoreEpoch(long epoch) => SetMeta("epoch", epoch);

    /// <summary>A version greater than any given before, normally the time in epoch microseconds, so that a clock set back cannot lose a change.</summary>
    public long NextVersion(DateTimeOffset now)
    {
        var micros = (now - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;
        var version = Math.Max(MetaNumber("last_version") + 1, micros);
        SetMeta("last_version", version);
        return version;
    }

    /// <summary>Versions given from now on are greater than this one.</summary>
    public void RaiseVersion(long version)
    {
        if (version > MetaNumber("last_version"))
        {
            SetMeta("last_version", version);
        }
    }

    /// <summary>
    /// Takes a new journal id after the Hub found this one to be an old copy: every number given so far is void. The command journal stays,
    /// since it says what was started; the mirror stays, but no longer counts as whole.
    /// </summary>
    public void BecomeNewJournal()
    {
        SetMeta("journal_id", Guid.NewGuid().ToString("N"));
        StoreEpoch(0);
        RestartNumbering();
        Execute("update collections set whole = 0");
    }

    public void Dispose()
    {
        foreach (var command in _commands.Values)
        {
            command.Dispose();
        }

        _connection.Dispose();
    }

    private static bool IsBusy(Exception? error) =>
        error is SqliteException { SqliteErrorCode: SQLitePCL.raw.SQLITE_BUSY or SQLitePCL.raw.SQLITE_LOCKED };

    private void Prepare(string path)
    {
        // One process owns the file for as long as it lives; the operating system frees the lock even after a kill.
        Execute("pragma locking_mode = exclusive");
        Execute("pragma busy_timeout = 0");
        if (Scalar<string>("pragma journal_mode = wal") != "wal")
        {
            throw new IOException($"The file system of {path} does not allow SQLite's write-ahead log.");
        }

        Execute("pragma synchronous = full");
        var version = Scalar<long>("pragma user_version");
        if (version > JournalSchema.Version)
        {
            throw new IOException($"The journal {path} has schema {version}; this program knows {JournalSchema.Version}.");
        }

        Write(() =>
        {
            if (version == 0)
            {
                Execute(JournalSchema.Text);
                SetMeta("journal_id", Guid.NewGuid().ToString("N"));
                foreach (var lane in LaneWindow.Lanes)
                {
                    Execute("insert into lanes(lane, last_seq, acked_seq) values($1, 0, 0)", (int)lane);
                }

                foreach (var collection in Records.Collections)
                {
                    Execute("insert into collections(collection, whole, snapshot_pending) values($1, 0, 0)", (int)collection);
                }

                Execute("pragma user_version = 1");
            }

            // A write in every case: it takes the lock now instead of at the first change.
            Execute("delete from staging");
        });
    }

    private void RollBack()
    {
        _outboxRows = null;

        // SQLite may have rolled back by itself, as it does when the disk is full.
        if (SQLitePCL.raw.sqlite3_get_autocommit(_connection.Handle) == 0)
        {
            Execute("rollback");
        }
    }

    private string? Meta(string key) => Scalar<string>("select value from meta where key = $1", key);

    private long MetaNumber(string key) => Meta(key) is { } text ? long.Parse(text, CultureInfo.InvariantCulture) : 0;

    private void SetMeta(string key, string value) =>
        Execute("insert into meta(key, value) values($1, $2) on conflict(key) do update set value = excluded.value", key, value);

    private void SetMeta(string key, long value) => SetMeta(key, value.ToString(CultureInfo.InvariantCulture));

    private int Execute(string sql, params ReadOnlySpan<object?> values) => Bind(sql, values).ExecuteNonQuery();

    private T? Scalar<T>(string sql, params ReadOnlySpan<object?> values) => Bind(sql, values).ExecuteScalar() is T value ? value : default;

    private SqliteDataReader Query(string sql, params ReadOnlySpan<object?> values) => Bind(sql, values).ExecuteReader();

    // The set of texts is fixed by the code of this class, which bounds the cache of prepared statements.
    private SqliteCommand Bind(string sql, ReadOnlySpan<object?> values)
    {
        if (!_commands.TryGetValue(sql, out var command))
        {
            command = _connection.CreateCommand();
#pragma warning disable CA2100 // Every text is a constant of this class; values travel as parameters.
            command.CommandText = sql;
#pragma warning restore CA2100
            _commands.Add(sql, command);
        }

        command.Parameters.Clear();
        for (var i = 0; i < values.Length; i++)
        {
            command.Parameters.AddWithValue(FormattableString.Invariant($"${i + 1}"), values[i] ?? DBNull.Value);
        }

        return command;
    }

    private static byte[] Blob(SqliteDataReader reader, int column) => reader.GetFieldValue<byte[]>(column);
}
