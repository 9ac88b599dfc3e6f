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

    private readonly SqliteLibrary.LogHook _afterCommit;

    private SqliteConnection? _mover; // Guarded by _moving.

    private int _logPages; // The Writer's thread alone.

    private volatile Stage _stage = Stage.Resting;

    public SqliteCheckpoints()
    {
        _afterCommit = (_, _, _, pages) =>
        {
            _logPages = pages;
            return raw.SQLITE_OK;
        };
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

    /// <summary>Follows a connection of the Writer's, with another to the same file.</summary>
    /// <param name="mover">
    /// Is taken over. Whoever opened the path later could meet another file there, and move this one's log into it.
    /// </param>
    public void Follow(SqliteConnection writer, SqliteConnection mover)
    {
        lock (_moving)
        {
            _mover?.Dispose();
            _mover = mover;
        }

        _ = mover.QuerySingle<long>("pragma schema_version"); // A connection that has read nothing yet does not know of the log.
        _logPages = 0;
        SqliteLibrary.AfterCommit(writer.Handle!, _afterCommit);
    }

    /// <summary>For the Writer to call between groups, outside of a transaction.</summary>
    public void Advance(SqliteConnection writer)
    {
        switch (_stage)
        {
            case Stage.Resting when _logPages >= LogPagesMax:
                _stage = Stage.Moving;
                _asked.Set();
                break;
            case Stage.Moved when _logPages >= LogPagesMax:
                Move(writer); // Again after the next group, if somebody still reads from the log as that begins.
                break;
            case Stage.Moved:
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
        _mover?.Dispose();
    }

    // What keeps it from moving all (a reader, another process, a full disk) is over when it is asked for the next time, or shows in a commit.
    private static void Move(SqliteConnection connection) =>
        _ = raw.sqlite3_wal_checkpoint_v2(connection.Handle, "main", raw.SQLITE_CHECKPOINT_PASSIVE, out _, out _);

    private void MoveOnRequest()
    {
        while (_asked.WaitOne() && _stage == Stage.Moving)
        {
            lock (_moving)
            {
                Move(_mover!);
            }

            _ = Interlocked.CompareExchange(ref _stage, Stage.Moved, Stage.Moving);
        }
    }
}
