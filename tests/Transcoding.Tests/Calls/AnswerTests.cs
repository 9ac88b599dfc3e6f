using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace Hub.Transcoding.Tests.Calls;

public sealed class AnswerTests(RestFixture fixture)
{
    private readonly HttpClient _client = fixture.Host.Client;

    /// <summary>Path, status and the whole error body.</summary>
    public static TheoryData<string, int, string> Errors => new()
    {
        { "/api/hosts/h?behaviour=gone", 410, """{"error":"the host is gone","code":"NOT_FOUND","reason":"HOST_GONE","details":{"host_id":"h1"}}""" },
        { "/api/hosts/h?behaviour=limit", 402, """{"error":"the plan allows no more","code":"RESOURCE_EXHAUSTED","reason":"PLAN_LIMIT","details":{"host_id":"h1"}}""" },
        { "/api/hosts/h?behaviour=plain", 409, """{"error":"it is there","code":"ALREADY_EXISTS"}""" },
        { "/api/hosts/h?behaviour=status", 503, """{"error":"later","code":"UNAVAILABLE"}""" },
        { "/api/v1/agents/h?behaviour=gone", 410, """{"success":false,"error":{"code":"HOST_GONE","message":"the host is gone","details":{"host_id":"h1"}}}""" },
        { "/api/v1/agents/h?behaviour=plain", 409, """{"success":false,"error":{"code":"ALREADY_EXISTS","message":"it is there"}}""" },
        { "/api/v1/conversations/h?behaviour=gone", 410, """{"message":"the host is gone","code":"HOST_GONE","details":{"host_id":"h1"}}""" },
        { "/api/nothing/here", 404, """{"error":"not found","code":"NOT_FOUND"}""" },
        { "/elsewhere", 404, """{"error":"not found","code":"NOT_FOUND"}""" },
        { "/api/v1/nothing", 404, """{"success":false,"error":{"code":"NOT_FOUND","message":"not found"}}""" },
        { "/api/v1x", 404, """{"error":"not found","code":"NOT_FOUND"}""" },
        { "/api/v1/conversations/a/b", 404, """{"message":"not found","code":"NOT_FOUND"}""" },
        { "/talk/nothing", 404, """{"message":"not found","code":"NOT_FOUND"}""" },
    };

    [Theory]
    [MemberData(nameof(Errors))]
    public async Task Error_OfSurface_HasItsShape(string path, int status, string expected)
    {
        using var response = await _client.GetAsync(path);

        var body = await response.Content.ReadAsStringAsync();
        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(expected, body);
    }

    [Fact]
    public async Task Error_WithRetryInfo_SaysWhenInWholeSeconds()
    {
        using var response = await _client.GetAsync("/api/hosts/h?behaviour=limit");

        Assert.Equal(TimeSpan.FromSeconds(2), response.Headers.RetryAfter?.Delta);
    }

    [Theory]
    [InlineData("/api/hosts/h?behaviour=bug")]
    [InlineData("/api/broken")]
    public async Task Error_NobodyForesaw_IsLoggedOnceUnderTheIdTheClientGets(string path)
    {
        using var response = await _client.GetAsync(path);

        var body = JsonNode.Parse(await response.Content.ReadAsStringAsync())!;
        var id = (string)body["details"]!["error_id"]!;
        Assert.Equal(HttpStatusCode.InternalServerError, response.StatusCode);
        Assert.Equal("internal error", (string?)body["error"]);
        Assert.Single(fixture.Host.Log.Errors, line => line.Contains(id, StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("POST", "/api/v1/agents/h", "GET, HEAD")]
    [InlineData("DELETE", "/api/hosts/claim", null)]
    [InlineData("PUT", "/api/hosts", "POST")]
    [InlineData("POST", "/api/broken", "GET")]
    public async Task Method_OfPath_Is405OnlyIfNoRuleOfTheMethodFits(string method, string path, string? allowed)
    {
        using var request = new HttpRequestMessage(new HttpMethod(method), path);
        using var response = await _client.SendAsync(request);

        if (allowed is null)
        {
            // DELETE /api/hosts/{host_id} takes it: the literal route of POST must not hide it.
            Assert.Equal(HttpStatusCode.OK, response.StatusCode);
            return;
        }

        Assert.Equal(HttpStatusCode.MethodNotAllowed, response.StatusCode);
        Assert.Equal(allowed, string.Join(", ", response.Content.Headers.Allow));
        Assert.Contains("method not allowed", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/api/unknown", 404)]
    [InlineData("/api/names", 405)]
    public async Task Method_BesideAFallbackForAllPaths_IsJudgedWithoutIt(string path, int status)
    {
        using var response = await _client.PutAsync(path, null);

        Assert.Equal(status, (int)response.StatusCode);
        Assert.Equal(status == 405 ? ["GET", "HEAD"] : [], response.Content.Headers.Allow);
    }

    [Fact]
    public async Task Method_OfLiteralAndVariable_PrefersTheLiteral()
    {
        using var literal = await _client.PostAsync("/api/hosts/claim", null);
        using var variable = await _client.GetAsync("/api/hosts/claim");

        Assert.Equal(HttpStatusCode.Created, literal.StatusCode);
        Assert.Contains("\"hostId\":\"claim\"", await variable.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("{}", 200)]
    [InlineData("""{"flag":true}""", 201)]
    public async Task Success_WithCondition_HasItsStatus(string body, int status)
    {
        using var response = await _client.PostAsync("/api/hosts", new StringContent(body, Encoding.UTF8, "application/json"));

        Assert.Equal(status, (int)response.StatusCode);
        Assert.True(response.Headers.CacheControl?.NoStore);
    }

    [Fact]
    public async Task Success_OfDefaultSurface_IsPlainJson()
    {
        using var response = await _client.GetAsync("/api/hosts/h");

        Assert.Equal("""{"request":{"hostId":"h"},"big":"1099511627776"}""", await response.Content.ReadAsStringAsync());
        Assert.NotNull(response.Content.Headers.ContentLength);
    }

    [Fact]
    public async Task Success_OfEnvelopeSurface_IsWrappedInProtoNames()
    {
        var answer = await _client.GetStringAsync("/api/v1/agents/h?flag=true&tags=a");

        Assert.StartsWith("""{"success":true,"data":{"request":{"host_id":"h","name":"",""", answer, StringComparison.Ordinal);
        Assert.EndsWith(""""created":true,"big":1099511627776,"authorization":""}}"""", answer, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("/api/v1/agents/next", """{"success":true,"data":null}""")]
    [InlineData("/api/v1/agents/next/name", """{"success":true,"data":null}""")]
    [InlineData("/api/v1/agents/next/name?flag=true", """{"success":true,"data":"h1"}""")]
    [InlineData("/api/v1/plain", "{}")]
    [InlineData("/api/names?tags=a&tags=b", """["a","b"]""")]
    [InlineData("/api/names", "[]")]
    public async Task Success_OfEmptyOrPartialAnswer_IsWrittenAs(string path, string expected) =>
        Assert.Equal(expected, await _client.GetStringAsync(path));

    [Fact]
    public async Task Success_OfExplicitNullSurface_ShowsUnsetMessages()
    {
        var answer = await _client.GetStringAsync("/api/v1/conversations/h");

        Assert.Contains("\"filter\":null", answer, StringComparison.Ordinal);
        Assert.Contains("\"maybe\":null", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Headers_OfRequestAndResponse_AreMetadata()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/api/hosts/h?behaviour=headers");
        request.Headers.TryAddWithoutValidation("Authorization", "Bearer t");

        using var response = await _client.SendAsync(request);

        Assert.Contains("\"authorization\":\"Bearer t\"", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        Assert.Equal(["1"], response.Headers.GetValues("x-extra"));
        Assert.Equal("\"7\"", response.Headers.ETag?.Tag);
    }

    [Fact]
    public async Task GrpcRequest_ToUnknownMethod_IsNotAnsweredInJson()
    {
        using var client = new HttpClient { DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using var content = new ByteArrayContent([]) { Headers = { ContentType = new("application/grpc") } };

        using var response = await client.PostAsync(new Uri(fixture.Host.GrpcAddress, "/no.Such/Method"), content);

        Assert.Equal("application/grpc", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(["12"], response.Headers.GetValues("grpc-status"));
    }
}
