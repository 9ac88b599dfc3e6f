using System.Diagnostics;

namespace Hub.Cli;

/// <summary>The demo's node: AgentClient as a process of its own, driven by lines on its standard input.</summary>
internal sealed class DemoNode(Uri hubUrl, string joinToken, string stateDirectory, string sideEffects) : IAsyncDisposable
{
    private const string Program = "Hub.AgentClient.dll";

    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan EndWithin = TimeSpan.FromSeconds(20);

    private Process? _process;

    public int ProcessId => _process?.Id ?? 0;

    public void Start()
    {
        var start = new ProcessStartInfo("dotnet")
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            ArgumentList =
            {
                Path.Combine(AppContext.BaseDirectory, Program), "run", "--hub", hubUrl.ToString(), "--join-token", joinToken,
                "--state", stateDirectory, "--name", "demo-node", "--side-effects", sideEffects,
            },
        };
        _process?.Dispose();
        _process = Process.Start(start) ?? throw new InvalidOperationException("The node's process did not start.");
        _process.ErrorDataReceived += (_, line) =>
        {
            if (!string.IsNullOrWhiteSpace(line.Data))
            {
                Console.WriteLine($"      node | {line.Data}");
            }
        };
        _process.BeginErrorReadLine();
    }

    /// <summary>Gives the node a line and waits for its answer.</summary>
    public async Task SayAsync(string line, CancellationToken cancellation)
    {
        var process = _process ?? throw new InvalidOperationException("The node is not running.");
        await process.StandardInput.WriteLineAsync(line.AsMemory(), cancellation);
        await process.StandardInput.FlushAsync(cancellation);
        while (await process.StandardOutput.ReadLineAsync(cancellation).AsTask().WaitAsync(AnswerWithin, cancellation) is { } answer)
        {
            if (answer.StartsWith("ok ", StringComparison.Ordinal))
            {
                return;
            }

            Console.WriteLine($"      node | {answer}");
            if (answer.StartsWith("error ", StringComparison.Ordinal))
            {
                throw new InvalidOperationException($"The node refused '{line}': {answer}");
            }
        }
    }

    /// <summary>SIGKILL: no chance to say anything.</summary>
    public void Kill()
    {
        _process?.Kill();
        _process?.WaitForExit();
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is null)
        {
            return;
        }

        if (!_process.HasExited)
        {
            using var bound = new CancellationTokenSource(EndWithin);
            try
            {
                await _process.StandardInput.WriteLineAsync("quit".AsMemory(), bound.Token);
                await _process.WaitForExitAsync(bound.Token);
            }
            catch (Exception e) when (e is OperationCanceledException or IOException)
            {
                Kill();
            }
        }

        _process.Dispose();
    }
}
