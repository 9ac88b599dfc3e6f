using System.Runtime.InteropServices;
using SQLitePCL;

namespace Hub.Storage;

/// <summary>Binds the SQLite provider to the system's library; the bundled one is older and lacks the security fixes of the distribution.</summary>
internal static class SqliteLibrary
{
    private static readonly string[] Names = ["libsqlite3.so.0", "libsqlite3.dylib", "winsqlite3.dll"];

    // https://www.sqlite.org/c3ref/c_fcntl_begin_atomic_write.html
    private const int FileControlHasMoved = 20;

    private static FileControl? _fileControl;

    private static readonly Lazy<bool> Bound = new(Bind);

    /// <summary>Once per process, before the first connection.</summary>
    public static void Load() => _ = Bound.Value;

    /// <summary>Whether the file is no longer the one at the path it was opened by. Systems that lock open files in place never say so.</summary>
    public static bool HasMoved(sqlite3 database) =>
        _fileControl!(database, "main", FileControlHasMoved, out var moved) == raw.SQLITE_OK && moved != 0;

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
        // The provider does not have this one.
        _fileControl = Marshal.GetDelegateForFunctionPointer<FileControl>(NativeLibrary.GetExport(library, "sqlite3_file_control"));
        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        return true;
    }
}
