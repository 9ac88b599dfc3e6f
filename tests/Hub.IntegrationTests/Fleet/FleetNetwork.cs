using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Hub.IntegrationTests.Fleet;

/// <summary>What happens to the requests of a node.</summary>
internal enum FleetFault
{
    None,

    /// <summary>Answered 401 with the words a node claims again for.</summary>
    Unauthorized,

    /// <summary>Answered 500 before the Hub sees it.</summary>
    ErrorBefore,

    /// <summary>Answered 500 although the Hub did it.</summary>
    ErrorAfter,

    /// <summary>The Hub does it and its answer never comes.</summary>
    HalfOpen,

    /// <summary>It never arrives.</summary>
    Cut,
}

/// <summary>The way from one node to the Hub, which moves when the Hub restarts; real sockets below it.</summary>
internal sealed class FleetNetwork(Func<Uri> hub, Random random) : DelegatingHandler(new SocketsHttpHandler())
{
    /// <summary>Share of the requests a fault hits: some get through, and so some states are half new.</summary>
    private const double Share = 0.7;

    /// <summary>Set between rounds, read by the node's requests.</summary>
    public FleetFault Fault { get; set; }

    /// <summary>Answers of the Hub that never came: what a poll hands out has no acknowledgement but that its answer left.</summary>
    public ConcurrentQueue<string> LostAnswers { get; } = new();

    /// <summary>Requests a fault hit.</summary>
    public int Hit { get; private set; }

    protected override async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
    {
        request.RequestUri = new Uri(hub(), request.RequestUri!.PathAndQuery);
        var fault = Fault != FleetFault.None && random.NextDouble() < Share ? Fault : FleetFault.None;
        Hit += fault == FleetFault.None ? 0 : 1;
        switch (fault)
        {
            case FleetFault.Unauthorized when !request.RequestUri.AbsolutePath.EndsWith("/claim", StringComparison.Ordinal):
                return Answer(HttpStatusCode.Unauthorized, "Invalid or expired token");
            case FleetFault.ErrorBefore:
                return Answer(HttpStatusCode.InternalServerError, "something broke");
            case FleetFault.Cut:
                throw new HttpRequestException("The request never arrived.");
        }

        var answer = await base.SendAsync(request, cancellationToken);
        if (fault is not (FleetFault.ErrorAfter or FleetFault.HalfOpen))
        {
            return answer;
        }

        using (answer)
        {
            LostAnswers.Enqueue(await answer.Content.ReadAsStringAsync(cancellationToken)); // The Hub believes that it was answered.
        }

        return fault == FleetFault.ErrorAfter
            ? Answer(HttpStatusCode.InternalServerError, "something broke")
            : throw new HttpRequestException("The answer never came.");
    }

    private static HttpResponseMessage Answer(HttpStatusCode status, string error) =>
        new(status) { Content = new StringContent($$"""{"error":"{{error}}"}""", Encoding.UTF8, "application/json") };
}
