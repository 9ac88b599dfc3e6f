using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using Hub.TestKit;

namespace Hub.IntegrationTests;

/// <summary>What a REST call was answered with; every answer but the instructions for agents is a JSON object, also a refusal.</summary>
internal sealed record RestAnswer(int Status, string Text, JsonElement Body, HttpResponseHeaders Headers, Version Version)
{
    /// <summary>The text a node reads; it expects a string.</summary>
    public string Error => Body.GetProperty("error").GetString()!;

    public string Reason => Body.GetProperty("reason").GetString()!;

    /// <summary>A property by its path, such as <c>host.id</c>.</summary>
    public JsonElement this[string path] => path.Split('.').Aggregate(Body, (element, name) => element.GetProperty(name));

    public string String(string path) => this[path].GetString()!;

    public RestAnswer Expect(int status)
    {
        Assert.True(Status == status, $"{Status} instead of {status}: {Text}");
        return this;
    }
}

/// <summary>REST over HTTP/1.1 as nodes and scripts speak it.</summary>
internal static class RestCalls
{
    public static Task<RestAnswer> ReadAsync(this HttpClient client, string path) => client.CallAsync(HttpMethod.Get, path);

    /// <param name="body">An object to serialise, or a string that is sent as it is.</param>
    public static Task<RestAnswer> WriteAsync(this HttpClient client, string path, object body, params (string Key, string Value)[] headers) =>
        client.CallAsync(HttpMethod.Post, path, body, headers);

    /// <summary>A host's tasks as the Hub has them, each with its status, in the order of their ids.</summary>
    public static async Task<string[]> TasksOfAsync(this HttpClient client, string hostId) =>
    [
        .. (await client.ReadAsync($"/api/hosts/{hostId}/tasks"))["tasks"].EnumerateArray()
            .Select(task => $"{task.GetProperty("id").GetString()} {task.GetProperty("status").GetString()}").Order(StringComparer.Ordinal),
    ];

    public static async Task<RestAnswer> CallAsync(
        this HttpClient client, HttpMethod method, string path, object? body = null, params (string Key, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(method, path);
        if (body is not null)
        {
            request.Content = new StringContent(body as string ?? JsonSerializer.Serialize(body), Encoding.UTF8, "application/json");
        }

        foreach (var (key, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(key, value);
        }

        using var response = await client.SendAsync(request).Within();
        return await ToAnswerAsync(response);
    }

    public static async Task<RestAnswer> ToAnswerAsync(HttpResponseMessage response)
    {
        var text = await response.Content.ReadAsStringAsync().Within();
        var body = response.Content.Headers.ContentType?.MediaType == "text/markdown"
            ? JsonSerializer.SerializeToElement(text)
            : JsonSerializer.Deserialize<JsonElement>(text);
        return new RestAnswer((int)response.StatusCode, text, body, response.Headers, response.Version);
    }
}
