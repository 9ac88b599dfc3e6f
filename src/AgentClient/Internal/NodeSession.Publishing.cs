using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>What the application publishes, and re-syncs of it.</content>
internal sealed partial class NodeSession
{
    private const int RecordIdCharsMax = 200;

    // The re-sync under way on this link.
    private SnapshotRun? _snapshot;

    // Collections whose source is being read. It may take longer than a link lives.
    private readonly HashSet<Collection> _reading = [];

    /// <summary>Stores changes of tasks; they are on the disk when this returns. All or none.</summary>
    public void Publish(IReadOnlyCollection<HostTask> tasks, long? baseVersion = null)
    {
        foreach (var task in tasks)
        {
            CheckRecord(task.Id, task.CalculateSize());
        }

        Transact(() =>
        {
            foreach (var task in tasks)
            {
                var delta = Records.Upsert(task.Clone(), _journal.NextVersion(_time.GetUtcNow()));
                if (baseVersion is { } version)
                {
                    delta.BaseVersion = version;
                }

                Publish(delta);
            }
        });
        _windows[Lane.Data].MayHaveMore = true;
    }

    /// <summary>Stores the deletion of a task.</summary>
    public void DeleteTask(string taskId)
    {
        CheckRecord(taskId, 0);
        Transact(() => Publish(Records.Delete(Collection.Tasks, taskId, _journal.NextVersion(_time.GetUtcNow()))));
        _windows[Lane.Data].MayHaveMore = true;
    }

    /// <summary>Stores a chat message to people.</summary>
    public void SendChat(ChatMessage message)
    {
        CheckRecord(message.Id, message.CalculateSize());
        Transact(() =>
        {
            _journal.EnsureOutboxRoom();
            _journal.Enqueue(Lane.Chat, message.Id, new Entry { Chat = message.Clone() });
        });
        _windows[Lane.Chat].MayHaveMore = true;
    }

    /// <summary>Mark of everything stored so far, for <see cref="IsAckedUpTo"/>.</summary>
    public long OutboxMark() => _journal.OutboxMark();

    /// <summary>Whether the Hub has everything up to the mark, or something newer in its place waits.</summary>
    public bool IsAckedUpTo(long mark) => _journal.IsAckedUpTo(mark);

    /// <summary>The driver begins to read the application's records of a collection; changes published meanwhile go before them.</summary>
    public void BeginSource(Collection collection)
    {
        _journal.Write(() => _journal.ClearStaging(collection));
        _reading.Add(collection);
    }

    /// <summary>Takes some of the application's records.</summary>
    public void AddSourced(Collection collection, IReadOnlyCollection<HostTask> tasks)
    {
        foreach (var task in tasks)
        {
            CheckRecord(task.Id, task.CalculateSize());
        }

        _journal.Write(() =>
        {
            foreach (var task in tasks)
            {
                // A record that is as it was last published keeps its version: nothing changed.
                var delta = Records.Upsert(task.Clone(), 0);
                var mirrored = _journal.FindMirrored(collection, Records.Key(delta));
                delta.Version = mirrored is not null && Records.SameBody(mirrored, delta) ? mirrored.Version : _journal.NextVersion(_time.GetUtcNow());
                _journal.StageSourced(delta);
            }
        });
    }

    /// <summary>All records were read: they are the mirror now, and the re-sync begins if a link is up.</summary>
    public void CommitSource(Collection collection)
    {
        _journal.Write(() =>
        {
            _journal.CommitStaging(collection);
            _journal.SetWhole(collection);
        });
        _reading.Remove(collection);
        if (State is SessionState.Online && _snapshot is null && _journal.IsSnapshotPending(collection))
        {
            Begin(collection);
        }
    }

    /// <summary>The source could not be read to its end; the next Welcome asks for it again.</summary>
    public void AbortSource(Collection collection)
    {
        _reading.Remove(collection);
        _journal.Write(() => _journal.ClearStaging(collection));
    }

    // Decides, inside Welcome's transaction, how a re-sync the Hub requires is to be done.
    private void PlanResync(Welcome welcome, long epochBefore)
    {
        // The first Hello of a host ever: no other journal has spoken for it, so this one's mirror holds all there is.
        var firstOfHost = epochBefore == 0 && welcome.Epoch == 1;
        var required = welcome.Lanes.Any(lane => lane is { Lane: Lane.Data, Outcome: LaneOutcome.SnapshotRequired });
        foreach (var collection in Records.Collections)
        {
            if (firstOfHost)
            {
                _journal.SetWhole(collection);
            }

            if (!required)
            {
                continue;
            }

            if (_options.HasSource)
            {
                _journal.SetSnapshotPending(collection, true);
            }
            else if (epochBefore == 0)
            {
                // Nothing was ever acknowledged under this journal: the outbox holds all it knows.
                _journal.SetSnapshotPending(collection, false);
            }
            else if (_journal.IsWhole(collection))
            {
                _journal.SetSnapshotPending(collection, !_journal.IsMirrorEmpty(collection));
            }
            else
            {
                // A snapshot deletes what it does not mention, and this mirror may not know everything: what it knows is said again.
                _journal.RequeueMirror(collection);
            }
        }
    }

    private void BeginSnapshots()
    {
        foreach (var collection in Records.Collections)
        {
            if (_snapshot is not null || !_journal.IsSnapshotPending(collection) || _reading.Contains(collection))
            {
                continue;
            }

            if (_options.HasSource)
            {
                _events.Enqueue(new SessionEvent.SourceWanted(collection));
            }
            else
            {
                Begin(collection);
            }
        }
    }

    private void Begin(Collection collection)
    {
        _snapshot = new SnapshotRun(collection);
        _windows[Lane.Bulk].MayHaveMore = true;
    }

    private void Publish(Delta delta)
    {
        _journal.EnsureOutboxRoom();
        _journal.Enqueue(Lane.Data, Records.Key(delta), Records.Entry(delta));
        _journal.MirrorChange(delta);
        if (_reading.Contains(delta.Collection))
        {
            _journal.StageChange(delta);
        }
    }

    private void CheckRecord(string id, int bytes)
    {
        if (id.Length is 0 or > RecordIdCharsMax)
        {
            throw new ArgumentException($"The id \"{Text.Cut(id, RecordIdCharsMax)}\" needs 1 to {RecordIdCharsMax} characters.");
        }

        if (bytes > _limits.RecordBytesMax)
        {
            throw new ArgumentException($"The record \"{id}\" has {bytes} bytes; {_limits.RecordBytesMax} are allowed.");
        }
    }
}
