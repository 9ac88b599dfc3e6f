using System.IO.Compression;
using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>What headers do on every surface: versions, repeats, deadlines, codings, foreign pages.</summary>
public sealed class HeaderTests(RestFixture fixture)
{
    private readonly HttpClient _client = fixture.Host.Client;

    [Fact]
    public async Task Head_OfGet_HasItsHeadersAndNoBody()
    {
        using var get = await _client.GetAsync("/v1/m/1");

        using var head = await SendAsync("HEAD", "/v1/m/1");

        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        Assert.Equal(get.Content.Headers.ContentLength, head.Content.Headers.ContentLength);
        Assert.Equal("application/json", head.Content.Headers.ContentType?.MediaType);
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());
    }

    [Fact]
    public async Task Head_Refused_HasTheStatusOfGet()
    {
        using var head = await SendAsync("HEAD", "/v1/typed/x/true");

        Assert.Equal(HttpStatusCode.BadRequest, head.StatusCode);
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());
    }

    [Fact]
    public async Task Version_OfResource_IsItsETag()
    {
        using var response = await _client.GetAsync("/v1/versioned/a");

        Assert.Equal("\"7\"", response.Headers.ETag?.ToString());
    }

    [Fact]
    public async Task AnswerWithoutVersion_IsTaggedByItsBytes()
    {
        using var first = await _client.GetAsync("/v1/m/1");
        using var other = await _client.GetAsync("/v1/m/2");
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/m/1");
        request.Headers.IfNoneMatch.Add(first.Headers.ETag!);

        using var again = await _client.SendAsync(request);

        Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
        Assert.NotEqual(first.Headers.ETag, other.Headers.ETag);
    }

    [Fact]
    public async Task Version_ThatIsUnset_GivesNoETag()
    {
        using var response = await _client.GetAsync("/v1/versioned/none");

        Assert.Null(response.Headers.ETag);
    }

    [Theory]
    [InlineData("GET", "\"7\"", 304)]
    [InlineData("HEAD", "\"7\"", 304)]
    [InlineData("GET", "W/\"7\"", 304)]
    [InlineData("GET", "\"6\", \"7\"", 304)]
    [InlineData("GET", "*", 304)]
    [InlineData("GET", "\"6\"", 200)]
    [InlineData("GET", "7", 200)]
    [InlineData("PUT", "\"7\"", 200)]
    public async Task IfNoneMatch_OfRequest_IsAnsweredWith(string method, string tag, int status)
    {
        using var response = await SendAsync(method, "/v1/versioned/a", headers: ("If-None-Match", tag));

        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal("\"7\"", response.Headers.ETag?.ToString());
        Assert.Equal(status == 304, (await response.Content.ReadAsByteArrayAsync()).Length == 0);
    }

    [Theory]
    [InlineData("\"7\"", 200)]
    [InlineData("W/\"7\"", 200)]
    [InlineData("*", 200)]
    [InlineData("\"6\"", 412)]
    [InlineData("\"x\"", 400)]
    [InlineData("\"6\", \"7\"", 400)]
    [InlineData("7", 400)]
    public async Task IfMatch_OfRequest_IsAnsweredWith(string tag, int status)
    {
        using var response = await SendAsync("PUT", "/v1/versioned/a", "{}", ("If-Match", tag));

        Assert.Equal(status, (int)response.StatusCode);
    }

    [Theory]
    [InlineData("{}", 200)]
    [InlineData("""{"expectedVersion":6}""", 409)]
    public async Task IfMatch_LeftOut_LeavesTheFieldToTheBody(string body, int status)
    {
        using var response = await SendAsync("PUT", "/v1/versioned/a", body);

        Assert.Equal(status, (int)response.StatusCode);
    }

    [Theory]
    [InlineData("key-1")]
    [InlineData("\"key-1\"")]
    public async Task IdempotencyKey_OfHeader_FillsTheField(string header)
    {
        using var response = await SendAsync("POST", "/v1/body/whole/n", "{}", ("Idempotency-Key", header));

        var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        Assert.Equal("key-1", (string?)answer["got"]!["idempotencyKey"]);
    }

    [Fact]
    public async Task IdempotencyKey_OfHeaderAndBody_LeavesTheBodysForTheMethodToCompare()
    {
        using var response = await SendAsync("POST", "/v1/body/whole/n", """{"idempotencyKey":"of the body"}""", ("Idempotency-Key", "key-1"));

        var answer = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        Assert.Equal("of the body", (string?)answer["got"]!["idempotencyKey"]);
    }

    [Fact]
    public async Task IdempotencyKey_OfMessageWithoutTheField_IsLeftAlone()
    {
        using var response = await SendAsync("PUT", "/v1/versioned/a", "{}", ("Idempotency-Key", "k"));

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
    }

    [Fact]
    public async Task Deadline_ThatPasses_Is504AndCancelsTheMethod()
    {
        await using var host = await RestHost.StartAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/slow") { Headers = { { "grpc-timeout", "5S" } } };

        var sending = host.Client.SendAsync(request);
        await host.Time.CreatedAsync(TimeSpan.FromSeconds(5)).WaitAsync(RestHost.Patience);
        host.Time.Fire();
        using var response = await sending.WaitAsync(RestHost.Patience);

        Assert.Equal(HttpStatusCode.GatewayTimeout, response.StatusCode);
        Assert.Equal("DEADLINE_EXCEEDED", (string?)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["code"]);
        Assert.Empty(host.Log.Errors);
    }

    [Fact]
    public async Task Deadline_InTheMiddleOfAStream_IsItsLastLine()
    {
        await using var host = await RestHost.StartAsync();
        using var request = new HttpRequestMessage(HttpMethod.Get, "/v1/slowstream") { Headers = { { "grpc-timeout", "1500m" } } };
        using var response = await host.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead).WaitAsync(RestHost.Patience);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Equal("""{"method":"SlowStream"}""", await reader.ReadLineAsync().WaitAsync(RestHost.Patience));

        host.Time.Fire();

        Assert.Contains("DEADLINE_EXCEEDED", await reader.ReadToEndAsync().WaitAsync(RestHost.Patience), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("5S", 200)]
    [InlineData("99999999H", 200)]
    [InlineData("5", 400)]
    [InlineData("5s", 400)]
    [InlineData("-5S", 400)]
    [InlineData("123456789S", 400)]
    public async Task Deadline_OfHeader_HasTheFormOfGrpc(string timeout, int status)
    {
        using var response = await SendAsync("GET", "/v1/m/1", headers: ("grpc-timeout", timeout));

        Assert.Equal(status, (int)response.StatusCode);
    }

    [Theory]
    [InlineData("gzip", "gzip")]
    [InlineData("br", "br")]
    [InlineData("gzip, br", "br")]
    [InlineData("gzip, br;q=0.5", "gzip")]
    [InlineData("br;q=0, gzip;q=0.1", "gzip")]
    [InlineData("deflate, *", null)]
    [InlineData("gzip;q=0", null)]
    [InlineData("nonsense;;q", null)]
    [InlineData(null, null)]
    public async Task LargeAnswer_ForWhoAcceptsACoding_IsCompressed(string? accepted, string? coding)
    {
        var path = $"/v1/query?name={new string('x', 5000)}";

        using var response = accepted is null ? await _client.GetAsync(path) : await SendAsync("GET", path, headers: ("Accept-Encoding", accepted));

        var bytes = await response.Content.ReadAsByteArrayAsync();
        Assert.Equal(coding is null ? [] : [coding], response.Content.Headers.ContentEncoding);
        Assert.Equal(bytes.Length, response.Content.Headers.ContentLength);
        Assert.Contains("Accept-Encoding", response.Headers.Vary);
        Assert.Contains(new string('x', 5000), Decode(bytes, coding), StringComparison.Ordinal);
        Assert.Equal(coding is null, bytes.Length > 5000);
    }

    [Theory]
    [InlineData("/v1/query?name=short")]
    [InlineData("/v1/secret?name=")]
    public async Task Answer_ThatIsShortOrSecret_IsNeverCompressed(string path)
    {
        using var response = await SendAsync("GET", path.EndsWith('=') ? path + new string('x', 5000) : path, headers: ("Accept-Encoding", "gzip, br"));

        Assert.Empty(response.Content.Headers.ContentEncoding);
    }

    [Fact]
    public async Task LargeVersionedAnswer_Compressed_HasAWeakETagThatStillMatches()
    {
        var path = $"/v1/versioned/{new string('x', 3000)}";

        using var response = await SendAsync("GET", path, headers: ("Accept-Encoding", "gzip"));
        using var again = await SendAsync("GET", path, headers: [("Accept-Encoding", "gzip"), ("If-None-Match", response.Headers.ETag!.ToString())]);

        Assert.Equal("W/\"7\"", response.Headers.ETag.ToString());
        Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
    }

    [Fact]
    public async Task Request_InGzip_IsRead()
    {
        using var response = await PostGzipAsync("/v1/body/whole/n", """{"messageId":"m"}"""u8.ToArray());

        Assert.Contains("\"messageId\":\"m\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Request_InGzipThatUnpacksBeyondTheBound_Is413()
    {
        // 8 KiB on the wire, 8 MiB in memory if anybody unpacked it.
        using var response = await PostGzipAsync("/v1/body/whole/n", Encoding.ASCII.GetBytes($"{{\"name\":\"{new string('x', 8 * 1024 * 1024)}\"}}"));

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
    }

    [Theory]
    [InlineData("gzip", 400)]
    [InlineData("br", 415)]
    [InlineData("identity", 200)]
    public async Task Request_WithPlainBodyAndCoding_IsAnsweredWith(string coding, int status)
    {
        using var content = new StringContent("{}", Encoding.UTF8, "application/json") { Headers = { ContentEncoding = { coding } } };

        using var response = await _client.PostAsync("/v1/body/whole/n", content);

        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal(status == 415, response.Headers.TryGetValues("Accept-Encoding", out _));
    }

    [Theory]
    [InlineData(0, 200)]
    [InlineData(1, 413)]
    public async Task Request_OfNodeRoute_MayHave8MiB(int beyond, int status)
    {
        const int BytesMax = 8 * 1024 * 1024;
        var frame = """{"name":""}""".Length;
        var json = $$"""{"name":"{{new string('x', BytesMax + beyond - frame)}}"}""";

        using var response = await SendAsync("POST", "/v1/node", json);

        Assert.Equal(status, (int)response.StatusCode);
    }

    [Theory]
    [InlineData("/v1/m/1")]
    [InlineData("/v1/no/such/path")]
    public async Task Preflight_OfAllowedOrigin_IsAnsweredBeforeRouting(string path)
    {
        using var response = await SendAsync("OPTIONS", path, headers: [
            ("Origin", RestHost.AllowedOrigin), ("Access-Control-Request-Method", "PATCH"), ("Access-Control-Request-Headers", "authorization,if-match")]);

        Assert.Equal(HttpStatusCode.NoContent, response.StatusCode);
        Assert.Equal([RestHost.AllowedOrigin], response.Headers.GetValues("Access-Control-Allow-Origin"));
        Assert.Equal(["PATCH"], response.Headers.GetValues("Access-Control-Allow-Methods"));
        Assert.Equal(["authorization,if-match"], response.Headers.GetValues("Access-Control-Allow-Headers"));
        Assert.False(response.Headers.Contains("Access-Control-Allow-Credentials"));
    }

    [Theory]
    [InlineData("https://evil.example.com")]
    [InlineData("http://hub.example.com")]
    [InlineData("https://hub.example.com:8443")]
    [InlineData("https://hub.example.com.evil.com")]
    [InlineData("null")]
    public async Task Preflight_OfOtherOrigin_AllowsNothing(string origin)
    {
        using var response = await SendAsync("OPTIONS", "/v1/m/1", headers: [("Origin", origin), ("Access-Control-Request-Method", "GET")]);

        Assert.DoesNotContain(response.Headers, header => header.Key.StartsWith("Access-Control-Allow", StringComparison.OrdinalIgnoreCase));
    }

    [Theory]
    [InlineData("/v1/m/1")]
    [InlineData("/v1/typed/x/true")]
    [InlineData("/v1/no/such/path")]
    [InlineData("/api/broken")]
    public async Task Answer_ToAllowedOrigin_IsReadableWhateverItsStatus(string path)
    {
        using var response = await SendAsync("GET", path, headers: ("Origin", RestHost.AllowedOrigin));

        Assert.Equal([RestHost.AllowedOrigin], response.Headers.GetValues("Access-Control-Allow-Origin"));
        Assert.Contains("ETag", Assert.Single(response.Headers.GetValues("Access-Control-Expose-Headers")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("*")]
    [InlineData("https://hub.example.com/")]
    [InlineData("hub.example.com")]
    [InlineData("https://HUB.example.com")]
    public async Task Origin_NotWrittenAsBrowsersSendIt_StopsTheStart(string origin) =>
        await Assert.ThrowsAsync<InvalidOperationException>(() => RestHost.StartAsync(origin));

    [Fact]
    public async Task Options_WithoutAllowedOrigins_IsAnOrdinaryMethod()
    {
        await using var host = await RestHost.StartAsync(origin: null);
        using var request = new HttpRequestMessage(HttpMethod.Options, "/v1/m/1")
        {
            Headers = { { "Origin", RestHost.AllowedOrigin }, { "Access-Control-Request-Method", "GET" } },
        };

        using var response = await host.Client.SendAsync(request);

        Assert.Equal(HttpStatusCode.MethodNotAllowed, response.StatusCode);
    }

    private static string Decode(byte[] bytes, string? coding)
    {
        using var source = new MemoryStream(bytes);
        using Stream decoder = coding switch
        {
            "gzip" => new GZipStream(source, CompressionMode.Decompress),
            "br" => new BrotliStream(source, CompressionMode.Decompress),
            _ => source,
        };
        using var reader = new StreamReader(decoder);
        return reader.ReadToEnd();
    }

    private async Task<HttpResponseMessage> PostGzipAsync(string path, byte[] json)
    {
        using var packed = new MemoryStream();
        await using (var gzip = new GZipStream(packed, CompressionLevel.Optimal, leaveOpen: true))
        {
            await gzip.WriteAsync(json);
        }

        using var content = new ByteArrayContent(packed.ToArray()) { Headers = { ContentType = new("application/json"), ContentEncoding = { "gzip" } } };
        return await _client.PostAsync(path, content);
    }

    private async Task<HttpResponseMessage> SendAsync(string method, string path, string? body = null, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path)
        {
            Content = body is null ? null : new StringContent(body, Encoding.UTF8, "application/json"),
        };
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return await _client.SendAsync(request);
    }
}
