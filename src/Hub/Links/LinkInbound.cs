using Google.Protobuf.WellKnownTypes;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Storage;
using Hub.Watch;

namespace Hub.Links;

/// <summary>Where the unnumbered frames of all links go: presence, progress, latest-per-key state.</summary>
internal sealed class LinkInbound(Presence presence, ProgressBoard progress, EphemeralBoard ephemerals)
{
    /// <summary>Largest status of a heartbeat and value of an ephemeral, in bytes of its message.</summary>
    private const int ValueBytesMax = 64 * 1024;

    private const int PercentMax = 100;

    public ValueTask HeartbeatAsync(Link link, NodeHeartbeat heartbeat)
    {
        var status = heartbeat.Status is { } said && said.CalculateSize() <= ValueBytesMax ? StoredJson.Write(said) : null;
        return presence.HeardOnLinkAsync(link.Identity.TeamId, link.Identity.HostId, link.Options.HeartbeatInterval, status);
    }

    /// <summary>The Hub itself does not listen to the node, whose silence meanwhile means nothing.</summary>
    public ValueTask HeldBackAsync(Link link)
    {
        link.Heard();
        return presence.HeardOnLinkAsync(link.Identity.TeamId, link.Identity.HostId, link.Options.HeartbeatInterval, nodeStatus: null);
    }

    public void Progress(Link link, CommandProgress report)
    {
        var bounded = new CommandProgress
        {
            CommandId = report.CommandId,
            Attempt = report.Attempt,
            Percent = Math.Clamp(report.Percent, 0, PercentMax),
            Message = report.Message.Length <= ProgressBoard.MessageLengthMax ? report.Message : report.Message[..ProgressBoard.MessageLengthMax],
        };
        progress.Report(bounded);
        ephemerals.Set(link.Identity.TeamId, link.Identity.HostId, new Ephemeral
        {
            Kind = EphemeralBoard.ProgressKind,
            Key = bounded.CommandId,
            Value = Value.ForStruct(new Struct
            {
                Fields =
                {
                    ["attempt"] = Value.ForNumber(bounded.Attempt),
                    ["percent"] = Value.ForNumber(bounded.Percent),
                    ["message"] = Value.ForString(bounded.Message),
                },
            }),
        });
    }

    public void Ephemeral(Link link, Ephemeral value)
    {
        if (value.CalculateSize() <= ValueBytesMax)
        {
            ephemerals.Set(link.Identity.TeamId, link.Identity.HostId, value);
        }
    }

    /// <summary>Commands of the batch changed their state: what ended has no progress any more.</summary>
    public void CommandsMoved(Batch batch)
    {
        foreach (var entry in batch.Entries)
        {
            if (entry.CommandOutcome is { } outcome)
            {
                progress.Forget(outcome.CommandId);
            }
        }
    }
}
