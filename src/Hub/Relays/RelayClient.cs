using System.Net;
using System.Net.Http.Headers;
using System.Text;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.Text;

namespace Hub.Relays;

/// <summary>
/// Calls the operator's relay. It is the operator's own address, so it may be a private one. What it refuses is told by its status alone: a
/// node claims again when it reads certain words, whoever wrote them.
/// </summary>
internal sealed class RelayClient : IDisposable
{
    /// <summary>Largest answer, in bytes.</summary>
    private const int AnswerBytesMax = 1024 * 1024;

    private static readonly TimeSpan AnswerWithin = TimeSpan.FromSeconds(30);

    private readonly HttpClient? _relay;

    public RelayClient(HubSettings settings)
    {
        if (settings.RelayUrl is not { } url)
        {
            return;
        }

        _relay = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false })
        {
            BaseAddress = new Uri($"{url.AbsoluteUri.TrimEnd('/')}/"),
            MaxResponseContentBufferSize = AnswerBytesMax,
            Timeout = AnswerWithin,
        };
        if (settings.RelayToken is { } token)
        {
            _relay.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }
    }

    /// <param name="path">Below the relay's address, with its query.</param>
    /// <exception cref="HubException">RELAY_NOT_CONFIGURED, RELAY_REFUSED, RELAY_UNAVAILABLE, RATE_LIMITED.</exception>
    public Task<Struct> GetAsync(HostAccess host, string path, CancellationToken cancellation) =>
        SendAsync(host, HttpMethod.Get, path, null, cancellation);

    /// <inheritdoc cref="GetAsync"/>
    public Task<Struct> PostAsync(HostAccess host, string path, Struct? body, CancellationToken cancellation) =>
        SendAsync(host, HttpMethod.Post, path, body ?? new Struct(), cancellation);

    public void Dispose() => _relay?.Dispose();

    private async Task<Struct> SendAsync(HostAccess host, HttpMethod method, string path, Struct? body, CancellationToken cancellation)
    {
        if (_relay is null)
        {
            throw new HubException(
                ErrorReason.RelayNotConfigured, $"The Hub has no relay for this; its operator sets one with {HubSettings.RelayUrlKey}.");
        }

        using var request = new HttpRequestMessage(method, path)
        {
            Headers = { { "X-Hub-Team-Id", host.TeamId }, { "X-Hub-Host-Id", host.HostId } },
            Content = body is null ? null : new StringContent(JsonFormatter.Default.Format(body), Encoding.UTF8, "application/json"),
        };
        try
        {
            using var response = await _relay.SendAsync(request, cancellation);
            return response.StatusCode switch
            {
                _ when response.IsSuccessStatusCode => CleanText.Of(
                    JsonParser.Default.Parse<Struct>(await response.Content.ReadAsStringAsync(cancellation))),
                HttpStatusCode.TooManyRequests => throw new HubException(ErrorReason.RateLimited, "The relay takes no more for now; try again later."),
                >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError => throw new HubException(
                    ErrorReason.RelayRefused, "The relay does not do what was asked.", ("status", $"{(int)response.StatusCode}")),
                _ => throw Unavailable(),
            };
        }
        catch (Exception e) when (e is HttpRequestException or InvalidProtocolBufferException or InvalidJsonException
            || (e is OperationCanceledException && !cancellation.IsCancellationRequested))
        {
            throw Unavailable();
        }
    }

    private static HubException Unavailable() =>
        new(ErrorReason.RelayUnavailable, "The relay failed or did not answer in time; it is not known whether it did what was asked.");
}
