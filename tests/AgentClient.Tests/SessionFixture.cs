using Hub.AgentClient.Internal;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.AgentClient.Tests;

/// <summary>A session on a journal in a directory of its own, and the scripted Hub it talks to.</summary>
internal sealed class SessionFixture : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("hub-session-").FullName;
    private readonly bool _hasSource;

    public SessionFixture(bool hasSource = false)
    {
        _hasSource = hasSource;
        (Journal, Session) = Open();
    }

    public ManualTimeProvider Time { get; } = new();

    public ScriptedHub Hub { get; } = new();

    public Journal Journal { get; private set; }

    public NodeSession Session { get; private set; }

    public List<SessionEvent> Events { get; } = [];

    public Hello? LastHello { get; private set; }

    private string File => Path.Combine(_directory, "journal.db");

    /// <summary>Opens a link and lets both sides say everything.</summary>
    public void Connect()
    {
        Handshake();
        Pump();
    }

    public void Handshake()
    {
        LastHello = Session.CreateHello();
        Deliver(Hub.Welcome(LastHello));
    }

    public void Deliver(ConnectResponse frame)
    {
        Session.Receive(frame);
        while (Session.TryTakeEvent(out var next))
        {
            Events.Add(next);
        }
    }

    /// <summary>Carries frames both ways until there are none.</summary>
    public void Pump() => PumpWhile(() => true);

    /// <summary>Carries frames both ways, as long as the condition holds, until there are none.</summary>
    public void PumpWhile(Func<bool> goesOn)
    {
        while (goesOn() && Session.TryTake(out var frame))
        {
            foreach (var answer in Hub.Receive(frame))
            {
                Deliver(answer);
            }
        }
    }

    /// <summary>Takes what the node has to say without answering.</summary>
    public List<ConnectRequest> TakeAll()
    {
        var frames = new List<ConnectRequest>();
        while (Session.TryTake(out var frame))
        {
            frames.Add(frame);
        }

        return frames;
    }

    public List<Batch> TakeBatches(Lane lane) => [.. TakeAll().Select(frame => frame.Batch).Where(batch => batch?.Lane == lane)];

    public void Publish(string id, string title = "a task") => Session.Publish([Task(id, title)]);

    public void Offer(string commandId, int attempt = 1, string type = "echo") =>
        Deliver(new ConnectResponse { Offer = new CommandOffer { CommandId = commandId, Attempt = attempt, Type = type } });

    /// <summary>Ends the process in the middle of whatever it does and starts it again.</summary>
    public void Restart()
    {
        Journal.Dispose();
        (Journal, Session) = Open();
    }

    /// <summary>A copy of the journal file, as a disk image holds it.</summary>
    public byte[] Image()
    {
        Journal.Dispose();
        var image = System.IO.File.ReadAllBytes(File);
        (Journal, Session) = Open();
        return image;
    }

    public void Restore(byte[] image)
    {
        Journal.Dispose();
        System.IO.File.Delete(File + "-wal");
        System.IO.File.WriteAllBytes(File, image);
        (Journal, Session) = Open();
    }

    public void LoseJournal()
    {
        Journal.Dispose();
        System.IO.File.Delete(File + "-wal");
        System.IO.File.Delete(File);
        (Journal, Session) = Open();
    }

    public IEnumerable<T> EventsOf<T>()
        where T : SessionEvent => Events.OfType<T>();

    public void Dispose()
    {
        Journal.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    public static HostTask Task(string id, string title = "a task") => new() { Id = id, Title = title, Status = "todo" };

    private (Journal Journal, NodeSession Session) Open()
    {
        var journal = Journal.Open(File);
        var options = new NodeSessionOptions { CommandTypes = ["echo", "sleep"], HasSource = _hasSource };
        return (journal, new NodeSession(journal, options, Time, new Random(1)));
    }
}
