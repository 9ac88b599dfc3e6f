using System.Net;
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace Hub.Transcoding.Tests.Calls;

public sealed class RequestBindingTests(RestFixture fixture)
{
    private readonly HttpClient _client = fixture.Host.Client;

    /// <summary>Method, path, body, and the request that the service saw.</summary>
    public static TheoryData<string, string, string?, string> Requests => new()
    {
        { "GET", "/api/hosts/h1", null, """{"hostId":"h1"}""" },
        { "GET", "/api/hosts/a%2Fb%20c", null, """{"hostId":"a/b c"}""" },
        { "GET", "/api/hosts/%C5%BE", null, """{"hostId":"ž"}""" },
        { "GET", "/api/hosts/h1?name=n&name=m", null, """{"hostId":"h1","name":"m"}""" },
        { "GET", "/api/hosts/h1?hostId=other", null, """{"hostId":"h1"}""" },
        { "GET", "/api/hosts/h1?tags=a&tags=b", null, """{"hostId":"h1","tags":["a","b"]}""" },
        { "GET", "/api/hosts/h1?states=ONLINE&states=HOST_STATE_OFFLINE&state=1", null, """{"hostId":"h1","states":["ONLINE","OFFLINE"],"state":"ONLINE"}""" },
        { "GET", "/api/hosts/h1?since=2024-01-01T00:00:00%2B01:00", null, """{"hostId":"h1","since":"2023-12-31T23:00:00Z"}""" },
        { "GET", "/api/hosts/h1?filter.team=t&filter.min_size=3", null, """{"hostId":"h1","filter":{"team":"t","minSize":3}}""" },
        { "GET", "/api/hosts/h1?filter.minSize=3", null, """{"hostId":"h1","filter":{"minSize":3}}""" },
        { "GET", "/api/hosts/h1?limit=5&big=9007199254740993&flag=1&maybe=false", null, """{"hostId":"h1","limit":5,"big":"9007199254740993","flag":true,"maybe":false}""" },
        { "GET", "/api/hosts/h1?limit=&name=&unknown=1&no.such=2", null, """{"hostId":"h1"}""" },
        { "GET", "/api/hosts/h1?name=a%00b", null, """{"hostId":"h1","name":"a␀b"}""" },
        { "GET", "/api/hosts/h1?blob=-_8", null, """{"hostId":"h1","blob":"+/8="}""" },
        { "GET", "/api/teams/t1/hosts/h1", null, """{"hostId":"h1","filter":{"team":"t1"}}""" },
        { "GET", "/api/names/teams/t1/hosts/h1", null, """{"name":"teams/t1/hosts/h1"}""" },
        { "GET", "/api/files/a/b/c.txt", null, """{"name":"a/b/c.txt"}""" },
        { "POST", "/api/hosts/h1:restart", """{"name":"n"}""", """{"hostId":"h1","name":"n"}""" },
        { "POST", "/api/hosts", """{"host_id":"h1","hostId":"h2"}""", """{"hostId":"h2"}""" },
        { "POST", "/api/hosts", "", "{}" },
        { "POST", "/api/hosts", null, "{}" },
        { "POST", "/api/hosts", """{"name":"\ud83d\u0000"}""", "{\"name\":\"\uFFFD\u2400\"}" },
        { "POST", "/api/hosts?name=ignored", "{}", "{}" },
        { "PUT", "/api/hosts/h1?name=n", """{"team":"t"}""", """{"hostId":"h1","name":"n","filter":{"team":"t"}}""" },
        { "PATCH", "/api/hosts/h1", """{"hostId":"other","limit":"7"}""", """{"hostId":"h1","limit":7}""" },
        { "DELETE", "/api/hosts/h1?limit=1", null, """{"hostId":"h1","limit":1}""" },
    };

    public static TheoryData<string, string, string?, string> Refusals => new()
    {
        { "GET", "/api/hosts/h1?limit=x", null, "limit: expected a 32-bit integer, found a string" },
        { "GET", "/api/hosts/h1?filter.minSize=x", null, "filter.minSize: expected a 32-bit integer, found a string" },
        { "GET", "/api/hosts/h1?state=NONE", null, "state: expected a value of HostState, found a string" },
        { "POST", "/api/hosts", """{"filter":{"minSize":[]}}""", "filter.minSize: expected a 32-bit integer, found an array" },
        { "POST", "/api/hosts", "{", "not valid JSON" },
        { "PUT", "/api/hosts/h1", "[]", "expected an object, found an array" },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public async Task Request_OfRule_ReachesTheServiceAs(string method, string path, string? body, string expected)
    {
        using var response = await SendAsync(method, path, body);

        var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        Assert.True(response.IsSuccessStatusCode, answer.ToJsonString());
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), answer["request"]), answer.ToJsonString());
    }

    [Theory]
    [MemberData(nameof(Refusals))]
    public async Task Request_ThatDoesNotFit_Is400WithPlaceAndExpectation(string method, string path, string? body, string expected)
    {
        using var response = await SendAsync(method, path, body);

        var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        Assert.Equal(HttpStatusCode.BadRequest, response.StatusCode);
        Assert.Equal("INVALID_ARGUMENT", (string?)answer["code"]);
        Assert.StartsWith(expected, (string?)answer["error"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_WithJsonTypeAndNoBody_IsAccepted()
    {
        var answer = await fixture.Host.SendRawAsync(
            "POST /api/hosts HTTP/1.1\nHost: x\nContent-Type: application/json\nContent-Length: 0\nConnection: close\n\n");

        Assert.StartsWith("HTTP/1.1 200", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_WithoutContentType_IsTakenAsJson()
    {
        var answer = await fixture.Host.SendRawAsync(
            "POST /api/hosts HTTP/1.1\nHost: x\nContent-Length: 12\nConnection: close\n\n", "{\"name\":\"n\"}"u8.ToArray());

        Assert.Contains("\"name\":\"n\"", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_ChunkedWithByteOrderMarkAndInvalidUtf8_IsMended()
    {
        byte[] json = [0xEF, 0xBB, 0xBF, .. "{\"name\":\""u8, 0xFF, .. "\"}"u8];
        byte[] chunked = [.. Encoding.ASCII.GetBytes($"{json.Length:x}\r\n"), .. json, .. "\r\n0\r\n\r\n"u8];

        var answer = await fixture.Host.SendRawAsync(
            "POST /api/hosts HTTP/1.1\nHost: x\nContent-Type: application/json\nTransfer-Encoding: chunked\nConnection: close\n\n", chunked);

        Assert.Contains("\"name\":\"\uFFFD\"", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_OfRawBody_ComesBackWithItsType()
    {
        using var content = new ByteArrayContent([1, 2, 3]) { Headers = { ContentType = new("image/png") } };

        using var response = await _client.PutAsync("/api/raw/x", content);

        Assert.Equal("image/png", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal([1, 2, 3], await response.Content.ReadAsByteArrayAsync());
    }

    [Theory]
    [InlineData("application/json; charset=utf-8", 200)]
    [InlineData("application/merge-patch+json", 200)]
    [InlineData("text/plain", 415)]
    [InlineData("application/json; charset=utf-16", 415)]
    [InlineData("application/x-www-form-urlencoded", 415)]
    public async Task Request_OfContentType_IsAcceptedIfItIsJson(string contentType, int status)
    {
        using var content = new StringContent("{}");
        content.Headers.Remove("Content-Type");
        content.Headers.TryAddWithoutValidation("Content-Type", contentType);

        using var response = await _client.PostAsync("/api/hosts", content);

        Assert.Equal(status, (int)response.StatusCode);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Request_BeyondTheMethodsLimit_Is413(bool chunked)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, "/api/hosts")
        {
            Content = JsonContent(JsonSerializer.Serialize(new { name = new string('x', 5000) })),
            Headers = { TransferEncodingChunked = chunked },
        };

        using var response = await _client.SendAsync(request);

        var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
        Assert.Equal("RESOURCE_EXHAUSTED", (string?)answer["code"]);
        Assert.IsType<string>(answer["error"]!.GetValue<string>());
    }

    [Fact]
    public async Task Request_WithinTheDefaultLimit_IsAccepted()
    {
        using var response = await _client.PostAsync("/api/hosts/claim", JsonContent(JsonSerializer.Serialize(new { name = new string('x', 500_000) })));

        Assert.Equal(HttpStatusCode.Created, response.StatusCode);
    }

    private static StringContent JsonContent(string json) => new(json, Encoding.UTF8, "application/json");

    private async Task<HttpResponseMessage> SendAsync(string method, string path, string? body)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path) { Content = body is null ? null : JsonContent(body) };
        return await _client.SendAsync(request);
    }
}
