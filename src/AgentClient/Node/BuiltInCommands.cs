using System.Globalization;
using System.Text.Json.Nodes;

namespace Hub.AgentClient.Node;

/// <summary>The commands the runnable node handles.</summary>
internal sealed class BuiltInCommands(NodeOptions options, DurableLines? sideEffects, TimeProvider time)
{
    private static readonly TimeSpan SleepMax = TimeSpan.FromHours(24);
    private static readonly TimeSpan SleepStep = TimeSpan.FromMilliseconds(100);

    public void Register(HubLink link)
    {
        link.Handle("echo", context => Task.FromResult<JsonNode?>(context.Payload.DeepClone()));
        link.Handle("append", Append);
        link.Handle("context_sync", SyncContext);
        link.Handle("sleep", SleepAsync);
        if (options.AllowShell)
        {
            link.Handle("shell", new ShellCommand(time).RunAsync);
        }
    }

    // The line comes first: it is the record of the attempt having started.
    private Task<JsonNode?> Append(CommandContext context)
    {
        if (sideEffects is null)
        {
            throw new InvalidOperationException("The node was started without --side-effects.");
        }

        sideEffects.Append(FormattableString.Invariant($"{context.CommandId} {context.Attempt}"));
        return Task.FromResult<JsonNode?>(new JsonObject { ["appended"] = true });
    }

    private Task<JsonNode?> SyncContext(CommandContext context)
    {
        if (context.Payload["agent"] is not JsonValue agent || !agent.TryGetValue<string>(out var name) || name.Length == 0)
        {
            throw new ArgumentException("payload.agent is missing.");
        }

        var now = time.GetUtcNow().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        return Task.FromResult<JsonNode?>(new JsonObject { ["agent"] = name, ["syncedAt"] = now });
    }

    private async Task<JsonNode?> SleepAsync(CommandContext context)
    {
        var milliseconds = context.Payload["ms"]?.GetValue<double>() ?? throw new ArgumentException("payload.ms is missing.");
        if (!(milliseconds >= 0 && milliseconds <= SleepMax.TotalMilliseconds))
        {
            throw new ArgumentException($"payload.ms takes 0 to {SleepMax.TotalMilliseconds}.");
        }

        var begin = time.GetTimestamp();
        var length = TimeSpan.FromMilliseconds(milliseconds);
        for (var left = length; left > TimeSpan.Zero; left = length - time.GetElapsedTime(begin))
        {
            context.ReportProgress((int)(100 * (length - left) / length), "asleep");
            await Task.Delay(left < SleepStep ? left : SleepStep, time, context.CancellationToken);
        }

        return new JsonObject { ["slept_ms"] = milliseconds };
    }
}
