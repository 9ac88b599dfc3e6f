using System.Threading.Channels;
using Dapper;
using Npgsql;

namespace Hub.Storage;

/// <summary>
/// Carries the wake-ups between replicas. A commit with events is announced by NOTIFY, at most one per <see cref="AnnounceInterval"/> and
/// outside the writing transaction (a NOTIFY inside serialises commits); who hears it looks up the numbers of the teams watched here.
/// While LISTEN is down, a look every <see cref="PollInterval"/> takes its place; while it works, one every <see cref="RescueInterval"/>
/// finds what a replica committed and died before it announced.
/// </summary>
internal sealed class PostgresEventRelay : IAsyncDisposable
{
    private const string ListenSql = "listen hub_events";

    private const string NotifySql = "select pg_notify('hub_events', 'look')";

    private static readonly TimeSpan AnnounceInterval = TimeSpan.FromMilliseconds(10);

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);

    private static readonly TimeSpan RescueInterval = TimeSpan.FromSeconds(5);

    private static readonly TimeSpan RetryDelay = TimeSpan.FromSeconds(1);

    private readonly NpgsqlDataSource connections;

    private readonly string listenConnectionString;

    private readonly EventSignal events;

    private readonly PostgresDialect dialect;

    private readonly TimeProvider time;

    private readonly ILogger log;

    private readonly CancellationTokenSource stopping = new();

    // One waiting item stands for any number of requests.
    private readonly Channel<bool> announcements = Coalescing();

    private readonly Channel<bool> looks = Coalescing();

    private readonly ITimer poll;

    private readonly Task running;

    private volatile bool listening;

    // Since the last look that the timer asked for; the timer's alone.
    private TimeSpan sincePolled;

    public PostgresEventRelay(
        NpgsqlDataSource connections, string listenConnectionString, EventSignal events, PostgresDialect dialect, TimeProvider time, ILogger log)
    {
        this.connections = connections;
        this.listenConnectionString = listenConnectionString;
        this.events = events;
        this.dialect = dialect;
        this.time = time;
        this.log = log;
        running = Task.WhenAll(
            RunAsync("announce", AnnounceAsync), RunAsync("listen", ListenAsync), RunAsync("look", LookAsync));
        poll = time.CreateTimer(_ => Poll(), null, PollInterval, PollInterval);
    }

    public void Announce() => announcements.Writer.TryWrite(true);

    public async ValueTask DisposeAsync()
    {
        await stopping.CancelAsync();
        await poll.DisposeAsync();
        await running;
        stopping.Dispose();
    }

    private static Channel<bool> Coalescing() =>
        Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    private async Task RunAsync(string duty, Func<CancellationToken, Task> loop)
    {
        while (!stopping.IsCancellationRequested)
        {
            try
            {
                await loop(stopping.Token);
            }
            catch (OperationCanceledException) when (stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Whatever it was, wake-ups go on: a loop that ended would leave watchers asleep.
                StoreLog.RelayInterrupted(log, duty, e);
                await Task.Delay(RetryDelay, time, stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task AnnounceAsync(CancellationToken ct)
    {
        while (await announcements.Reader.WaitToReadAsync(ct))
        {
            // Taken before the NOTIFY: a commit that is announced from here on is not known to be covered by it.
            announcements.Reader.TryRead(out _);
            try
            {
                await using var connection = await connections.OpenConnectionAsync(ct);
                await connection.ExecuteAsync(new CommandDefinition(NotifySql, cancellationToken: ct));
            }
            catch
            {
                Announce(); // The others have not heard of it yet.
                throw;
            }
            await Task.Delay(AnnounceInterval, time, ct);
        }
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        await using var connection = new NpgsqlConnection(listenConnectionString);
        await connection.OpenAsync(ct);
        await connection.ExecuteAsync(new CommandDefinition(ListenSql, cancellationToken: ct));
        listening = true;
        try
        {
            while (true)
            {
                looks.Writer.TryWrite(true); // the first time for what was announced while nobody listened
                await connection.WaitAsync(ct);
            }
        }
        finally
        {
            listening = false;
        }
    }

    private async Task LookAsync(CancellationToken ct)
    {
        while (await looks.Reader.WaitToReadAsync(ct))
        {
            looks.Reader.TryRead(out _);
            var teams = events.WatchedTeams();
            if (teams.Count == 0)
            {
                continue;
            }
            try
            {
                await using var connection = await connections.OpenConnectionAsync(ct);
                var counters = await connection.QueryAsync<(string TeamId, long Seq)>(new CommandDefinition(
                    $"select team_id, event_seq from team_counters where {dialect.In("team_id", "teams")}",
                    new { teams = dialect.InValue(teams) },
                    cancellationToken: ct));
                foreach (var (teamId, seq) in counters)
                {
                    events.Publish(teamId, seq);
                }
            }
            catch
            {
                looks.Writer.TryWrite(true);
                throw;
            }
            await Task.Delay(AnnounceInterval, time, ct);
        }
    }

    private void Poll()
    {
        sincePolled += PollInterval;
        if (!listening || sincePolled >= RescueInterval)
        {
            sincePolled = TimeSpan.Zero;
            looks.Writer.TryWrite(true);
        }
    }
}
