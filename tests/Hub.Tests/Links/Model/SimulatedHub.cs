using Hub.Audit;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Links;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;
using Hub.Watch;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace Hub.Tests.Links.Model;

/// <summary>What became of a frame.</summary>
internal enum FrameFate
{
    Applied,
    Fenced,
    Failed,
}

/// <summary>
/// The Hub's own classes over a SQLite file, driven step by step as LinkGrpcService drives them. Everything but the file is gone when it is
/// reopened.
/// </summary>
internal sealed class SimulatedHub(string path, StoreGuards guards, ManualTimeProvider time, LogGuard logs) : IAsyncDisposable
{
    public const string Team = "team";

    /// <summary>Tasks of this prefix violate a constraint of the database.</summary>
    public const string PoisonPrefix = "poison-";

    private const string PoisonSql = $"""
        create trigger poison before insert on records when new.record_id like '{PoisonPrefix}%' begin select raise(abort, 'poison'); end
        """;

    private Store? _store;

    public ArmedFault Fault { get; } = new();

    public Store Store => _store!;

    public LinkRegistry Registry { get; private set; } = null!;

    public Handshake Handshake { get; private set; } = null!;

    public CommandCreation Creation { get; private set; } = null!;

    public CommandClock CommandClock { get; private set; } = null!;

    public RecordStore Tasks { get; private set; } = null!;

    private LinkInbound Inbound { get; set; } = null!;

    private LinkEnding Ending { get; set; } = null!;

    /// <summary>Makes a database with one host; lives begin with a copy of it.</summary>
    public static async Task<string> CreateTemplateAsync(string path)
    {
        var time = new ManualTimeProvider();
        using var logs = new LogGuard();
        await using var store = await Store.OpenAsync(new StoreOptions { SqlitePath = path, RelaxedDurability = true }, time, logs, CancellationToken.None);
        await store.WriteAsync(Team, tx => tx.Execute("insert into teams (team_id, name, created_at) values (@Team, 'team', 0)", new { Team }));
        await store.WriteAsync(Store.SystemTeam, tx => tx.Execute(PoisonSql));
        var host = await new Enrolment(store, time).EnrollAsync(Team, new NodeDescription("node", "", []), "", Actor.Operator, CancellationToken.None);
        return host.HostId;
    }

    public async Task OpenAsync()
    {
        var options = new StoreOptions
        {
            SqlitePath = path,
            RelaxedDurability = true, // Processes die here, machines do not.
            Guards = guards,
            FaultInjector = Fault.Reach,
        };
        _store = await Store.OpenAsync(options, time, logs, CancellationToken.None).Within();
        var presence = new Presence(_store, time, logs.CreateLogger<Presence>());
        Registry = new LinkRegistry(time);
        Tasks = new RecordStore(guards);
        var lanes = new LaneEntries(Tasks, guards);
        var quarantine = new CloneQuarantine(Registry, _store, time, logs.CreateLogger<CloneQuarantine>());
        Handshake = new Handshake(_store, Registry, quarantine, presence, Microsoft.Extensions.Options.Options.Create(new LinkOptions()), time, logs, lanes, guards);
        Creation = new CommandCreation(_store, Registry, time);
        CommandClock = new CommandClock(_store, Registry, time, logs.CreateLogger<CommandClock>());
        Inbound = new LinkInbound(presence, new ProgressBoard(), new EphemeralBoard(time));
        Ending = new LinkEnding(_store, Registry, presence, logs.CreateLogger<LinkEnding>());
    }

    public async Task CloseAsync()
    {
        if (_store is not null)
        {
            CommandClock.Dispose();
            await _store.DisposeAsync();
            _store = null;
        }
    }

    /// <summary>As LinkGrpcService applies a frame.</summary>
    public async Task<FrameFate> ReceiveAsync(Link link, ConnectRequest frame)
    {
        try
        {
            await link.ReceiveAsync(frame, Inbound, CancellationToken.None).Within();
            return FrameFate.Applied;
        }
        catch (LinkFencedException)
        {
            await Ending.FencedAsync(link).Within();
            return FrameFate.Fenced;
        }
        catch (StoreUnavailableException)
        {
            if (frame.Batch is { } batch)
            {
                link.Outbox.Refuse(new Nack { Lane = batch.Lane, ExpectedSeq = batch.FirstSeq });
            }

            return FrameFate.Failed;
        }
        catch (ConstraintException)
        {
            link.End(GoodbyeReason.Overloaded, "The Hub failed on a frame; dial again.");
            return FrameFate.Failed;
        }
    }

    /// <summary>As LinkGrpcService pumps, once.</summary>
    public async Task PumpAsync(Link link)
    {
        try
        {
            await link.PumpAsync(CancellationToken.None).Within();
        }
        catch (LinkFencedException)
        {
            await Ending.FencedAsync(link).Within();
        }
        catch (StoreUnavailableException)
        {
            // It runs again.
        }
    }

    /// <summary>The stream is over, by the node's doing or the Hub's.</summary>
    public Task EndedAsync(Link link)
    {
        link.Outbox.Close(null);
        return Ending.EndedAsync(link).Within();
    }

    /// <summary>Lets the writer find all of these in one group, in this order. Each queues its first job before it returns.</summary>
    public async Task InOneGroupAsync(params Func<Task>[] calls)
    {
        var held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        using var release = new ManualResetEventSlim();
        var holding = Store.WriteAsync(Team, _ =>
        {
            held.SetResult();
            release.Wait(WithinExtensions.DefaultLimit);
        });
        await Task.WhenAny(held.Task, holding).Within(); // A fault may have hit what holds.
        var started = new List<Task>();
        foreach (var call in calls)
        {
            started.Add(call());
        }

        release.Set();
        await holding.Within();
        await Task.WhenAll(started).Within();
    }

    /// <summary>
    /// Returns once the writer is done with all before. With the guard AckAfterCommit off a job's caller is told before the group has ended,
    /// and a life that went on at once would not be repeatable.
    /// </summary>
    public async Task SettleAsync()
    {
        if (guards.AckAfterCommit)
        {
            return;
        }

        try
        {
            await Store.WriteAsync(Team, _ => { }).Within();
        }
        catch (StoreUnavailableException)
        {
            // A fault hit this very job; what was before it has ended all the same.
        }
    }

    public Task<IReadOnlyList<T>> QueryAsync<T>(string sql, object? args = null) =>
        Store.ReadAsync(TeamScope.System, reader => reader.QueryAsync<T>(sql, args)).Within();

    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        SqliteConnection.ClearAllPools();
    }

    /// <summary>Makes the writer die once at a step.</summary>
    public sealed class ArmedFault
    {
        private readonly Lock _gate = new();
        private WriteStep _at;
        private int _passing;
        private bool _armed;
        private bool _fired;

        public bool IsArmed
        {
            get
            {
                lock (_gate)
                {
                    return _armed;
                }
            }
        }

        /// <summary>Whether it has fired since it was asked last.</summary>
        public bool TakeFired()
        {
            lock (_gate)
            {
                var was = _fired;
                _fired = false;
                return was;
            }
        }

        /// <param name="step">Where.</param>
        /// <param name="times">How many times the step passes before.</param>
        public void Arm(WriteStep step, int times)
        {
            lock (_gate)
            {
                (_at, _passing, _armed) = (step, times, true);
            }
        }

        public void Disarm()
        {
            lock (_gate)
            {
                _armed = false;
            }
        }

        public void Reach(WriteStep step)
        {
            lock (_gate)
            {
                if (!_armed || step != _at || _passing-- > 0)
                {
                    return;
                }

                _armed = false;
                _fired = true;
            }

            throw new InvalidOperationException($"died at {step}");
        }
    }
}
