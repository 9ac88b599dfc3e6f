using System.Net;
using System.Text.Json.Nodes;
using Google.Protobuf;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Calls;

public sealed class StreamTests
{
    private const string EventStream = "text/event-stream";

    [Fact]
    public async Task Stream_ByDefault_IsOneJsonTextPerLine()
    {
        await using var host = await RestHost.StartAsync();

        using var response = await host.Client.GetAsync("/api/watch");

        Assert.Equal("application/x-ndjson", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("no", Assert.Single(response.Headers.GetValues("X-Accel-Buffering")));
        Assert.True(response.Headers.CacheControl?.NoCache);
        Assert.Equal(
            """
            {"cursor":"c1","state":"ONLINE","text":"a\nb"}
            {"cursor":"c2","state":"ONLINE","text":"a\nb"}
            {"cursor":"c3","state":"ONLINE","text":"a\nb"}
            {"text":"no cursor"}

            """,
            await response.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task Stream_ForEventSource_HasIdsAndNames()
    {
        await using var host = await RestHost.StartAsync();

        using var response = await SendAsync(host, "/api/watch", EventStream);

        Assert.Equal(EventStream, response.Content.Headers.ContentType?.MediaType);
        var text = await response.Content.ReadAsStringAsync();
        Assert.StartsWith("id: c1\nevent: ONLINE\ndata: {\"cursor\":\"c1\",\"state\":\"ONLINE\",\"text\":\"a\\nb\"}\n\nid: c2\n", text, StringComparison.Ordinal);
        // An empty id would make browsers forget the last one.
        Assert.EndsWith("\n\nevent: UNSPECIFIED\ndata: {\"text\":\"no cursor\"}\n\n", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("application/x-ndjson")]
    [InlineData(EventStream)]
    public async Task Stream_OfABatch_IsThatOfItsMessages(string format)
    {
        await using var host = await RestHost.StartAsync();

        using var each = await SendAsync(host, "/api/watch", format);
        using var batch = await SendAsync(host, "/api/watch?behaviour=batch", format);

        Assert.Equal(await each.Content.ReadAsStringAsync(), await batch.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData("/api/watch")]
    [InlineData("/api/watch?cursor=c5")]
    public async Task Stream_WithLastEventId_ResumesThereWhateverTheQuerySays(string path)
    {
        await using var host = await RestHost.StartAsync();

        using var response = await SendAsync(host, path, EventStream, ("Last-Event-ID", "c9"));

        Assert.Equal("c9", host.Backend.Watched?.Cursor);
    }

    [Fact]
    public async Task Stream_RefusedBeforeTheFirstMessage_IsAnOrdinaryError()
    {
        await using var host = await RestHost.StartAsync();

        using var response = await SendAsync(host, "/api/watch?behaviour=refuse", EventStream);

        Assert.Equal(HttpStatusCode.Gone, response.StatusCode);
        Assert.Equal("application/json", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal("HOST_GONE", (string?)JsonNode.Parse(await response.Content.ReadAsStringAsync())!["reason"]);
    }

    [Theory]
    [InlineData(EventStream, "\n\nevent: error\ndata: {\"error\":\"the team is gone\",\"code\":\"NOT_FOUND\",\"reason\":\"HOST_GONE\",\"details\":{\"host_id\":\"h1\"}}\n\n")]
    [InlineData("*/*", "\n{\"error\":\"the team is gone\",\"code\":\"NOT_FOUND\",\"reason\":\"HOST_GONE\",\"details\":{\"host_id\":\"h1\"}}\n")]
    public async Task Stream_FailingInTheMiddle_EndsWithTheError(string accept, string expected)
    {
        await using var host = await RestHost.StartAsync();

        using var response = await SendAsync(host, "/api/watch?behaviour=fail", accept);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.EndsWith(expected, await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bug")]
    [InlineData("unwritable")]
    public async Task Stream_WithABugInTheMiddle_TellsOnlyTheId(string behaviour)
    {
        await using var host = await RestHost.StartAsync();

        var text = await host.Client.GetStringAsync($"/api/watch?behaviour={behaviour}");

        var last = JsonNode.Parse(text.TrimEnd().Split('\n')[^1])!;
        Assert.Equal("internal error", (string?)last["error"]);
        Assert.Contains((string)last["details"]!["error_id"]!, Assert.Single(host.Log.Errors), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_ThatIsIdle_SendsItsHeadAndThenSignsOfLife()
    {
        await using var host = await RestHost.StartAsync();
        var sending = SendAsync(host, "/api/watch?behaviour=wait", EventStream);
        await host.Time.CreatedAsync(TimeSpan.FromSeconds(1)).WaitAsync(RestHost.Patience); // The server has taken the request.

        host.Time.Fire();
        using var response = await sending.WaitAsync(RestHost.Patience);
        using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
        Assert.Equal(":", await reader.ReadLineAsync().WaitAsync(RestHost.Patience));
        Assert.Equal("", await reader.ReadLineAsync().WaitAsync(RestHost.Patience));
        host.Time.Fire();
        Assert.Equal(":", await reader.ReadLineAsync().WaitAsync(RestHost.Patience));
        host.Backend.Continue.SetResult();

        Assert.Contains("id: c1\n", await reader.ReadToEndAsync().WaitAsync(RestHost.Patience), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Stream_WhoseClientLeaves_CancelsTheMethodWithoutAnErrorInTheLog()
    {
        await using var host = await RestHost.StartAsync();
        using (var response = await SendAsync(host, "/api/watch?behaviour=endless", EventStream))
        {
            using var reader = new StreamReader(await response.Content.ReadAsStreamAsync());
            Assert.Equal("id: c1", await reader.ReadLineAsync().WaitAsync(RestHost.Patience));
        }

        await host.Backend.Cancelled.Task.WaitAsync(RestHost.Patience);
        await host.DisposeAsync(); // Waits for the request's end.
        Assert.Empty(host.Log.Errors);
    }

    [Fact]
    public async Task Stream_LargerThanItsBuffer_ArrivesWhole()
    {
        await using var host = await RestHost.StartAsync();

        var text = await host.Client.GetStringAsync("/api/watch?behaviour=flood");

        Assert.Equal(204, text.Count(c => c == '\n'));
    }

    [Fact]
    public async Task Interceptors_OverRest_RunOncePerCall()
    {
        await using var host = await RestHost.StartAsync();

        await host.Client.GetStringAsync("/api/hosts/h");
        await host.Client.GetStringAsync("/api/watch");

        Assert.Equal(2, host.Backend.Intercepted);
    }

    [Fact]
    public async Task Interceptors_OverGrpc_RunForTheSameService()
    {
        await using var host = await RestHost.StartAsync();
        var message = new HostRequest { HostId = "h" }.ToByteArray();
        using var client = new HttpClient { DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        client.DefaultRequestHeaders.TE.ParseAdd("trailers");
        using var content = new ByteArrayContent([0, 0, 0, 0, (byte)message.Length, .. message]) { Headers = { ContentType = new("application/grpc") } };

        client.DefaultRequestHeaders.TE.ParseAdd("trailers"); // Without it the server must think that its trailers get lost.

        using var response = await client.PostAsync(new Uri(host.GrpcAddress, "/hub.transcoding.tests.FleetService/GetHost"), content);
        var answer = await response.Content.ReadAsByteArrayAsync();

        Assert.Equal("h", HostResponse.Parser.ParseFrom(answer.AsSpan(5)).Request.HostId);
        Assert.Equal(["0"], response.TrailingHeaders.GetValues("grpc-status"));
        Assert.Equal(1, host.Backend.Intercepted);
    }

    private static async Task<HttpResponseMessage> SendAsync(RestHost host, string path, string accept, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, path);
        request.Headers.TryAddWithoutValidation("Accept", accept);
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return await host.Client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead).WaitAsync(RestHost.Patience);
    }
}
