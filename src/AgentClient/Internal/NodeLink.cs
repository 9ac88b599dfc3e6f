using Grpc.Core;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <summary>
/// One Connect call from Hello to its end: one loop reads, one loop writes, and whichever ends first ends the other. What the frames mean
/// is the session's.
/// </summary>
/// <param name="session">The session.</param>
/// <param name="status">Status for the heartbeats; the application's code.</param>
/// <param name="dispatch">Takes the events that are not about the link itself.</param>
/// <param name="time">The clock.</param>
internal sealed class NodeLink(
    SharedSession session, Func<Google.Protobuf.WellKnownTypes.Struct?> status, Action<SessionEvent> dispatch, TimeProvider time)
{
    /// <summary>Silence after which a path counts as dead: the Hub sends a frame at least every 15 s.</summary>
    public static readonly TimeSpan SilenceMax = TimeSpan.FromSeconds(35);

    private long? _onlineSince;

    // Set once by the reader, seen by the writer.
    private volatile DrainRequest? _drain;

    /// <summary>How long the link has been online.</summary>
    public TimeSpan Online => _onlineSince is { } since ? time.GetElapsedTime(since) : TimeSpan.Zero;

    /// <summary>Runs the link to its end.</summary>
    /// <param name="client">The Hub.</param>
    /// <param name="credential">The host credential.</param>
    /// <param name="leaving">Asks the link to send what it has and close.</param>
    /// <param name="stopping">Ends the link at once.</param>
    public async Task<LinkEnd> RunAsync(LinkService.LinkServiceClient client, string credential, CancellationToken leaving, CancellationToken stopping)
    {
        using var silence = new CancellationTokenSource(SilenceMax, time);
        using var closing = CancellationTokenSource.CreateLinkedTokenSource(silence.Token, stopping);
        using var call = client.Connect(HubChannel.Authorization(credential), cancellationToken: closing.Token);
        var hello = new ConnectRequest { Hello = session.Change(target => target.CreateHello()) };
        var reading = ReadAsync(call.ResponseStream, silence, closing.Token);
        var writing = WriteAsync(hello, call.RequestStream, leaving, closing.Token);
        try
        {
            await Task.WhenAny((Task)reading, writing);
            if (reading.IsCompleted || await writing is not { } end)
            {
                // A writer whose stream broke leaves it to the reader to learn why.
                end = await reading;
            }

            // However a link that was asked to go ends, the node comes back at the moment it was told with that.
            return _drain is { } asked && end is LinkEnd.Dismissed { Reason: GoodbyeReason.Drain } or LinkEnd.Failed or LinkEnd.Silent
                ? Drained(asked)
                : end;
        }
        finally
        {
            await closing.CancelAsync();
            await Task.WhenAll((Task)reading, writing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            session.Change(target => target.LinkLost());
        }
    }

    private async Task<LinkEnd> ReadAsync(IAsyncStreamReader<ConnectResponse> frames, CancellationTokenSource silence, CancellationToken closing)
    {
        try
        {
            while (await frames.MoveNext(closing))
            {
                silence.CancelAfter(SilenceMax);
                if (Take(frames.Current) is { } end)
                {
                    return end;
                }
            }

            return _drain is { } asked ? Drained(asked) : new LinkEnd.Failed(StatusCode.Unavailable, "The Hub ended the stream.");
        }
        catch (Exception error) when (silence.IsCancellationRequested && error is RpcException or OperationCanceledException)
        {
            return new LinkEnd.Silent();
        }
        catch (Exception error) when (closing.IsCancellationRequested && error is RpcException or OperationCanceledException)
        {
            return new LinkEnd.Left();
        }
        catch (RpcException error)
        {
            return new LinkEnd.Failed(error.StatusCode, error.Status.Detail);
        }
        catch (LinkProtocolException error)
        {
            return new LinkEnd.Broken($"The Hub broke the protocol. {error.Message}");
        }
        catch (JournalException error)
        {
            return new LinkEnd.Broken(error.Message);
        }
    }

    // Null when the stream broke, which the reader learns in more detail.
    private async Task<LinkEnd?> WriteAsync(
        ConnectRequest hello, IClientStreamWriter<ConnectRequest> frames, CancellationToken leaving, CancellationToken closing)
    {
        using var waking = leaving.Register(session.Outgoing.Set);
        try
        {
            await frames.WriteAsync(hello, closing);
            while (true)
            {
                SetStatusIfDue();
                if (session.Read(target => target.TryTake(out var next) ? next : null) is { } frame)
                {
                    await frames.WriteAsync(frame, closing);
                    continue;
                }

                if ((leaving.IsCancellationRequested || _drain is not null) && session.Read(target => target.IsIdle || target.State is not SessionState.Online))
                {
                    await frames.CompleteAsync();
                    return _drain is { } asked ? Drained(asked) : new LinkEnd.Left();
                }

                await session.Outgoing.WaitAsync(NextDue(), time, closing);
            }
        }
        catch (JournalException error)
        {
            return new LinkEnd.Broken(error.Message);
        }
        catch (Exception error) when (error is RpcException or OperationCanceledException or InvalidOperationException or IOException)
        {
            return null;
        }
    }

    // Not null when the frame ends the link.
    private LinkEnd? Take(ConnectResponse frame)
    {
        LinkEnd? end = null;
        var events = session.TakeIn(frame);
        if (events.Count == 0)
        {
            return null;
        }

        try
        {
            foreach (var next in events)
            {
                end ??= Handle(next);
            }
        }
        finally
        {
            session.Announced();
        }

        return end;
    }

    private LinkEnd? Handle(SessionEvent next)
    {
        switch (next)
        {
            case SessionEvent.JournalReplaced:
                return new LinkEnd.JournalReplaced();
            case SessionEvent.Ended { Goodbye: var goodbye }:
                return new LinkEnd.Dismissed(goodbye.Reason, goodbye.RetryAfter?.ToTimeSpan() ?? TimeSpan.Zero, goodbye.Detail);
            case SessionEvent.Draining { ReconnectAfter: var after }:
                _drain ??= new DrainRequest(after, time.GetTimestamp());
                return null;
            case SessionEvent.Welcomed:
                _onlineSince = time.GetTimestamp();
                dispatch(next);
                return null;
            default:
                dispatch(next);
                return null;
        }
    }

    // The application's code runs here, outside the session's lock.
    private void SetStatusIfDue()
    {
        if (session.Read(target => target.IsHeartbeatDue))
        {
            var current = status();
            session.Read(target =>
            {
                target.SetStatus(current);
                return true;
            });
        }
    }

    private TimeSpan? NextDue() => session.Read(target => target.NextDue);

    // The delay counts from the Drain frame: what was spent on sending is part of it.
    private LinkEnd.Drained Drained(DrainRequest asked) => new(asked.ReconnectAfter - time.GetElapsedTime(asked.At));

    private sealed record DrainRequest(TimeSpan ReconnectAfter, long At);
}
