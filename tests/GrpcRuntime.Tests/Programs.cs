using System.ComponentModel;
using System.Diagnostics;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Other makers' programs as processes of a test.</summary>
internal static class Programs
{
    /// <summary>Runs a program to its end and returns its output.</summary>
    /// <param name="program">Name or path.</param>
    /// <param name="arguments">Passed as they are, through no shell.</param>
    /// <param name="install">The command that installs the program, for the message if it is missing.</param>
    /// <param name="limit">A run that takes longer is ended and fails.</param>
    /// <param name="environment">Variables beside those of this process.</param>
    /// <param name="input">What the program reads; nothing if null.</param>
    public static async Task<string> RunAsync(
        string program,
        string[] arguments,
        string install,
        TimeSpan limit,
        IReadOnlyDictionary<string, string>? environment = null,
        string? input = null)
    {
        using var process = Start(program, arguments, install, environment);
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

    /// <summary>Starts a server that prints its port first and runs until its input ends.</summary>
    public static async Task<ServerProcess> StartServerAsync(
        string program, string[] arguments, string install, IReadOnlyDictionary<string, string>? environment = null)
    {
        var process = Start(program, arguments, install, environment);
        var error = process.StandardError.ReadToEndAsync();
        var line = await process.StandardOutput.ReadLineAsync().Within();
        if (!int.TryParse(line, out var port))
        {
            process.Kill(entireProcessTree: true);
            throw new InvalidOperationException($"{program} {string.Join(' ', arguments)} did not print a port: {line} {await error}");
        }

        return new ServerProcess(process, error, $"http://127.0.0.1:{port}");
    }

    private static Process Start(string program, string[] arguments, string install, IReadOnlyDictionary<string, string>? environment)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (name, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }

        try
        {
            return Process.Start(start)!;
        }
        catch (Win32Exception exception)
        {
            throw new InvalidOperationException($"{program} cannot be run ({exception.Message}). Install: {install}", exception);
        }
    }
}

/// <summary>A server in a process of its own.</summary>
internal sealed class ServerProcess(Process process, Task<string> error, string address) : IAsyncDisposable
{
    public string Address { get; } = address;

    public async ValueTask DisposeAsync()
    {
        using (process)
        {
            process.StandardInput.Close();
            try
            {
                await process.WaitForExitAsync().Within();
                await error.Within();
            }
            catch (TimeoutException)
            {
                process.Kill(entireProcessTree: true);
                throw;
            }
        }
    }
}
