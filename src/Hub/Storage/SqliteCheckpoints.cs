using Dapper;
using Microsoft.Data.Sqlite;
using SQLitePCL;

namespace Hub.Storage;

/// <summary>
/// Moves what the log of a SQLite file holds into the file, so that the log starts over. SQLite by itself does so in the commit that fills
/// the log, which then takes fifty times as long as others. Here a thread moves it while the Writer goes on, and the Writer moves the
/// little that was added meanwhile, between two groups: a log starts over only when all of it is in the file.
/// (https://www.sqlite.org/wal.html, sections 2.2 and 3.2)
/// </summary>
internal sealed class SqliteCheckpoints : IDisposable
{
    /// <summary>Pages in the log from which on it is moved: SQLite's own choice. A reader that takes long lets the log grow beyond.</summary>
    public const int LogPagesMax = 1_000;

    private readonly AutoResetEvent _asked = new(false);

    private readonly Thread _thread;

    private readonly Lock _moving = new();

    private SqliteConnection? _connection; // Guarded by _moving.

    private volatile Stage _stage = Stage.Resting;

    public SqliteCheckpoints()
    {
        _thread = new Thread(MoveOnRequest) { IsBackground = true, Name = "hub-checkpoints" };
        _thread.Start();
    }

    private enum Stage
    {
        Resting,
        Moving,
        Moved,
        Ended,
    }

    /// <summary>
    /// Takes over another connection to what the Writer has just opened. Whoever opened the path later could meet another file there, and
    /// move this one's log into it.
    /// </summary>
    public void Use(SqliteConnection connection)
    {
        _ = connection.QuerySingle<long>("pragma schema_version"); // A connection that has read nothing yet does not know of the log.
        lock (_moving)
        {
            _connection?.Dispose();
            _connection = connection;
        }
    }

    /// <summary>For the Writer to call between groups, outside of a transaction.</summary>
    public void Advance(SqliteConnection writer)
    {
        switch (_stage)
        {
            case Stage.Resting when PagesWritten(writer, restart: false) >= LogPagesMax:
                _ = PagesWritten(writer, restart: true);
                _stage = Stage.Moving;
                _asked.Set();
                break;
            case Stage.Moved:
                Move(writer);
                _stage = Stage.Resting;
                break;
        }
    }

    public void Dispose()
    {
        _stage = Stage.Ended;
        _asked.Set();
        _thread.Join();
        _asked.Dispose();
        _connection?.Dispose();
    }

    // What keeps it from moving all (a reader, another process, a full disk) is over when it is asked for the next time, or shows in a commit.
    private static void Move(SqliteConnection connection) =>
        _ = raw.sqlite3_wal_checkpoint_v2(connection.Handle, "main", raw.SQLITE_CHECKPOINT_PASSIVE, out _, out _);

    private static int PagesWritten(SqliteConnection writer, bool restart)
    {
        _ = raw.sqlite3_db_status(writer.Handle, raw.SQLITE_DBSTATUS_CACHE_WRITE, out var pages, out _, restart ? 1 : 0);
        return pages;
    }

    private void MoveOnRequest()
    {
        while (_asked.WaitOne() && _stage == Stage.Moving)
        {
            lock (_moving)
            {
                Move(_connection!);
            }

            _ = Interlocked.CompareExchange(ref _stage, Stage.Moved, Stage.Moving);
        }
    }
}
