using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Internal;

/// <summary>Keeps a node linked: claims, dials, and after every end waits as the <see cref="RetryPolicy"/> says.</summary>
internal sealed partial class Connector(
    HubLinkOptions options,
    HubChannel hub,
    SharedSession session,
    NodeIdentity identity,
    Random random,
    Func<Struct?> status,
    Action<SessionEvent> dispatch,
    Action<LinkState> report)
{
    private static readonly TimeSpan ClaimTimeout = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan RefusalLogInterval = TimeSpan.FromHours(1);

    private readonly ILogger _logger = options.LoggerFactory.CreateLogger<HubLink>();
    private readonly TimeProvider _time = options.TimeProvider;
    private readonly RetryPolicy _policy = new(random);
    private long? _refusalLoggedAt;

    /// <summary>Runs until the host is revoked or deleted, or the node leaves. Returns why.</summary>
    public async Task<string> RunAsync(CancellationToken leaving, CancellationToken stopping)
    {
        var claim = false;
        while (true)
        {
            claim |= identity.Credential is null;
            report(new LinkState(LinkPhase.Connecting));
            var (end, online) = await TryLinkAsync(claim, leaving, stopping);
            if (end is LinkEnd.Left || leaving.IsCancellationRequested)
            {
                return "the node was shut down";
            }

            var decision = _policy.After(end, online);
            if (decision.IsStop)
            {
                LogStopped(end);
                return end.ToString()!;
            }

            // After a claim the credential has its turn again: whichever the Hub comes to accept first, the node finds it.
            claim = decision.ClaimFirst && options.JoinToken is not null && !claim;
            LogEnd(end, decision.Wait);
            var waiting = Task.Delay(decision.Wait, _time, leaving);
            report(new LinkState(LinkPhase.Waiting, end.ToString()!, _time.GetUtcNow() + decision.Wait));
            await waiting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            if (leaving.IsCancellationRequested)
            {
                return "the node was shut down";
            }
        }
    }

    private async Task<(LinkEnd End, TimeSpan Online)> TryLinkAsync(bool claim, CancellationToken leaving, CancellationToken stopping)
    {
        using var channel = hub.Open();
        var link = new NodeLink(session, status, dispatch, _time);
        try
        {
            if (claim)
            {
                await ClaimAsync(new HostService.HostServiceClient(channel), stopping);
            }

            return (await link.RunAsync(new LinkService.LinkServiceClient(channel), identity.Credential!, leaving, stopping), link.Online);
        }
        catch (Exception) when (stopping.IsCancellationRequested)
        {
            return (new LinkEnd.Left(), link.Online);
        }
        catch (RpcException error)
        {
            return (new LinkEnd.Failed(error.StatusCode, error.Status.Detail), link.Online);
        }
#pragma warning disable CA1031 // The boundary of the loop: whatever went wrong costs this link, never the node.
        catch (Exception error)
#pragma warning restore CA1031
        {
            LogUnexpected(error);
            return (new LinkEnd.Broken(error.Message), link.Online);
        }
    }

    private async Task ClaimAsync(HostService.HostServiceClient client, CancellationToken stopping)
    {
        using var timeout = new CancellationTokenSource(ClaimTimeout, _time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, stopping);
        var request = new ClaimHostRequest
        {
            JoinToken = options.JoinToken,
            Name = options.Name,
            HostType = options.HostType,
            Capabilities = { options.Capabilities },
        };
        var answer = await client.ClaimHostAsync(request, cancellationToken: either.Token);
        identity.Replace(answer.Credential.Token);
        identity.Learn(answer.Host?.Id ?? "");
        LogClaimed(answer.Host?.Id ?? "");
    }

    private void LogEnd(LinkEnd end, TimeSpan wait)
    {
        if (end is not LinkEnd.Failed { Code: StatusCode.Unauthenticated })
        {
            LogWaiting(end, wait);
            return;
        }

        // A fleet whose credentials died must not fill its logs for days.
        if (_refusalLoggedAt is not { } at || _time.GetElapsedTime(at) >= RefusalLogInterval)
        {
            _refusalLoggedAt = _time.GetTimestamp();
            LogRefused(end, options.JoinToken is null ? "no join token is set, so a person has to give this node a new credential" : "claiming with the join token");
        }
    }

    [LoggerMessage(Level = LogLevel.Information, EventName = "HostClaimed", Message = "Claimed host {HostId}.")]
    private partial void LogClaimed(string hostId);

    [LoggerMessage(Level = LogLevel.Information, EventName = "LinkEnded", Message = "The link ended: {End}. Dialling again in {Wait}.")]
    private partial void LogWaiting(LinkEnd end, TimeSpan wait);

    [LoggerMessage(Level = LogLevel.Warning, EventName = "CredentialRefused", Message = "The Hub refuses this node's credential ({End}); {Next}. It is tried again for ever; this line comes once an hour.")]
    private partial void LogRefused(LinkEnd end, string next);

    [LoggerMessage(Level = LogLevel.Warning, EventName = "LinkStopped", Message = "The link ended for good: {End}.")]
    private partial void LogStopped(LinkEnd end);

    [LoggerMessage(Level = LogLevel.Error, EventName = "LinkBroken", Message = "The link broke in an unexpected way.")]
    private partial void LogUnexpected(Exception error);
}
