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

    // An outage is the Writers' to report; this says once a minute that wake-ups do not come either.
    private static readonly TimeSpan SayAgainAfter = TimeSpan.FromMinutes(1);

    private readonly NpgsqlDataSource _connections;

    private readonly string _listenConnectionString;

    private readonly EventSignal _events;

    private readonly PostgresDialect _dialect;

    private readonly TimeProvider _time;

    private readonly ILogger _log;

    private readonly CancellationTokenSource _stopping = new();

    // One waiting item stands for any number of requests.
    private readonly Channel<bool> _announcements = Coalescing();

    private readonly Channel<bool> _looks = Coalescing();

    private readonly ITimer _poll;

    private readonly Task _running;

    private volatile bool _listening;

    // Since the last look that the timer asked for; the timer's alone.
    private TimeSpan _sincePolled;

    public PostgresEventRelay(
        NpgsqlDataSource connections, string listenConnectionString, EventSignal events, PostgresDialect dialect, TimeProvider time, ILogger log)
    {
        _connections = connections;
        _listenConnectionString = listenConnectionString;
        _events = events;
        _dialect = dialect;
        _time = time;
        _log = log;
        _running = Task.WhenAll(
            RunAsync("announce", AnnounceAsync), RunAsync("listen", ListenAsync), RunAsync("look", LookAsync));
        _poll = time.CreateTimer(_ => Poll(), null, PollInterval, PollInterval);
    }

    public void Announce() => _announcements.Writer.TryWrite(true);

    public async ValueTask DisposeAsync()
    {
        await _stopping.CancelAsync();
        await _poll.DisposeAsync();
        await _running;
        _stopping.Dispose();
    }

    private static Channel<bool> Coalescing() =>
        Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });

    private async Task RunAsync(string duty, Func<CancellationToken, Task> loop)
    {
        long? said = null;
        while (!_stopping.IsCancellationRequested)
        {
            try
            {
                await loop(_stopping.Token);
            }
            catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
            {
                return;
            }
            catch (Exception e)
            {
                // Whatever it was, wake-ups go on: a loop that ended would leave watchers asleep.
                if (said is not { } at || _time.GetElapsedTime(at) >= SayAgainAfter)
                {
                    said = _time.GetTimestamp();
                    StoreLog.RelayInterrupted(_log, duty, _dialect.Translate(e)?.Message ?? e.Message);
                }
                await Task.Delay(RetryDelay, _time, _stopping.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }

    private async Task AnnounceAsync(CancellationToken ct)
    {
        while (await _announcements.Reader.WaitToReadAsync(ct))
        {
            // Taken before the NOTIFY: a commit that is announced from here on is not known to be covered by it.
            _announcements.Reader.TryRead(out _);
            try
            {
                await using var connection = await _connections.OpenConnectionAsync(ct);
                await connection.ExecuteAsync(new CommandDefinition(NotifySql, cancellationToken: ct));
            }
            catch
            {
                Announce(); // The others have not heard of it yet.
                throw;
            }
            await Task.Delay(AnnounceInterval, _time, ct);
        }
    }

    private async Task ListenAsync(CancellationToken ct)
    {
        await using var connection = new NpgsqlConnection(_listenConnectionString);
        await connection.OpenAsync(ct);
        await connection.ExecuteAsync(new CommandDefinition(ListenSql, cancellationToken: ct));
        _listening = true;
        try
        {
            while (true)
            {
                _looks.Writer.TryWrite(true); // the first time for what was announced while nobody listened
                await connection.WaitAsync(ct);
            }
        }
        finally
        {
            _listening = false;
        }
    }

    private async Task LookAsync(CancellationToken ct)
    {
        while (await _looks.Reader.WaitToReadAsync(ct))
        {
            _looks.Reader.TryRead(out _);
            var teams = _events.WatchedTeams();
            if (teams.Count == 0)
            {
                continue;
            }
            try
            {
                await using var connection = await _connections.OpenConnectionAsync(ct);
                var counters = await connection.QueryAsync<(string TeamId, long Seq)>(new CommandDefinition(
                    $"select team_id, event_seq from team_counters where {_dialect.In("team_id", "teams")}",
                    new { teams = _dialect.InValue(teams) },
                    cancellationToken: ct));
                foreach (var (teamId, seq) in counters)
                {
                    _events.Publish(teamId, seq);
                }
            }
            catch
            {
                _looks.Writer.TryWrite(true);
                throw;
            }
            await Task.Delay(AnnounceInterval, _time, ct);
        }
    }

    private void Poll()
    {
        _sincePolled += PollInterval;
        if (!_listening || _sincePolled >= RescueInterval)
        {
            _sincePolled = TimeSpan.Zero;
            _looks.Writer.TryWrite(true);
        }
    }
}
