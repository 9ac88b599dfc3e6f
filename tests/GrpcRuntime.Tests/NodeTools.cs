using System.Security.Cryptography;
using System.Text;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Programs that come from npm. They are pinned in .ci and installed there once, by whichever test needs them first.</summary>
internal static class NodeTools
{
    private static readonly TimeSpan InstallLimit = TimeSpan.FromMinutes(3);
    private static readonly TimeSpan RunLimit = TimeSpan.FromSeconds(60);
    private static readonly Lazy<Task<string>> LazyModules = new(InstallAsync);

    public static string RepositoryRoot { get; } = FindRoot();

    /// <summary>The folder of these tests, where the scripts and protos of other makers' programs are.</summary>
    public static string TestFolder { get; } = Path.Combine(RepositoryRoot, "tests", "GrpcRuntime.Tests");

    private static string CiFolder => Path.Combine(RepositoryRoot, ".ci");

    private static string InstallCommand => $"apt-get install -y --no-install-recommends nodejs npm && npm ci --prefix {CiFolder}";

    /// <summary>Folder of the installed modules.</summary>
    public static Task<string> ModulesAsync() => LazyModules.Value;

    /// <summary>Runs a script with the modules of .ci.</summary>
    public static async Task<string> RunNodeAsync(string script, params string[] arguments) =>
        await Programs.RunAsync("node", [script, .. arguments], InstallCommand, RunLimit, await EnvironmentAsync());

    /// <summary>Starts a server script with the modules of .ci.</summary>
    public static async Task<ServerProcess> StartNodeAsync(string script, params string[] arguments) =>
        await Programs.StartServerAsync("node", [script, .. arguments], InstallCommand, await EnvironmentAsync());

    /// <summary>Runs buf.</summary>
    public static async Task<string> RunBufAsync(string? input, params string[] arguments) =>
        await Programs.RunAsync(
            Path.Combine(await LazyModules.Value, "@bufbuild", "buf-linux-x64", "bin", "buf"),
            arguments,
            InstallCommand,
            RunLimit,
            await EnvironmentAsync(),
            input);

    private static async Task<Dictionary<string, string>> EnvironmentAsync() => new() { ["NODE_PATH"] = await LazyModules.Value };

    private static async Task<string> InstallAsync()
    {
        const string InstallOnce = """test "$1/node_modules/.package-lock.json" -nt "$1/package-lock.json" || npm ci --no-audit --no-fund --prefix "$1" """;

        // Test processes run side by side; the first installs, the others wait for the lock and then find it done. The lock is named by
        // the repository, so that two checkouts do not wait for each other.
        var name = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(RepositoryRoot)).AsSpan(0, 8));
        var path = Path.Combine(Path.GetTempPath(), $"npm-ci-{name}.lock");
        await Programs.RunAsync("flock", [path, "sh", "-c", InstallOnce, "sh", CiFolder], InstallCommand, InstallLimit);
        return Path.Combine(CiFolder, "node_modules");
    }

    private static string FindRoot()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Hub.sln")))
            {
                return folder.FullName;
            }
        }

        throw new InvalidOperationException("The tests have to run inside the repository: no Hub.sln above them.");
    }
}
