using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Limits;
using Hub.Storage;

namespace Hub.Links;

/// <summary>
/// hub.v1.LinkService: owns the stream of a link. One loop reads, one writes, one pumps what the node is due; the first to end ends all.
/// </summary>
internal sealed partial class LinkGrpcService(
    Authenticator authenticator, Handshake handshake, LinkInbound inbound, LinkEnding ending, RateLimits rates, TimeProvider time,
    ILogger<LinkGrpcService> log) : LinkService.LinkServiceBase
{
    /// <summary>A link that is held back counts as heard this often: its heartbeats wait behind what it sent too fast.</summary>
    private static readonly TimeSpan HeldBackHeard = TimeSpan.FromSeconds(1);

    /// <summary>Wait before a frame the store could not take is asked for again.</summary>
    private static readonly TimeSpan StoreRetryAfter = TimeSpan.FromSeconds(1);

    public override async Task Connect(
        IAsyncStreamReader<ConnectRequest> requests, IServerStreamWriter<ConnectResponse> responses, ServerCallContext context)
    {
        var node = await AuthenticateAsync(responses, context);
        var hello = await ReadHelloAsync(requests, context.CancellationToken);
        Link link;
        try
        {
            link = await handshake.OpenAsync(node, hello, context.CancellationToken);
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.ClonedIdentity)
        {
            await responses.WriteAsync(GoodbyeOf(GoodbyeReason.ClonedIdentity, refusal.Message, refusal.RetryAfter));
            throw;
        }

        LogOpened(link.Identity.HostId, link.Identity.LinkId, link.Identity.Epoch);
        using var stopping = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken);
        var writing = WriteFramesAsync(link, responses, stopping.Token);
        var reading = ReadFramesAsync(link, requests, stopping.Token);
        var pumping = PumpAsync(link, stopping.Token);
        try
        {
            await Task.WhenAny(writing, reading, pumping);
        }
        finally
        {
            // Whatever ended first: nothing more is taken from the node, the last frame goes out, then the stream ends.
            link.Outbox.Close(null);
            if (link.EndReason == GoodbyeReason.SlowConsumer)
            {
                context.GetHttpContext().Abort(); // A last frame would queue up behind those that are not read.
            }

            await Settle(writing, LinkOptions.GoodbyeWithin);
            await stopping.CancelAsync();
            await Settle(Task.WhenAll(writing, reading, pumping), LinkOptions.GoodbyeWithin);
            await ending.EndedAsync(link);
            LogEnded(link.Identity.HostId, link.Identity.LinkId, link.EndReason);
        }
    }

    /// <summary>A dead credential is told apart: REVOKED and DELETED stop a node for good, anything else does not.</summary>
    private async Task<Principal.Node> AuthenticateAsync(IServerStreamWriter<ConnectResponse> responses, ServerCallContext context)
    {
        // Not by context.RequestHeaders, which would keep a second copy of all headers for as long as the link lives.
        string? authorization = context.GetHttpContext().Request.Headers.Authorization;
        try
        {
            return await authenticator.AuthenticateAsync(authorization, context.CancellationToken) as Principal.Node
                ?? throw new HubException(ErrorReason.CredentialInvalid, "A link is opened with a host credential (hcred_…).");
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.TeamSuspended)
        {
            await responses.WriteAsync(GoodbyeOf(GoodbyeReason.TeamSuspended, refusal.Message, retryAfter: null));
            throw;
        }
        catch (HubException refusal) when (refusal.Reason == ErrorReason.CredentialRevoked)
        {
            var token = authorization!["Bearer ".Length..].Trim();
            var row = await authenticator.FindCredentialAsync(token, context.CancellationToken);
            var reason = row?.DeletedAt is null ? GoodbyeReason.Revoked : GoodbyeReason.Deleted;
            await responses.WriteAsync(GoodbyeOf(reason, refusal.Message, retryAfter: null));
            throw;
        }
    }

    private async Task<Hello> ReadHelloAsync(IAsyncStreamReader<ConnectRequest> requests, CancellationToken cancellation)
    {
        using var timeout = new CancellationTokenSource(LinkOptions.HelloWithin, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(cancellation, timeout.Token);
        try
        {
            return await requests.MoveNext(either.Token) && requests.Current.Hello is { } hello
                ? hello
                : throw new HubException(ErrorReason.HelloExpected, "The first frame of a link is Hello.");
        }
        catch (Exception e) when (e is OperationCanceledException or RpcException
            && timeout.IsCancellationRequested && !cancellation.IsCancellationRequested)
        {
            throw new HubException(ErrorReason.HelloTimeout, $"No Hello within {LinkOptions.HelloWithin.TotalSeconds:0} s.");
        }
    }

    private async Task ReadFramesAsync(Link link, IAsyncStreamReader<ConnectRequest> requests, CancellationToken stopping)
    {
        var applying = new FramesApplying();
        try
        {
            while (!link.Outbox.IsClosed && await requests.MoveNext(stopping))
            {
                var (frame, bytes) = (requests.Current, requests.Current.CalculateSize());
                await applying.BeginAsync(bytes, stopping);
                _ = ApplyAsync(link, frame, bytes, applying); // Never faults; awaited below.
                await HoldBackAsync(link, rates.Received(link.Identity.TeamId, link.Identity.HostId, RecordsOf(frame), bytes), stopping);
            }
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.ResourceExhausted)
        {
            link.End(GoodbyeReason.ProtocolError, $"A frame has at most {LinkOptions.FrameBytesMax} bytes.");
        }
        catch (Exception e) when (IsEnd(e, stopping))
        {
            // The node went away, or the link ends: a normal end either way.
        }
        finally
        {
            await applying.WaitUntilNoneAsync();
        }
    }

    private static int RecordsOf(ConnectRequest frame) => Math.Max(1, frame.Batch?.Entries.Count ?? 1);

    /// <summary>Leaves the node's next frames where flow control makes the node feel them.</summary>
    private async Task HoldBackAsync(Link link, TimeSpan wait, CancellationToken stopping)
    {
        while (wait > TimeSpan.Zero)
        {
            var part = wait < HeldBackHeard ? wait : HeldBackHeard;
            await Task.Delay(part, time, stopping);
            wait -= part;
            await inbound.HeldBackAsync(link);
        }
    }

    private async Task ApplyAsync(Link link, ConnectRequest frame, int bytes, FramesApplying applying)
    {
        try
        {
            await link.ReceiveAsync(frame, inbound, CancellationToken.None);
        }
        catch (LinkFencedException)
        {
            await ending.FencedAsync(link);
        }
        catch (StoreUnavailableException e)
        {
            // Nothing was stored and nothing is acknowledged: the node sends it again.
            LogNotStored(link.Identity.HostId, e.Message);
            if (frame.Batch is { } batch)
            {
                await Task.Delay(StoreRetryAfter, time);
                link.Outbox.Refuse(new Nack { Lane = batch.Lane, ExpectedSeq = batch.FirstSeq });
            }
        }
        catch (Exception e)
        {
            LogFailed(e, link.Identity.HostId, frame.FrameCase);
            link.End(GoodbyeReason.Overloaded, "The Hub failed on a frame; dial again.");
        }
        finally
        {
            applying.End(bytes);
        }
    }

    private async Task WriteFramesAsync(Link link, IServerStreamWriter<ConnectResponse> responses, CancellationToken stopping)
    {
        var buffered = new WriteOptions(WriteFlags.BufferHint);
        try
        {
            var taken = link.Outbox.TryTake(out var frame);
            while (true)
            {
                while (taken)
                {
                    // Everything that waits goes out with one flush: the last frame carries it.
                    var following = link.Outbox.TryTake(out var next);
                    responses.WriteOptions = following ? buffered : WriteOptions.Default;
                    await responses.WriteAsync(frame, stopping).WaitAsync(LinkOptions.SlowConsumerAfter, time, stopping);
                    link.Wrote();
                    (frame, taken) = (next, following);
                }

                if (link.Outbox.IsClosed && !link.Outbox.TryTake(out frame))
                {
                    return;
                }

                if (!link.Outbox.IsClosed)
                {
                    link.Drained();
                    await link.Outbox.WaitAsync(stopping);
                    taken = link.Outbox.TryTake(out frame);
                }
                else
                {
                    taken = true;
                }
            }
        }
        catch (TimeoutException)
        {
            LogSlow(link.Identity.HostId);
            link.End(GoodbyeReason.SlowConsumer, "The node read nothing for 30 s.");
        }
        catch (Exception e) when (IsEnd(e, stopping))
        {
            // The node went away, or the link ends.
        }
    }

    private async Task PumpAsync(Link link, CancellationToken stopping)
    {
        try
        {
            while (!link.Outbox.IsClosed)
            {
                await link.WaitUntilDueAsync(stopping);
                try
                {
                    await link.PumpAsync(stopping);
                }
                catch (StoreUnavailableException e)
                {
                    LogNotStored(link.Identity.HostId, e.Message);
                    await Task.Delay(StoreRetryAfter, time, stopping);
                    link.Wake();
                }
            }
        }
        catch (LinkFencedException)
        {
            await ending.FencedAsync(link);
        }
        catch (Exception) when (stopping.IsCancellationRequested)
        {
            // The link ends.
        }
        catch (Exception e)
        {
            LogNotPumped(e, link.Identity.HostId);
            link.End(GoodbyeReason.Overloaded, "The Hub failed on what it had for the node; dial again.");
        }
    }

    private static async Task Settle(Task loop, TimeSpan bound)
    {
        try
        {
            await loop.WaitAsync(bound);
        }
        catch (TimeoutException)
        {
            // Cancelled or abandoned next; the stream ends with the call in any case.
        }
    }

    /// <summary>How a peer that goes away, or a token that fires, shows itself.</summary>
    private static bool IsEnd(Exception e, CancellationToken stopping) =>
        e is OperationCanceledException or IOException or RpcException
        || (stopping.IsCancellationRequested && e is InvalidOperationException);

    private static ConnectResponse GoodbyeOf(GoodbyeReason reason, string detail, TimeSpan? retryAfter) => new()
    {
        Goodbye = new Goodbye
        {
            Reason = reason,
            Retryable = reason is not (GoodbyeReason.Revoked or GoodbyeReason.Deleted),
            RetryAfter = retryAfter is { } wait ? Duration.FromTimeSpan(wait) : null,
            Detail = detail,
        },
    };

    [LoggerMessage(LogLevel.Information, "{HostId} opened {LinkId} with epoch {Epoch}", EventName = "LinkOpened")]
    private partial void LogOpened(string hostId, string linkId, long epoch);

    [LoggerMessage(LogLevel.Information, "{HostId} ended {LinkId}: {Reason}", EventName = "LinkEnded")]
    private partial void LogEnded(string hostId, string linkId, GoodbyeReason reason);

    [LoggerMessage(LogLevel.Debug, "A frame of {HostId} was not stored and is asked for again: {Cause}", EventName = "FrameNotStored")]
    private partial void LogNotStored(string hostId, string cause);

    [LoggerMessage(LogLevel.Error, "A {Frame} frame of {HostId} failed", EventName = "FrameFailed")]
    private partial void LogFailed(Exception e, string hostId, ConnectRequest.FrameOneofCase frame);

    [LoggerMessage(LogLevel.Error, "What {HostId} is due could not be found out", EventName = "LinkNotPumped")]
    private partial void LogNotPumped(Exception e, string hostId);

    [LoggerMessage(LogLevel.Warning, "{HostId} reads nothing; disconnecting it", EventName = "SlowConsumer")]
    private partial void LogSlow(string hostId);
}
