using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Hub.TestKit.Faults;

/// <summary>Requests to a Hub that may be away at any moment: no answer is no fault, an answer that blames the request is one.</summary>
internal sealed class HubReader(HttpClient owner, ConcurrentQueue<string> faults)
{
    private const int PageSize = 1000;

    private static readonly TimeSpan BackWithin = TimeSpan.FromSeconds(120);

    /// <summary>What the Hub said last when it could not serve.</summary>
    public string Refusal { get; private set; } = "";

    public Task<JsonElement?> GetAsync(string path) => SendAsync(() => owner.GetAsync(new Uri(path, UriKind.Relative)));

    public Task<JsonElement?> PostAsync(string path, object body) => SendAsync(() => owner.PostAsync(new Uri(path, UriKind.Relative), JsonContent.Create(body)));

    /// <summary>All items of a list, page by page; waits while the Hub is away.</summary>
    public async Task<IReadOnlyList<JsonElement>> ListAsync(string path, string items)
    {
        var all = new List<JsonElement>();
        var token = "";
        do
        {
            JsonElement? page = null;
            var asked = token;
            await UntilAsync(
                async () => (page = await GetAsync($"{path}?pageSize={PageSize}&pageToken={Uri.EscapeDataString(asked)}")) is not null,
                () => $"{path} is not answered. {Refusal}");
            all.AddRange(page!.Value.GetProperty(items).EnumerateArray());
            token = page.Value.TryGetProperty("nextPageToken", out var next) ? next.GetString()! : "";
        }
        while (token.Length > 0);

        return all;
    }

    /// <summary>As <see cref="Polling"/>, for as long as a Hub may be away.</summary>
    public static Task UntilAsync(Func<Task<bool>> holds, Func<string> complaint) => Polling.UntilAsync(holds, complaint, BackWithin);

    private async Task<JsonElement?> SendAsync(Func<Task<HttpResponseMessage>> send)
    {
        try
        {
            using var response = await send().Within();
            if (response.IsSuccessStatusCode)
            {
                return await response.Content.ReadFromJsonAsync<JsonElement>();
            }

            Refusal = $"Last refusal: {(int)response.StatusCode} {await response.Content.ReadAsStringAsync()}";
            if (response.StatusCode is not (HttpStatusCode.ServiceUnavailable or HttpStatusCode.TooManyRequests))
            {
                faults.Enqueue($"{response.RequestMessage?.RequestUri} answered {(int)response.StatusCode}: {await response.Content.ReadAsStringAsync()}");
            }
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            // Killed, or not up again yet.
        }

        return null;
    }
}
