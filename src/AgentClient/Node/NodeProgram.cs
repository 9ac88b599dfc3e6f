using System.Text.Json.Nodes;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Node;

/// <summary>The runnable node: built-in commands, a line protocol on its standard streams, and records of what it did.</summary>
internal static class NodeProgram
{
    // Tasks published in one step at the start.
    private const int PublishStepMax = 1_000;

    public static async Task<int> RunAsync(NodeOptions options, TextReader input, TextWriter output, CancellationToken cancellationToken)
    {
        try
        {
            await RunLinkAsync(options, input, output, cancellationToken);
            return 0;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            return 0;
        }
        catch (Exception error) when (error is IOException or ArgumentException or InvalidOperationException or UnauthorizedAccessException or DllNotFoundException)
        {
            await Console.Error.WriteLineAsync(error.Message);
            return 1;
        }
    }

    private static async Task RunLinkAsync(NodeOptions options, TextReader input, TextWriter output, CancellationToken cancellationToken)
    {
        var time = TimeProvider.System;
        // Logs go to standard error: standard output carries the answers.
        using var logs = LoggerFactory.Create(builder => builder
            .AddConsole(console => console.LogToStandardErrorThreshold = LogLevel.Trace)
            .AddSimpleConsole(console =>
            {
                console.SingleLine = true;
                console.TimestampFormat = "HH:mm:ss.fff ";
            }));
        using var sideEffects = options.SideEffectsFile is { } sideEffectsFile ? new DurableLines(sideEffectsFile) : null;
        using var ackLog = options.AckLogFile is { } ackLogFile ? new DurableLines(ackLogFile) : null;
        using var writing = new SemaphoreSlim(1);

        async Task SayAsync(string line)
        {
            await writing.WaitAsync(CancellationToken.None);
            try
            {
                await output.WriteLineAsync(line);
                await output.FlushAsync(CancellationToken.None);
            }
            finally
            {
                writing.Release();
            }
        }

        await using var link = new HubLink(new HubLinkOptions
        {
            HubUrl = options.HubUrl,
            StateDirectory = options.StateDirectory,
            JoinToken = options.JoinToken,
            Name = options.Name,
            HostType = "agent-client",
            Capabilities = ["tasks", "chat", "commands"],
            NodeVersion = typeof(HubLink).Assembly.GetName().Version?.ToString() ?? "",
            Insecure = options.Insecure,
            Status = () => new JsonObject { ["process_id"] = Environment.ProcessId },
            LoggerFactory = logs,
        });
        new BuiltInCommands(options, sideEffects, time).Register(link);
        link.OnChat((message, _) => SayAsync($"chat {message.Id} {message.From} {message.Content.ReplaceLineEndings(" ")}"));
        if (ackLog is not null)
        {
            link.RecordAcked += acked => ackLog.Append(FormattableString.Invariant($"{Word(acked.Kind)} {acked.Id} {acked.Version}"));
        }

        await link.StartAsync(cancellationToken);
        await PublishTasksAsync(link, options.PublishTasks, time);
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var driven = new LineProtocol(link, input, SayAsync, time).RunAsync(ending.Token);
        if (await Task.WhenAny(driven, link.Completion) == driven)
        {
            await driven;
            return;
        }

        await ending.CancelAsync();
        await driven.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        throw new InvalidOperationException($"The link ended for good: {await link.Completion}.");
    }

    private static async Task PublishTasksAsync(HubLink link, int count, TimeProvider time)
    {
        var updatedAt = time.GetUtcNow().ToString("O");
        foreach (var step in Enumerable.Range(1, count).Chunk(PublishStepMax))
        {
            await link.PublishTasksAsync(
                [.. step.Select(i => new HostTask { Id = $"task-{i}", Title = $"Task {i}", Status = "todo", UpdatedAt = updatedAt })]);
        }
    }

    private static string Word(RecordKind kind) => kind switch
    {
        RecordKind.Task => "task",
        RecordKind.TaskDeleted => "task_deleted",
        RecordKind.Chat => "chat",
        RecordKind.CommandOutcome => "command",
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };
}
