using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>What the application publishes, and re-syncs of it.</content>
internal sealed partial class NodeSession
{
    private const int RecordIdCharsMax = 200;

    // The re-sync under way on this link.
    private SnapshotRun? snapshot;

    // Collections whose source is being read. It may take longer than a link lives.
    private readonly HashSet<Collection> reading = [];

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
                var delta = Records.Upsert(task.Clone(), journal.NextVersion(time.GetUtcNow()));
                if (baseVersion is { } version)
                {
                    delta.BaseVersion = version;
                }

                Publish(delta);
            }
        });
        windows[Lane.Data].MayHaveMore = true;
    }

    /// <summary>Stores the deletion of a task.</summary>
    public void DeleteTask(string taskId)
    {
        CheckRecord(taskId, 0);
        Transact(() => Publish(Records.Delete(Collection.Tasks, taskId, journal.NextVersion(time.GetUtcNow()))));
        windows[Lane.Data].MayHaveMore = true;
    }

    /// <summary>Stores a chat message to people.</summary>
    public void SendChat(ChatMessage message)
    {
        CheckRecord(message.Id, message.CalculateSize());
        Transact(() =>
        {
            journal.EnsureOutboxRoom();
            journal.Enqueue(Lane.Chat, message.Id, new Entry { Chat = message.Clone() });
        });
        windows[Lane.Chat].MayHaveMore = true;
    }

    /// <summary>Mark of everything stored so far, for <see cref="IsAckedUpTo"/>.</summary>
    public long OutboxMark() => journal.OutboxMark();

    /// <summary>Whether the Hub has everything up to the mark, or something newer in its place waits.</summary>
    public bool IsAckedUpTo(long mark) => journal.IsAckedUpTo(mark);

    /// <summary>The driver begins to read the application's records of a collection; changes published meanwhile go before them.</summary>
    public void BeginSource(Collection collection)
    {
        journal.Write(() => journal.ClearStaging(collection));
        reading.Add(collection);
    }

    /// <summary>Takes some of the application's records.</summary>
    public void AddSourced(Collection collection, IReadOnlyCollection<HostTask> tasks)
    {
        foreach (var task in tasks)
        {
            CheckRecord(task.Id, task.CalculateSize());
        }

        journal.Write(() =>
        {
            foreach (var task in tasks)
            {
                // A record that is as it was last published keeps its version: nothing changed.
                var delta = Records.Upsert(task.Clone(), 0);
                var mirrored = journal.FindMirrored(collection, Records.Key(delta));
                delta.Version = mirrored is not null && Records.SameBody(mirrored, delta) ? mirrored.Version : journal.NextVersion(time.GetUtcNow());
                journal.StageSourced(delta);
            }
        });
    }

    /// <summary>All records were read: they are the mirror now, and the re-sync begins if a link is up.</summary>
    public void CommitSource(Collection collection)
    {
        journal.Write(() =>
        {
            journal.CommitStaging(collection);
            journal.SetWhole(collection);
        });
        reading.Remove(collection);
        if (State is SessionState.Online && snapshot is null && journal.IsSnapshotPending(collection))
        {
            Begin(collection);
        }
    }

    /// <summary>The source could not be read to its end; the next Welcome asks for it again.</summary>
    public void AbortSource(Collection collection)
    {
        reading.Remove(collection);
        journal.Write(() => journal.ClearStaging(collection));
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
                journal.SetWhole(collection);
            }

            if (!required)
            {
                continue;
            }

            if (options.HasSource)
            {
                journal.SetSnapshotPending(collection, true);
            }
            else if (epochBefore == 0)
            {
                // Nothing was ever acknowledged under this journal: the outbox holds all it knows.
                journal.SetSnapshotPending(collection, false);
            }
            else if (journal.IsWhole(collection))
            {
                journal.SetSnapshotPending(collection, !journal.IsMirrorEmpty(collection));
            }
            else
            {
                // A snapshot deletes what it does not mention, and this mirror may not know everything: what it knows is said again.
                journal.RequeueMirror(collection);
            }
        }
    }

    private void BeginSnapshots()
    {
        foreach (var collection in Records.Collections)
        {
            if (snapshot is not null || !journal.IsSnapshotPending(collection) || reading.Contains(collection))
            {
                continue;
            }

            if (options.HasSource)
            {
                events.Enqueue(new SessionEvent.SourceWanted(collection));
            }
            else
            {
                Begin(collection);
            }
        }
    }

    private void Begin(Collection collection)
    {
        snapshot = new SnapshotRun(collection);
        windows[Lane.Bulk].MayHaveMore = true;
    }

    private void Publish(Delta delta)
    {
        journal.EnsureOutboxRoom();
        journal.Enqueue(Lane.Data, Records.Key(delta), Records.Entry(delta));
        journal.MirrorChange(delta);
        if (reading.Contains(delta.Collection))
        {
            journal.StageChange(delta);
        }
    }

    private void CheckRecord(string id, int bytes)
    {
        if (id.Length is 0 or > RecordIdCharsMax)
        {
            throw new ArgumentException($"The id \"{Text.Cut(id, RecordIdCharsMax)}\" needs 1 to {RecordIdCharsMax} characters.");
        }

        if (bytes > limits.RecordBytesMax)
        {
            throw new ArgumentException($"The record \"{id}\" has {bytes} bytes; {limits.RecordBytesMax} are allowed.");
        }
    }
}
