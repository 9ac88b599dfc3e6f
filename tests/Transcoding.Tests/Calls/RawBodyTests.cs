using System.Net;
using System.Text;
using System.Text.Json.Nodes;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>google.api.HttpBody in streams; see RequestBindingTests and AnswerTests for single ones.</summary>
public sealed class RawBodyTests(RestFixture fixture)
{
    private readonly HttpClient _client = fixture.Host.Client;

    [Fact]
    public async Task Download_OfPieces_IsOneBodyOfTheFirstOnesType()
    {
        using var response = await _client.GetAsync("/v1/download/f");

        Assert.Equal("text/csv", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("f,0\nf,1\nf,2\n", await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Download_RefusedBeforeTheFirstPiece_IsAnOrdinaryError()
    {
        using var response = await _client.GetAsync("/v1/download/missing");

        Assert.Equal(HttpStatusCode.NotFound, response.StatusCode);
        Assert.Equal("no such file", (string?)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["error"]);
    }

    [Fact]
    public async Task Download_FailingInTheMiddle_IsCutOffInsteadOfEnded() =>
        await Assert.ThrowsAsync<HttpRequestException>(() => _client.GetStringAsync("/v1/download/broken"));

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Upload_OfABody_ReachesTheMethodInPiecesWithPathQueryAndTypeInTheFirst(bool chunked)
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, "/v1/upload/n?title=t")
        {
            Content = new StringContent("content", Encoding.UTF8, "text/plain"),
            Headers = { TransferEncodingChunked = chunked },
        };

        using var response = await _client.SendAsync(request);

        var got = JsonNode.Parse(await response.Content.ReadAsStringAsync())!["got"]!;
        Assert.Equal("content", (string?)got["name"]);
        Assert.Equal("n|t|text/plain; charset=utf-8", (string?)got["names"]![0]);
        Assert.All(got["names"]!.AsArray().Skip(1), piece => Assert.Equal("||", (string?)piece));
    }

    [Fact]
    public async Task Upload_WithoutABody_IsOneEmptyPiece()
    {
        using var response = await _client.PutAsync("/v1/upload/n", null);

        var got = JsonNode.Parse(await response.Content.ReadAsStringAsync())!["got"]!;
        Assert.Equal(["n||"], got["names"]!.AsArray().Select(piece => (string)piece!));
    }

    [Fact]
    public async Task Upload_OfManyPieces_ArrivesWhole()
    {
        using var response = await _client.PutAsync("/v1/upload/n", new ByteArrayContent(new byte[900_000]));

        var got = JsonNode.Parse(await response.Content.ReadAsStringAsync())!["got"]!;
        Assert.Equal("900000", (string?)got["name"]);
        Assert.True(got["names"]!.AsArray().Count > 1);
    }

    [Fact]
    public async Task Upload_BeyondTheBound_Is413()
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, "/v1/upload/n")
        {
            Content = new ByteArrayContent(new byte[JsonTranscodingOptions.DefaultRequestBytesMax + 1]),
            Headers = { TransferEncodingChunked = true },
        };

        using var response = await _client.SendAsync(request);

        Assert.Equal(HttpStatusCode.RequestEntityTooLarge, response.StatusCode);
    }

    [Fact]
    public async Task Mirror_OfABody_ComesBackAsItWas()
    {
        byte[] bytes = [.. Enumerable.Range(0, 300_000).Select(i => (byte)(i * 7))];
        using var content = new ByteArrayContent(bytes) { Headers = { ContentType = new("application/wasm") } };

        using var response = await _client.PostAsync("/v1/mirror", content);

        Assert.Equal("application/wasm", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(bytes, await response.Content.ReadAsByteArrayAsync());
    }
}
