using System.Diagnostics.CodeAnalysis;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>What to send next, by priority and credit.</content>
internal sealed partial class NodeSession
{
    /// <summary>Ephemeral keys that wait; beyond that the one that waits longest is dropped.</summary>
    private const int EphemeralKeysMax = 1_000;

    /// <summary>Five reports per second and command.</summary>
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(200);

    private readonly Dictionary<CommandKey, ProgressSlot> _progress = [];
    private readonly OrderedDictionary<(string Kind, string Key), Ephemeral> _ephemeral = [];
    private TimeSpan _heartbeatInterval = LinkLimits.HeartbeatDefault;
    private long _heartbeatDue;
    private Struct? _status;

    /// <summary>Time until <see cref="TryTake"/> has something to give by the clock alone; null while offline.</summary>
    public TimeSpan? NextDue
    {
        get
        {
            if (State is not SessionState.Online)
            {
                return null;
            }

            var due = _progress.Values.Where(slot => slot.Waiting is not null).Select(slot => slot.DueAt).Append(_heartbeatDue).Min();
            var now = _time.GetTimestamp();
            return due <= now ? TimeSpan.Zero : _time.GetElapsedTime(now, due);
        }
    }

    /// <summary>Whether the next frame is a heartbeat that takes the status of <see cref="SetStatus"/> along.</summary>
    public bool IsHeartbeatDue => State is SessionState.Online && _heartbeatDue <= _time.GetTimestamp();

    /// <summary>What the next heartbeats tell people about the node.</summary>
    public void SetStatus(Struct? value) => _status = value;

    /// <summary>Sets the latest value of an ephemeral key; it is sent when its turn comes, or replaced before.</summary>
    public void SetEphemeral(Ephemeral value)
    {
        _ephemeral[(value.Kind, value.Key)] = value;
        if (_ephemeral.Count > EphemeralKeysMax)
        {
            _ephemeral.RemoveAt(0);
        }
    }

    /// <summary>Notes how far a running attempt is; only the latest report is sent.</summary>
    public void ReportProgress(CommandKey key, int percent, string? message)
    {
        if (!_progress.TryGetValue(key, out var slot))
        {
            return;
        }

        slot.Waiting = new CommandProgress
        {
            CommandId = key.CommandId,
            Attempt = key.Attempt,
            Percent = Math.Clamp(percent, 0, 100),
            Message = Text.Cut(message ?? "", ProgressMessageCharsMax),
        };
    }

    /// <summary>
    /// The next frame to send: control, commands, progress, chat, data, ephemeral, re-sync. A lane without credit is passed over.
    /// </summary>
    public bool TryTake([NotNullWhen(true)] out ConnectRequest? frame)
    {
        frame = State is SessionState.Online
            ? TakeControl() ?? TakeBatch(Lane.Commands) ?? TakeProgress() ?? TakeBatch(Lane.Chat) ?? TakeBatch(Lane.Data) ?? TakeEphemeral() ?? TakeBulk()
            : null;
        return frame is not null;
    }

    private ConnectRequest? TakeControl()
    {
        if (_control.TryDequeue(out var frame))
        {
            return frame;
        }

        if (_chatAckDue)
        {
            _chatAckDue = false;
            return new ConnectRequest { Ack = new Ack { Lane = Lane.Chat, Seq = _journal.ChatDownSeq } };
        }

        if (_chatNackDue)
        {
            _chatNackDue = false;
            return new ConnectRequest { Nack = new Nack { Lane = Lane.Chat, ExpectedSeq = _journal.ChatDownSeq + 1 } };
        }

        if (!IsHeartbeatDue)
        {
            return null;
        }

        ScheduleHeartbeat();
        return new ConnectRequest { Heartbeat = new NodeHeartbeat { ChatDownSeq = _journal.ChatDownSeq, Status = _status } };
    }

    private ConnectRequest? TakeBatch(Lane lane)
    {
        var window = _windows[lane];
        if (!window.MayHaveMore)
        {
            return null;
        }

        var credit = window.Credit(_limits.WindowBatches, _limits.WindowBytes);
        var batch = credit == 0
            ? null
            : _journal.NextBatch(
                lane,
                window.Cursor,
                LinkLimits.BatchEntriesMax,
                Math.Min(credit, LinkLimits.BatchBytesMax),
                orOneLarger: window.IsIdle || credit >= _limits.RecordBytesMax);
        if (batch is null)
        {
            // An ack or a new entry opens the lane again.
            window.MayHaveMore = false;
            return null;
        }

        window.Sent(batch, batch.CalculateSize());
        return new ConnectRequest { Batch = batch };
    }

    private ConnectRequest? TakeBulk()
    {
        var window = _windows[Lane.Bulk];
        if (_snapshot is null || window.Credit(_limits.WindowBatches, _limits.WindowBytes) < (window.IsIdle ? 1 : LinkLimits.BatchBytesMax))
        {
            window.MayHaveMore = _snapshot is { EndSeq: null };
            return null;
        }

        if (_snapshot.Next(_journal) is not { } entry)
        {
            window.MayHaveMore = false;
            return null;
        }

        var batch = new Batch { Lane = Lane.Bulk, FirstSeq = window.Cursor + 1, LastSeq = entry.Seq, Entries = { entry } };
        window.Sent(batch, batch.CalculateSize());
        return new ConnectRequest { Batch = batch };
    }

    private ConnectRequest? TakeProgress()
    {
        var now = _time.GetTimestamp();
        foreach (var slot in _progress.Values)
        {
            if (slot.Waiting is { } report && slot.DueAt <= now)
            {
                slot.Waiting = null;
                slot.DueAt = now + Ticks(ProgressInterval);
                return new ConnectRequest { Progress = report };
            }
        }

        return null;
    }

    private ConnectRequest? TakeEphemeral()
    {
        if (_ephemeral.Count == 0)
        {
            return null;
        }

        var oldest = _ephemeral.GetAt(0).Value;
        _ephemeral.RemoveAt(0);
        return new ConnectRequest { Ephemeral = oldest };
    }

    // ±10 %, so that the nodes of a fleet that came back together do not stay in step.
    private void ScheduleHeartbeat() => _heartbeatDue = _time.GetTimestamp() + Ticks(_heartbeatInterval * (0.9 + (0.2 * _random.NextDouble())));

    private long Ticks(TimeSpan span) => (long)(span.TotalSeconds * _time.TimestampFrequency);

    /// <summary>The report of one running attempt that waits, and when it may leave.</summary>
    private sealed class ProgressSlot
    {
        public CommandProgress? Waiting { get; set; }

        public long DueAt { get; set; }
    }
}
