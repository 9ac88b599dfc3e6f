using System.Runtime.InteropServices;
using SQLitePCL;

namespace Hub.Storage;

/// <summary>Binds the SQLite provider to the system's library; the bundled one is older and lacks the security fixes of the distribution.</summary>
internal static class SqliteLibrary
{
    private static readonly string[] Names = ["libsqlite3.so.0", "libsqlite3.dylib", "winsqlite3.dll"];

    private static readonly Lazy<bool> Bound = new(Bind);

    /// <summary>Once per process, before the first connection.</summary>
    public static void Load() => _ = Bound.Value;

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
        raw.SetProvider(new SQLite3Provider_e_sqlite3());
        return true;
    }
}
