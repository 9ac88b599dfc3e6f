using System.Text.Json.Nodes;
using Hub.AgentClient.Internal;

namespace Hub.AgentClient;

/// <summary>One attempt of one command, as its handler sees it.</summary>
public sealed class CommandContext
{
    private readonly Action<int, string?> _report;

    internal CommandContext(CommandKey key, string type, JsonObject payload, string traceParent, Action<int, string?> report, CancellationToken cancellationToken)
    {
        _report = report;
        CommandId = key.CommandId;
        Attempt = key.Attempt;
        Type = type;
        Payload = payload;
        TraceParent = traceParent;
        CancellationToken = cancellationToken;
    }

    /// <summary>The command's id; stable across attempts.</summary>
    public string CommandId { get; }

    /// <summary>The attempt, from 1. A handler runs at most once per attempt.</summary>
    public int Attempt { get; }

    /// <summary>The command's type.</summary>
    public string Type { get; }

    /// <summary>Its arguments; empty if it has none.</summary>
    public JsonObject Payload { get; }

    /// <summary>W3C trace context of whoever created the command; empty if there is none.</summary>
    public string TraceParent { get; }

    /// <summary>Cancelled when the Hub asks for a stop and when the node shuts down.</summary>
    public CancellationToken CancellationToken { get; }

    /// <summary>Tells people how far the command is. Reports are coalesced to five per second; the last one wins.</summary>
    /// <param name="percent">0 to 100.</param>
    /// <param name="message">What it is doing, cut to 500 characters.</param>
    public void ReportProgress(int percent, string? message = null) => _report(percent, message);
}
