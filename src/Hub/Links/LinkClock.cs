using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Links;

/// <summary>
/// The one timer of all links: the Hub's heartbeats, silent nodes, maximum age, the replica's own row, and drain on shutdown. A timer per idle
/// link would cost more memory than the link.
/// </summary>
internal sealed partial class LinkClock(
    LinkRegistry registry, Store store, TimeProvider time, Random random,
    IHostApplicationLifetime lifetime, ILogger<LinkClock> log) : BackgroundService
{
    private static readonly TimeSpan Tick = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan ReplicaRenewal = TimeSpan.FromSeconds(5);

    /// <summary>A replica that has not renewed its row for this long is gone.</summary>
    private static readonly TimeSpan ReplicaSilence = TimeSpan.FromSeconds(15);

    /// <summary>A node without a heartbeat for this many intervals is given up.</summary>
    private const double SilentIntervals = 2.5;

    /// <summary>Links told to go per second when the Hub drains, and the longest spread.</summary>
    private const double DrainPerSecond = 500;

    internal static readonly TimeSpan DrainSpreadMax = TimeSpan.FromMinutes(2);

    /// <summary>Links whose rows are written again in one job.</summary>
    public const int AssertedLinksMax = 200;

    // The timer's: a renewal waits for the store, which must not hold up the links.
    private Task _renewing = Task.CompletedTask;
    private DateTimeOffset _renewalBegan;

    // The renewal's, of which there is one at a time.
    private DateTimeOffset? _renewedAt;
    private DateTimeOffset _judgesFrom;
    private bool _linksAreDoubted;

    /// <summary>The row is there before the first link is: a link of an unknown replica would be taken for a lost one.</summary>
    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await RenewReplicaAsync(cancellationToken);
        _renewalBegan = time.GetUtcNow();
        await base.StartAsync(cancellationToken);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        using var draining = lifetime.ApplicationStopping.Register(Drain);
        using var timer = new PeriodicTimer(Tick, time);
        try
        {
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                var tick = time.GetTimestamp();
                foreach (var link in registry.Links.Where(link => link.CheckAt <= tick))
                {
                    Check(link, tick);
                }

                var now = time.GetUtcNow();
                if (_renewing.IsCompleted && now - _renewalBegan >= ReplicaRenewal)
                {
                    await _renewing; // It never fails but by a fault of the Hub, which must be heard of.
                    _renewalBegan = now;
                    _renewing = RenewReplicaAsync(stoppingToken);
                }
            }
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // The process ends; StopAsync drained the links.
        }
        finally
        {
            await _renewing.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>
    /// Ends the link or has the node hear of the Hub, where it is time, and notes when it may be time next: what happens on a link only puts
    /// that off.
    /// </summary>
    private void Check(Link link, long tick)
    {
        var silenceMax = SilentIntervals * link.Options.HeartbeatInterval;
        var ageMax = MaxAgeOf(link);
        var quietMax = link.Options.HubHeartbeatInterval - Tick;
        var age = time.GetElapsedTime(link.OpenedAt);
        if (link.SilentFor > silenceMax)
        {
            link.End(GoodbyeReason.Silent, "No frame came for 2.5 heartbeat intervals.");
        }
        else if (age > ageMax)
        {
            link.End(GoodbyeReason.MaxAge, "The link reached its maximum age; dial again.", TimeSpan.Zero);
        }
        else if (link.QuietFor >= quietMax)
        {
            link.Wrote(); // One heartbeat per interval, even while the writer is busy with it.
            link.Outbox.Heartbeat();
        }

        TimeSpan[] left = [silenceMax - link.SilentFor, ageMax - age, quietMax - link.QuietFor];
        link.CheckAt = tick + (long)(left.Min().TotalSeconds * time.TimestampFrequency);
    }

    /// <summary>±10 %, fixed per link, so that links opened together do not end together.</summary>
    private static TimeSpan MaxAgeOf(Link link) =>
        link.Options.MaxAge * (0.9 + (0.2 * (uint)link.Identity.LinkId.GetHashCode(StringComparison.Ordinal) / uint.MaxValue));

    /// <summary>
    /// Says that this replica lives. It is also what finds, when nobody writes, that the store is out, and that it is back.
    /// </summary>
    internal async Task RenewReplicaAsync(CancellationToken cancellation)
    {
        var now = time.GetUtcNow();
        if (_renewedAt is { } last && now - last >= ReplicaSilence)
        {
            // The store or this process stood still. The others may have been kept from renewing by the same, and get their time to do so.
            _judgesFrom = now + ReplicaSilence;
        }

        try
        {
            var wasKnown = await store.WriteAsync(
                Store.SystemTeam, tx => Renew(tx, registry.ReplicaId, judgeOthers: now >= _judgesFrom), cancellation);
            _renewedAt = now;
            _linksAreDoubted |= !wasKnown;
            if (_linksAreDoubted)
            {
                await AssertLinksAsync(cancellation);
                _linksAreDoubted = false;
            }
        }
        catch (StoreUnavailableException e)
        {
            LogNotRenewed(e.Message);
        }
    }

    /// <summary>
    /// Another replica took this one for lost and ended its links in the database. Those that live are LIVE again, unless their node has
    /// dialled elsewhere since.
    /// </summary>
    private async Task AssertLinksAsync(CancellationToken cancellation)
    {
        foreach (var team in registry.Links.GroupBy(link => link.Identity.TeamId))
        {
            foreach (var chunk in team.Chunk(AssertedLinksMax))
            {
                await store.WriteAsync(team.Key, tx => Array.ForEach(chunk, link => Assert(tx, link)), cancellation);
                Array.ForEach(chunk, link => link.Wake()); // Others may have left it work.
            }
        }
    }

    private void Assert(StoreTransaction tx, Link link)
    {
        var row = new { link.Identity.HostId, link.Identity.TeamId, link.Identity.Epoch, tx.NowMs };
        // A link leaves the registry before its end is queued behind this job: one that is still there is not ended after this by mistake.
        if (registry.Find(link.Identity.HostId) != link
            || tx.Execute("update links set state = 'LIVE', ended_at = null where host_id = @HostId and epoch = @Epoch and state = 'ENDED'", row) == 0)
        {
            return;
        }

        var changed = tx.Execute(
            """
            update hosts set state = 'ONLINE', state_reason = 'LINK', state_since = @NowMs
            where host_id = @HostId and state = 'SUSPECT' and state_reason = 'REPLICA_LOST'
            """,
            row);
        if (changed == 1)
        {
            tx.AppendEvent(row.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), row.HostId, row.HostId, 0);
        }
    }

    /// <summary>
    /// Renews the own row and, when it judges, ends the links of replicas that went silent without a word: their hosts are SUSPECT until
    /// they dial again or the replica is heard of.
    /// </summary>
    /// <returns>False if there was no row: this is the start, or others took this replica for lost.</returns>
    internal static bool Renew(StoreTransaction tx, string replicaId, bool judgeOthers)
    {
        var row = new { replicaId, tx.NowMs, silentSince = tx.NowMs - (long)ReplicaSilence.TotalMilliseconds };
        var wasKnown = tx.Execute("update replicas set renewed_at = @NowMs where replica_id = @replicaId", row) == 1;
        if (!wasKnown)
        {
            tx.Execute("insert into replicas (replica_id, started_at, renewed_at) values (@replicaId, @NowMs, @NowMs)", row);
        }

        if (judgeOthers)
        {
            EndLostLinks(tx, row);
        }

        return wasKnown;
    }

    private static void EndLostLinks(StoreTransaction tx, object row)
    {
        tx.Execute("delete from replicas where renewed_at <= @silentSince", row);
        var lost = tx.Query<LostLink>(
            """
            update links set state = 'ENDED', ended_at = @NowMs
            where state = 'LIVE' and replica_id not in (select replica_id from replicas) returning host_id, team_id
            """,
            row);
        foreach (var link in lost)
        {
            var changed = tx.Execute(
                """
                update hosts set state = 'SUSPECT', state_reason = 'REPLICA_LOST', state_since = @NowMs where host_id = @HostId and state = 'ONLINE'
                """,
                new { link.HostId, tx.NowMs });
            if (changed == 1)
            {
                tx.AppendEvent(link.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), link.HostId, link.HostId, 0);
            }
        }
    }

    /// <summary>
    /// Every link is told its own delay, so that arrivals at the next replica are spread. Runs before the listeners stop, which then wait
    /// for the links to end within the host's shutdown bound.
    /// </summary>
    private void Drain()
    {
        var links = registry.BeginDrain();
        var spread = DrainSpread(links.Count);
        foreach (var (place, link) in links.Index())
        {
            // A slot for each, and a moment in it: no two are told the same, and no crowd forms by chance.
            var delay = spread * ((place + random.NextDouble()) / links.Count);
            link.Outbox.Control(new ConnectResponse { Drain = new Drain { ReconnectAfter = Duration.FromTimeSpan(delay) } });
            link.End(GoodbyeReason.Drain, "The Hub is shutting down; dial again.", delay);
        }

        LogDraining(links.Count, spread);
    }

    internal static TimeSpan DrainSpread(int links) => TimeSpan.FromSeconds(Math.Min(links / DrainPerSecond, DrainSpreadMax.TotalSeconds));

    private sealed record LostLink(string HostId, string TeamId);

    [LoggerMessage(LogLevel.Information, "Draining {Count} links over {Spread}", EventName = "Draining")]
    private partial void LogDraining(int count, TimeSpan spread);

    [LoggerMessage(LogLevel.Debug, "The replica's row was not renewed: {Cause}", EventName = "ReplicaNotRenewed")]
    private partial void LogNotRenewed(string cause);
}
