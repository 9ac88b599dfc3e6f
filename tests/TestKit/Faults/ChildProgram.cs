using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;

namespace Hub.TestKit.Faults;

/// <summary>
/// One of our programs as a process of its own: its lines can be read, it can be told lines, and it can be killed with SIGKILL. The last lines
/// of its error stream are kept for a failure's message.
/// </summary>
public sealed class ChildProgram : IAsyncDisposable
{
    private const int ErrorLinesMax = 40;

    // Ports to choose from, and how far apart processes begin.
    private const int FirstPort = 15_000;
    private const int Ports = 15_000;
    private const int PortsPerProcess = 97;

    private static int _ports;

    private readonly Process _process;
    private readonly Channel<string> _output = Channel.CreateBounded<string>(10_000);
    private readonly ConcurrentQueue<string> _errors = new();

    private ChildProgram(Process process) => _process = process;

    /// <param name="assembly">File name of the program's assembly; it lies beside the tests.</param>
    public static ChildProgram Start(string assembly, IEnumerable<string> arguments, IReadOnlyDictionary<string, string>? environment = null) =>
        StartCommand(["dotnet", Path.Combine(AppContext.BaseDirectory, assembly), .. arguments], environment);

    /// <param name="command">A program and its arguments.</param>
    public static ChildProgram StartCommand(string[] command, IReadOnlyDictionary<string, string>? environment = null)
    {
        var start = new ProcessStartInfo(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        foreach (var (key, value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[key] = value;
        }

        var process = Process.Start(start) ?? throw new InvalidOperationException($"{command[0]} did not start.");
        var program = new ChildProgram(process);
        process.OutputDataReceived += (_, line) => program.Read(line.Data);
        process.ErrorDataReceived += (_, line) => program.ReadError(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        return program;
    }

    public int ProcessId => _process.Id;

    public string Errors => string.Join(Environment.NewLine, _errors);

    /// <summary>Gives the program a line; false if it is gone.</summary>
    public async Task<bool> TrySayAsync(string line)
    {
        try
        {
            await _process.StandardInput.WriteLineAsync(line);
            await _process.StandardInput.FlushAsync();
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }

    /// <summary>The next line of its output that starts so, or null if it ends first.</summary>
    /// <param name="limit">How long to wait for each line; null = as tests wait.</param>
    public async Task<string?> ReadUntilAsync(string prefix, TimeSpan? limit = null)
    {
        try
        {
            while (true)
            {
                var line = await _output.Reader.ReadAsync().AsTask().Within(limit);
                if (line.StartsWith(prefix, StringComparison.Ordinal))
                {
                    return line;
                }
            }
        }
        catch (ChannelClosedException)
        {
            return null;
        }
    }

    /// <summary>The ports of the line "port N …", by which a server says that it serves.</summary>
    /// <exception cref="InvalidOperationException">It ended without that line.</exception>
    public async Task<string[]> ReadPortsAsync()
    {
        const string prefix = "port ";
        var line = await ReadUntilAsync(prefix)
            ?? throw new InvalidOperationException($"{string.Join(' ', _process.StartInfo.ArgumentList)} does not serve: {Errors}");
        return line[prefix.Length..].Split(' ');
    }

    /// <summary>SIGKILL: no chance to say or write anything more.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync().Within();
    }

    /// <summary>Waits until the program ends by itself.</summary>
    public async Task<int> WaitForExitAsync()
    {
        await _process.WaitForExitAsync().Within();
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            await KillAsync();
        }

        _process.Dispose();
    }

    /// <summary>
    /// A loopback port nobody listens on at the moment. Below those that systems give to connections, so that none takes it meanwhile.
    /// </summary>
    public static int FreePort()
    {
        while (true)
        {
            var port = FirstPort + ((Environment.ProcessId * PortsPerProcess) + Interlocked.Increment(ref _ports)) % Ports;
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, port);
                probe.Start();
                return port;
            }
            catch (SocketException)
            {
                // Taken; the next one.
            }
        }
    }

    private void Read(string? line)
    {
        if (line is null)
        {
            _output.Writer.TryComplete();
        }
        else
        {
            _output.Writer.TryWrite(line);
        }
    }

    private void ReadError(string? line)
    {
        if (line is not null)
        {
            _errors.Enqueue(line);
            while (_errors.Count > ErrorLinesMax)
            {
                _errors.TryDequeue(out _);
            }
        }
    }
}
