using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;

namespace Hub.AgentClient.Node;

/// <summary>Runs payload.command in the system's shell, bounded in time and output. The whole process tree ends with the command.</summary>
internal sealed class ShellCommand(TimeProvider time)
{
    /// <summary>Characters kept of each output; the rest is read and dropped, so that the process is not held up.</summary>
    public const int OutputCharsMax = 64 * 1024;

    private static readonly TimeSpan TimeoutDefault = TimeSpan.FromMinutes(1);
    private static readonly TimeSpan TimeoutMax = TimeSpan.FromMinutes(30);

    public async Task<JsonNode?> RunAsync(CommandContext context)
    {
        var command = context.Payload["command"]?.GetValue<string>() ?? throw new ArgumentException("payload.command is missing.");
        var timeout = context.Payload["timeout_ms"]?.GetValue<double>() is { } given ? TimeSpan.FromMilliseconds(given) : TimeoutDefault;
        if (timeout <= TimeSpan.Zero || timeout > TimeoutMax)
        {
            throw new ArgumentException($"payload.timeout_ms takes 1 to {TimeoutMax.TotalMilliseconds}.");
        }

        using var process = Process.Start(Describe(command)) ?? throw new InvalidOperationException("The shell did not start.");
        process.StandardInput.Close();
        using var timer = new CancellationTokenSource(timeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timer.Token, context.CancellationToken);
        try
        {
            var output = ReadAsync(process.StandardOutput, either.Token);
            var error = ReadAsync(process.StandardError, either.Token);
            await Task.WhenAll(output, error, process.WaitForExitAsync(either.Token));
            return new JsonObject { ["exit_code"] = process.ExitCode, ["stdout"] = await output, ["stderr"] = await error };
        }
        catch (OperationCanceledException) when (timer.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
        {
            throw new TimeoutException($"The command ran longer than {timeout.TotalMilliseconds} ms.");
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill(entireProcessTree: true);
            }
        }
    }

    private static ProcessStartInfo Describe(string command)
    {
        var start = new ProcessStartInfo { RedirectStandardInput = true, RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false };
        (start.FileName, var flag) = OperatingSystem.IsWindows() ? ("cmd.exe", "/c") : ("/bin/sh", "-c");
        start.ArgumentList.Add(flag);
        start.ArgumentList.Add(command);
        return start;
    }

    private static async Task<string> ReadAsync(StreamReader reader, CancellationToken cancellationToken)
    {
        var text = new StringBuilder();
        var buffer = new char[4096];
        for (var read = 1; read > 0;)
        {
            read = await reader.ReadAsync(buffer, cancellationToken);
            text.Append(buffer, 0, Math.Min(read, OutputCharsMax - text.Length));
        }

        return text.ToString();
    }
}
