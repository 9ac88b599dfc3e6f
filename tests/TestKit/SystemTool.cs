using System.Diagnostics;

namespace Hub.TestKit;

/// <summary>Runs programs of the machine to their end.</summary>
internal static class SystemTool
{
    public static async Task<bool> TryRunAsync(string program, params string[] arguments) => (await RunToEndAsync(program, arguments)).ExitCode == 0;

    public static async Task RunAsync(string program, params string[] arguments)
    {
        var (exitCode, output) = await RunToEndAsync(program, arguments);
        if (exitCode != 0)
        {
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} ended with {exitCode}: {output}");
        }
    }

    private static async Task<(int ExitCode, string Output)> RunToEndAsync(string program, string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = "/", // One that every user may enter.
        })!;
        var output = process.StandardOutput.ReadToEndAsync();
        var errors = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().Within(TimeSpan.FromMinutes(1));
        return (process.ExitCode, await output + await errors);
    }
}
