using System.Reflection;
using System.Runtime.InteropServices;

namespace Hub.AgentClient.Internal;

/// <summary>Binds SQLite to the library of the operating system, so that the security updates of the machine apply to it.</summary>
internal static class SqliteLibrary
{
    private static readonly string[] LibraryNames = ["libsqlite3.so.0", "libsqlite3.dylib", "winsqlite3.dll"];

    private static readonly Lazy<bool> Bound = new(Bind);

    /// <summary>Must run before the first connection is made; every later call is free.</summary>
    public static void EnsureBound() => _ = Bound.Value;

    private static bool Bind()
    {
        try
        {
            NativeLibrary.SetDllImportResolver(typeof(SQLitePCL.SQLite3Provider_e_sqlite3).Assembly, Resolve);
        }
        catch (InvalidOperationException)
        {
            // An assembly takes one resolver only: the program that hosts this library has bound SQLite already.
        }

        SQLitePCL.raw.SetProvider(new SQLitePCL.SQLite3Provider_e_sqlite3());
        return true;
    }

    private static nint Resolve(string name, Assembly assembly, DllImportSearchPath? path)
    {
        if (name != "e_sqlite3")
        {
            return 0;
        }

        foreach (var candidate in LibraryNames)
        {
            if (NativeLibrary.TryLoad(candidate, out var handle))
            {
                return handle;
            }
        }

        throw new DllNotFoundException("SQLite is not installed: install the package libsqlite3-0 (Debian) or sqlite-libs (Fedora).");
    }
}
