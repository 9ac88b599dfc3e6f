using System.Collections.Concurrent;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Watch;

/// <summary>hub.v1.WatchService: a snapshot, then the tail, as gRPC stream, JSON lines or server-sent events.</summary>
internal sealed class WatchGrpcService(
    Access access, Authenticator authenticator, WatchTickets tickets, WatchFeed feed, EphemeralBoard ephemerals, Store store, WatchCount count,
    TimeProvider time, IHostApplicationLifetime lifetime) : WatchService.WatchServiceBase
{
    /// <summary>Cursor that starts at the tail without a snapshot.</summary>
    private const string NowCursor = "now";

    private const int HostIdsMax = 100;

    private static readonly TimeSpan AccessRecheck = TimeSpan.FromSeconds(60);

    public override async Task<CreateWatchTicketResponse> CreateWatchTicket(CreateWatchTicketRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        var (ticket, expiresAt) = await tickets.IssueAsync(team, context.CancellationToken);
        return new() { Ticket = ticket, ExpiresAt = EpochMs.ToTimestamp(expiresAt) };
    }

    public override async Task Watch(WatchRequest request, IServerStreamWriter<WatchResponse> responses, ServerCallContext context)
    {
        var team = request.Ticket.Length > 0
            ? await tickets.RedeemAsync(request.Ticket, context.CancellationToken)
            : await access.TeamAsync(context, request.TeamId, TeamRole.Viewer);
        if (request.HostIds.Count > HostIdsMax)
        {
            throw HubException.InvalidField("host_ids", $"Name at most {HostIdsMax} hosts.");
        }

        using var place = count.Enter(team.TeamId);
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, lifetime.ApplicationStopping);
        try
        {
            await RunAsync(team, request, responses, context, stopping.Token);
        }
        catch (OperationCanceledException) when (lifetime.ApplicationStopping.IsCancellationRequested && !context.CancellationToken.IsCancellationRequested)
        {
            // The Hub stops: the watcher goes on elsewhere with its cursor.
        }
        finally
        {
            await stopping.CancelAsync(); // What it still waits for.
        }
    }

    private async Task RunAsync(
        TeamAccess team, WatchRequest request, IServerStreamWriter<WatchResponse> responses, ServerCallContext context, CancellationToken cancellation)
    {
        var filter = new WatchFilter(team.TeamId, request.HostIds.ToHashSet(StringComparer.Ordinal), request.Kinds.ToHashSet());
        using var signal = store.Events.Watch(team.TeamId); // Before the first read, so that nothing falls between.
        using var changes = ephemerals.Watch(team.TeamId);
        var after = await StartAsync(filter, request.Cursor, responses, context, cancellation);
        var changed = signal.WaitAsync(after, cancellation);
        var ephemeral = changes.WaitAsync(cancellation);
        var recheck = Task.Delay(AccessRecheck, time, cancellation);
        while (true)
        {
            var first = await Task.WhenAny(changed, ephemeral, recheck);
            if (recheck.IsCompleted)
            {
                await recheck;
                await RecheckAsync(team, cancellation);
                recheck = Task.Delay(AccessRecheck, time, cancellation);
            }

            if (first == ephemeral)
            {
                await ephemeral;
                foreach (var response in changes.Take(time.GetUtcNow()).Where(item => filter.Wants(item.Kind, item.HostId)))
                {
                    await responses.WriteAsync(response, cancellation);
                }

                ephemeral = changes.WaitAsync(cancellation);
            }
            else if (first == changed)
            {
                after = await TailAsync(filter, after, await changed, responses, cancellation);
                changed = signal.WaitAsync(after, cancellation);
            }

            cancellation.ThrowIfCancellationRequested();
        }
    }

    private async Task<long> StartAsync(
        WatchFilter filter, string cursor, IServerStreamWriter<WatchResponse> responses, ServerCallContext context, CancellationToken cancellation)
    {
        if (cursor == NowCursor)
        {
            var now = await feed.LatestAsync(filter.TeamId, cancellation);
            await context.WriteResponseHeadersAsync([]); // Nothing may be due for long: the head says that the tail starts here.
            return now;
        }

        if (cursor.Length > 0)
        {
            var after = WatchFeed.ReadCursor(filter.TeamId, cursor);
            if (await feed.HoldsAsync(filter.TeamId, after, cancellation))
            {
                await context.WriteResponseHeadersAsync([]);
                return await TailAsync(filter, after, long.MaxValue, responses, cancellation);
            }

            await responses.WriteAsync(new WatchResponse { Kind = WatchKind.Reset }, cancellation);
        }

        // The number first: whatever changes while the snapshot is read comes again in the tail.
        var latest = await feed.LatestAsync(filter.TeamId, cancellation);
        await foreach (var response in feed.SnapshotAsync(filter, cancellation))
        {
            await responses.WriteAsync(response, cancellation);
        }

        await responses.WriteAsync(
            new WatchResponse { Kind = WatchKind.SnapshotEnd, Cursor = WatchFeed.CursorOf(filter.TeamId, latest) }, cancellation);
        return await TailAsync(filter, latest, long.MaxValue, responses, cancellation);
    }

    private async Task<long> TailAsync(
        WatchFilter filter, long after, long through, IServerStreamWriter<WatchResponse> responses, CancellationToken cancellation)
    {
        while (true)
        {
            var page = await feed.TailAsync(filter, after, through, cancellation);
            if (filter.HostIds.Count == 0)
            {
                foreach (var batch in page.Batches)
                {
                    await responses.WriteBatchAsync(batch, cancellation);
                }
            }
            else
            {
                await responses.WriteEachAsync([.. page.Events.Where(item => filter.Wants(item.Kind, item.HostId))], cancellation);
            }

            if (page.LastSeq == after || page.LastSeq >= through)
            {
                return page.LastSeq;
            }

            // A page that was read for others may end before the number that this watcher is to see.
            after = page.LastSeq;
        }
    }

    /// <summary>A person who left the team, or whose token or session ended, must not go on watching it.</summary>
    private async Task RecheckAsync(TeamAccess team, CancellationToken cancellation)
    {
        if (team.Caller is Principal.User user)
        {
            var present = await authenticator.FindUserAsync(user.Token, cancellation)
                ?? throw new HubException(ErrorReason.CredentialInvalid, "The access token has ended: go on from the cursor with a new one.");
            Access.Team(present, team.TeamId, TeamRole.Viewer);
        }
        else if (team.Caller is Principal.ApiKey key && !await authenticator.IsLiveAsync(key, cancellation))
        {
            throw new HubException(ErrorReason.CredentialRevoked, "The API key was revoked.");
        }
    }
}

/// <summary>Open watches per team.</summary>
internal sealed class WatchCount
{
    public const int PerTeamMax = 1_000;

    private readonly ConcurrentDictionary<string, int> _open = new(StringComparer.Ordinal);

    /// <exception cref="HubException">WATCHES_MAX.</exception>
    public IDisposable Enter(string teamId)
    {
        if (_open.AddOrUpdate(teamId, 1, (_, open) => open + 1) > PerTeamMax)
        {
            Leave(teamId);
            throw new HubException(
                ErrorReason.WatchesMax, $"The team has {PerTeamMax} watches open; close some.", ("limit", $"{PerTeamMax}"));
        }

        return new Place(this, teamId);
    }

    private void Leave(string teamId)
    {
        var left = _open.AddOrUpdate(teamId, 0, (_, open) => open - 1);
        if (left == 0)
        {
            _open.TryRemove(KeyValuePair.Create(teamId, 0));
        }
    }

    private sealed class Place(WatchCount count, string teamId) : IDisposable
    {
        public void Dispose() => count.Leave(teamId);
    }
}
