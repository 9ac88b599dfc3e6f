using System.Runtime.InteropServices;
using SQLitePCL;

namespace Hub.Storage;

/// <summary>Binds the SQLite provider to the system's library; the bundled one is older and lacks the security fixes of the distribution.</summary>
internal static class SqliteLibrary
{
    private static readonly string[] Names = ["libsqlite3.so.0", "libsqlite3.dylib", "winsqlite3.dll"];

    // https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html
    private const int FileControlHasMoved = 20;

    // https://www.sqlite.org/c3ref/c_config_covering_index_scan.html
    private const int ConfigStatementJournalSpill = 26;

    /// <summary>
    /// What SQLite keeps in memory to undo one statement: 31 pages with their numbers. A row that is new to each of its table's indexes may split
    /// more than the 15 pages of the default; then it keeps a file to undo every further statement of the transaction too, which is most of what
    /// it writes. It writes this much at once when it does begin a file, and no system call of SQLite takes 128 KiB or more.
    /// </summary>
    private const int StatementJournalBytes = 31 * ((4 * 1024) + sizeof(int));

    private static FileControl? _fileControl;

    private static SetLogHook? _setLogHook;

    private static readonly Lazy<bool> Bound = new(Bind);

    /// <summary>Once per process, before the first connection.</summary>
    public static void Load() => _ = Bound.Value;

    /// <summary>Whether the file is no longer the one at the path it was opened by. Systems that lock open files in place never say so.</summary>
    public static bool HasMoved(sqlite3 database) =>
        _fileControl!(database, "main", FileControlHasMoved, out var moved) == raw.SQLITE_OK && moved != 0;

    /// <summary>
    /// Has the hook called after each commit with the pages that the log then holds, in place of the checkpoints that SQLite does by itself. It is
    /// called in the commit, must not throw, and has to live as long as the connection. (https://www.sqlite.org/c3ref/wal_hook.html)
    /// </summary>
    public static void AfterCommit(sqlite3 database, LogHook hook) => _ = _setLogHook!(database, hook, 0);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    public delegate int LogHook(nint state, nint database, nint schema, int pages);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate nint SetLogHook(sqlite3 database, LogHook hook, nint state);

    [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
    private delegate int FileControl(sqlite3 database, [MarshalAs(UnmanagedType.LPUTF8Str)] string schema, int operation, out int answer);

    private static bool Bind()
    {
        var library = Names.Select(name => NativeLibrary.TryLoad(name, out var handle) ? handle : 0).FirstOrDefault(handle => handle != 0);
        if (library == 0)
        {
            throw new StoreRefusedException(
                StoreRefusal.LibraryMissing, "SQLite is not installed: install the package libsqlite3-0 (Debian, Ubuntu), sqlite-libs (Fedora, Alpine).");
        }
        try
        {
            NativeLibrary.SetDllImportResolver(typeof(SQLite3Provider_e_sqlite3).Assembly, (name, _, _) => name == "e_sqlite3" ? library : 0);
        }
        catch (InvalidOperationException)
        {
            // Another library in this process was first; it has bound the same provider in the same way.
        }
        // The provider does not have these.
        _setLogHook = Marshal.GetDelegateForFunctionPointer<SetLogHook>(NativeLibrary.GetExport(library, "sqlite3_wal_hook"));
        _fileControl = Marshal.GetDelegateForFunctionPointer<FileControl>(NativeLibrary.GetExport(library, "sqlite3_file_control"));
        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        _ = raw.sqlite3_config(ConfigStatementJournalSpill, StatementJournalBytes); // Refused, and only slower, where SQLite is in use already.
        return true;
    }
}
