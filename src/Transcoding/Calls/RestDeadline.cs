using Grpc.Framing;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>
/// The deadline of one request, in the words of gRPC: header <c>grpc-timeout</c>, 1 to 8 digits and one of H, M, S, m, u, n. The method
/// is cancelled when it has passed; it is trusted to end then.
/// </summary>
internal sealed class RestDeadline : IDisposable
{
    private readonly CancellationTokenSource _timer;
    private readonly CancellationTokenSource _either;

    private RestDeadline(TimeSpan timeout, TimeProvider time, CancellationToken aborted)
    {
        var now = time.GetUtcNow().UtcDateTime;
        At = timeout < DateTime.MaxValue - now ? now + timeout : DateTime.MaxValue;
        _timer = new CancellationTokenSource(timeout < GrpcProtocol.TimeoutMax ? timeout : GrpcProtocol.TimeoutMax, time);
        _either = CancellationTokenSource.CreateLinkedTokenSource(_timer.Token, aborted);
    }

    public DateTime At { get; }

    /// <summary>Fires when the deadline has passed or the client is gone.</summary>
    public CancellationToken Token => _either.Token;

    public bool IsReached => _timer.IsCancellationRequested;

    /// <returns>Null if the request has no deadline, so that most requests pay for none.</returns>
    public static RestDeadline? Of(HttpContext http, TimeProvider time)
    {
        if (http.Request.Headers[RestHeaders.Timeout] is not [{ Length: > 0 } text])
        {
            return null;
        }

        return GrpcProtocol.TryParseTimeout(text, out var timeout)
            ? new RestDeadline(timeout, time, http.RequestAborted)
            : throw new BadHttpRequestException($"header {RestHeaders.Timeout}: expected up to 8 digits and one of H, M, S, m, u, n, such as 5S");
    }

    public void Dispose()
    {
        _either.Dispose();
        _timer.Dispose();
    }
}
