using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;

namespace Hub.Tests.Links.Model;

/// <summary>
/// A node: the real session over a real journal file, and an application beside them that keeps its own records. The disk holds both, so a
/// copy of the disk is a copy of both; a lost journal leaves the application's records.
/// </summary>
internal sealed class SimulatedNode : IDisposable
{
    public const string CommandType = "work";

    private readonly string _path;
    private readonly bool _hasSource;
    private readonly TimeProvider _time;
    private readonly Oracle _oracle;
    private readonly int _seed;
    private Journal _journal;
    private int _processes;

    private SimulatedNode(string name, string path, bool hasSource, TimeProvider time, Oracle oracle, int seed, AppState app)
    {
        (Name, _path, _hasSource, _time, _oracle, _seed, App) = (name, path, hasSource, time, oracle, seed, app);
        (_journal, Session) = Open();
    }

    public string Name { get; }

    public AppState App { get; private set; }

    public NodeSession Session { get; private set; }

    public SimulatedLink? Link { get; set; }

    public string InstanceId { get; private set; } = "";

    /// <summary>Attempts that its disk held as accepted when it was last made from a copy.</summary>
    public IReadOnlySet<CommandKey> AcceptedInCopy { get; private set; } = new HashSet<CommandKey>();

    public List<StartedCommand> Running { get; } = [];

    public bool IsOnline => Session.State is SessionState.Online;

    public string JournalId => _journal.JournalId;

    public bool IsDrained => Session.IsIdle && Session.IsAckedUpTo(Session.OutboxMark()) && Session.PeekChat() is null && Running.Count == 0;

    public static SimulatedNode Install(string name, string path, bool hasSource, TimeProvider time, Oracle oracle, int seed) =>
        new(name, path, hasSource, time, oracle, seed, new AppState());

    /// <summary>Copies the disk as it is now, in the middle of whatever the process does.</summary>
    public DiskImage CopyDisk(string target)
    {
        CopyFiles(_path, target);
        return new DiskImage(target, App.Clone());
    }

    /// <summary>A second machine from a copy of the disk.</summary>
    public SimulatedNode Clone(string name, string clonePath, DiskImage image)
    {
        CopyFiles(image.Path, clonePath);
        var clone = new SimulatedNode(name, clonePath, _hasSource, _time, _oracle, _seed + name.Length, image.App.Clone());
        clone.NoteCopy();
        return clone;
    }

    /// <summary>The process dies and a new one starts.</summary>
    public void Restart(Action? meanwhile = null)
    {
        _journal.Dispose();
        Link = null;
        Running.Clear();
        meanwhile?.Invoke();
        (_journal, Session) = Open();
        TakeEvents();
    }

    public void LoseJournal() => Restart(() =>
    {
        DeleteFiles(_path);
        App.ForgetLineage();
    });

    public void Rewind(DiskImage image)
    {
        Restart(() =>
        {
            DeleteFiles(_path);
            CopyFiles(image.Path, _path);
            App = image.App.Clone();
        });
        NoteCopy();
    }

    public void Publish(string taskId, string title, long? baseVersion)
    {
        App.Tasks[taskId] = title;
        Session.Publish([TaskOf(taskId, title)], baseVersion);
    }

    public void Delete(string taskId)
    {
        App.Tasks.Remove(taskId);
        Session.DeleteTask(taskId);
    }

    public void SendChat(string id)
    {
        App.ChatInJournal.Add(id);
        Session.SendChat(new ChatMessage { Id = id, Content = id, Channel = "general" });
    }

    public StartedCommand? Start()
    {
        if (!Session.TryTakeStart(out var started))
        {
            return null;
        }

        _oracle.Started(this, started.Key);
        Running.Add(started);
        return started;
    }

    public void Finish(StartedCommand command, CommandState state)
    {
        Running.Remove(command);
        Session.Complete(command.Key, state, state == CommandState.Succeeded ? Value.ForBool(true) : null, state == CommandState.Failed ? "failed" : null);
    }

    /// <summary>Shows the application one chat message.</summary>
    /// <param name="dies">The process dies after the handler ran and before the journal knows.</param>
    public bool HandleChat(bool dies)
    {
        if (Session.PeekChat() is not { } next)
        {
            return false;
        }

        App.Heard.Add(next.Message.Id);
        if (dies)
        {
            Restart();
        }
        else
        {
            Session.ChatHandled(next.Seq);
        }

        return true;
    }

    /// <summary>Takes a frame of the Hub as NodeLink does: an exception ends the link.</summary>
    public void Receive(ConnectResponse frame)
    {
        try
        {
            Session.Receive(frame);
        }
        catch (LinkProtocolException e)
        {
            _oracle.Diary.Note($"{Name} ends its link: {e.Message}");
            Leave();
        }

        TakeEvents();
    }

    public void Leave()
    {
        Session.LinkLost();
        Link = null;
    }

    public void TakeEvents()
    {
        while (Session.TryTakeEvent(out var next))
        {
            switch (next)
            {
                case SessionEvent.Acked { Record: var record }:
                    _oracle.Acked(this, record);
                    break;
                case SessionEvent.Refused { Record: var record }:
                    _oracle.Refused(record);
                    break;
                case SessionEvent.StopCommand { Key: var key }:
                    if (Running.Find(command => command.Key == key) is { } stopped)
                    {
                        Finish(stopped, CommandState.Cancelled);
                    }

                    break;
                case SessionEvent.SourceWanted { Collection: var collection }:
                    ReadSource(collection);
                    break;
                case SessionEvent.JournalReplaced:
                    _oracle.Diary.Note($"{Name} makes a new journal {JournalId[..6]}");
                    Leave();
                    break;
                case SessionEvent.Ended { Goodbye: var goodbye }:
                    _oracle.Diary.Note($"{Name} is told goodbye: {goodbye.Reason}");
                    Leave();
                    break;
                default:
                    break;
            }
        }
    }

    public void Dispose() => _journal.Dispose();

    private static HostTask TaskOf(string id, string title) => new() { Id = id, Title = title, Status = "open" };

    private void NoteCopy() => AcceptedInCopy = _journal.HeldCommands()
        .Where(held => held.State == NodeCommandState.Accepted).Select(held => new CommandKey(held.CommandId, held.Attempt)).ToHashSet();

    private void ReadSource(Collection collection)
    {
        Session.BeginSource(collection);
        Session.AddSourced(collection, [.. App.Tasks.Select(task => TaskOf(task.Key, task.Value))]);
        Session.CommitSource(collection);
    }

    private (Journal Journal, NodeSession Session) Open()
    {
        InstanceId = $"{Name}.{++_processes}";
        var opened = Journal.Open(_path);
        return (opened, new NodeSession(
            opened,
            new NodeSessionOptions { InstanceId = InstanceId, CommandTypes = [CommandType], HasSource = _hasSource },
            _time,
            new Random(_seed)));
    }

    private static void CopyFiles(string from, string to)
    {
        foreach (var suffix in (string[])["", "-wal"])
        {
            if (File.Exists(from + suffix))
            {
                File.Copy(from + suffix, to + suffix, overwrite: true);
            }
        }
    }

    private static void DeleteFiles(string file)
    {
        foreach (var suffix in (string[])["", "-wal", "-shm"])
        {
            File.Delete(file + suffix);
        }
    }
}

/// <summary>A copy of a node's disk at one moment.</summary>
internal sealed record DiskImage(string Path, AppState App);

/// <summary>What the application beside the session knows.</summary>
internal sealed class AppState
{
    /// <summary>Its tasks, by title.</summary>
    public Dictionary<string, string> Tasks { get; private init; } = new(StringComparer.Ordinal);

    /// <summary>Version of each task as the Hub acknowledged it: the base of its next change.</summary>
    public Dictionary<string, long> Known { get; private init; } = new(StringComparer.Ordinal);

    /// <summary>Messages its journal took: acknowledged or waiting, none may get lost.</summary>
    public List<string> ChatInJournal { get; private init; } = [];

    /// <summary>Messages shown to the application since its journal began.</summary>
    public List<string> Heard { get; private init; } = [];

    /// <summary>The journal was lost.</summary>
    public void ForgetLineage()
    {
        Heard.Clear();
        Known.Clear();
        ChatInJournal.Clear();
    }

    public AppState Clone() => new()
    {
        Tasks = new(Tasks, StringComparer.Ordinal),
        Known = new(Known, StringComparer.Ordinal),
        ChatInJournal = [.. ChatInJournal],
        Heard = [.. Heard],
    };
}
