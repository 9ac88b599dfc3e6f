using System.ComponentModel;
using System.Diagnostics;
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

    private static string InstallCommand => $"npm ci --prefix {Path.Combine(RepositoryRoot, ".ci")}";

    /// <summary>Folder of the installed modules.</summary>
    public static Task<string> ModulesAsync() => LazyModules.Value;

    /// <summary>Runs a script with the modules of .ci.</summary>
    public static async Task<string> RunNodeAsync(string script, params string[] arguments) =>
        await RunAsync("node", [script, .. arguments], await LazyModules.Value, input: null, RunLimit);

    /// <summary>Runs buf.</summary>
    public static async Task<string> RunBufAsync(string? input, params string[] arguments)
    {
        var modules = await LazyModules.Value;
        return await RunAsync(Path.Combine(modules, "@bufbuild", "buf-linux-x64", "bin", "buf"), arguments, modules, input, RunLimit);
    }

    private static async Task<string> InstallAsync()
    {
        var folder = Path.Combine(RepositoryRoot, ".ci");
        var modules = Path.Combine(folder, "node_modules");

        // Test processes run side by side; the first installs, the others wait here and then find it done.
        await using var turn = await TakeTurnAsync();
        var installed = new FileInfo(Path.Combine(modules, ".package-lock.json"));
        if (!installed.Exists || installed.LastWriteTimeUtc < File.GetLastWriteTimeUtc(Path.Combine(folder, "package-lock.json")))
        {
            await RunAsync("npm", ["ci", "--no-audit", "--no-fund", "--prefix", folder], modules, input: null, InstallLimit);
        }

        return modules;
    }

    private static async Task<FileStream> TakeTurnAsync()
    {
        // Named by the repository, so that two checkouts do not wait for each other.
        var name = Convert.ToHexString(SHA256.HashData(Encoding.UTF8.GetBytes(RepositoryRoot)).AsSpan(0, 8));
        var path = Path.Combine(Path.GetTempPath(), $"npm-ci-{name}.lock");
        using var limit = new CancellationTokenSource(InstallLimit);
        while (true)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(200), TimeProvider.System, limit.Token);
            }
        }
    }

    private static async Task<string> RunAsync(string program, string[] arguments, string modules, string? input, TimeSpan limit)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            Environment =
            {
                ["NODE_PATH"] = modules,
                // Tests leave the machine for packages only.
                ["REDOCLY_SUPPRESS_UPDATE_NOTICE"] = "true",
                ["REDOCLY_TELEMETRY"] = "off",
            },
        };
        Process process;
        try
        {
            process = Process.Start(start)!;
        }
        catch (Win32Exception exception)
        {
            throw new InvalidOperationException(
                $"{program} cannot be run ({exception.Message}). Install: apt-get install -y --no-install-recommends nodejs npm && {InstallCommand}", exception);
        }

        using (process)
        {
            var output = process.StandardOutput.ReadToEndAsync();
            var error = process.StandardError.ReadToEndAsync();
            if (input is not null)
            {
                await process.StandardInput.WriteAsync(input);
            }

            process.StandardInput.Close();
            try
            {
                await process.WaitForExitAsync().WaitAsync(limit);
            }
            catch (TimeoutException)
            {
                process.Kill(entireProcessTree: true);
                throw;
            }

            return process.ExitCode == 0
                ? await output
                : throw new InvalidOperationException(
                    $"{program} {string.Join(' ', arguments)} ended with {process.ExitCode}: {await error} {await output}");
        }
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
