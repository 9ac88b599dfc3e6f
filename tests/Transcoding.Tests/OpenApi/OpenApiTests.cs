using System.Net;
using System.Text.Json.Nodes;
using Hub.Transcoding.OpenApi;
using Hub.Transcoding.Tests.Calls;

namespace Hub.Transcoding.Tests.OpenApi;

public sealed class OpenApiTests(RestFixture fixture)
{
    /// <summary>Places in the document, steps divided by blanks, and what stands there.</summary>
    public static TheoryData<string, string> Places => new()
    {
        { "openapi", "\"3.1.0\"" },
        // Templates.
        { "paths /v1/messages/{name} get parameters 0 name", "\"name\"" },
        { "paths /v1/shelves/{name_1}/books/{name_2} get parameters 1 name", "\"name_2\"" },
        { "paths /v1/files/{name} get parameters 0 required", "true" },
        { "paths /v1/jobs/{name}:cancel post operationId", "\"RuleService_Cancel\"" },
        { "paths /v1/nested/{messageId}/{sub.subfield} get parameters 1 in", "\"path\"" },
        { "paths /v1/any/{segment2}/end get parameters 0", """{"name":"segment2","in":"path","required":true,"schema":{"type":"string"}}""" },
        // Parameters.
        { "paths /v1/m/{messageId} get parameters 1 name", "\"name\"" },
        { "paths /v1/m/{messageId} get parameters 3", """{"name":"revision","in":"query","schema":{"type":"string","format":"int64"}}""" },
        { "paths /v1/m/{messageId} get parameters 4 name", "\"sub.subfield\"" },
        { "paths /v1/m/{messageId} get parameters 7", """{"name":"sub.span","in":"query","schema":{"type":"string","pattern":"^-?[0-9]+(\\.[0-9]{1,9})?s$"}}""" },
        { "paths /api/v1/agents/{host_id} get parameters 0 name", "\"host_id\"" },
        { "paths /v1/versioned/{id} get parameters 2 name", "\"If-None-Match\"" },
        { "paths /v1/versioned/{id} put parameters 1 name", "\"If-Match\"" },
        { "paths /v1/versioned/{id} get responses 304 description", "\"The client has this version.\"" },
        { "paths /v1/versioned/{id} get responses 200 headers ETag schema type", "\"string\"" },
        { "paths /v1/jobs/{name}:cancel post parameters 1 name", "\"Idempotency-Key\"" },
        // Bodies.
        { "paths /v1/body/list/{name} post requestBody content application/json schema type", "\"array\"" },
        { "paths /v1/body/sub/{name} post requestBody content application/json schema", """{"$ref":"#/components/schemas/hub.transcoding.tests.Sub"}""" },
        { "paths /v1/versioned/{id} put requestBody content application/json schema properties", """{"expectedVersion":{"type":"string","format":"int64"}}""" },
        { "paths /api/raw/{name} put requestBody content", """{"*/*":{"schema":{}}}""" },
        // Answers of the surfaces.
        { "paths /v1/part/list get responses 200 content application/json schema items type", "\"string\"" },
        { "paths /api/names get responses 200 content application/json schema type", "\"array\"" },
        { "paths /api/hosts post responses 201 content application/json schema", """{"$ref":"#/components/schemas/hub.transcoding.tests.HostResponse-3"}""" },
        { "paths /api/hosts post responses 200 description", "\"Success.\"" },
        { "paths /api/watch get responses 200 content text/event-stream schema", """{"$ref":"#/components/schemas/hub.transcoding.tests.WatchResponse"}""" },
        { "paths /v1/download/{name} get responses 200 content", """{"*/*":{"schema":{}}}""" },
        { "paths /api/v1/agents/next get responses 200 content application/json schema required", """["success","data"]""" },
        { "paths /api/v1/agents/next get responses 200 content application/json schema properties success", """{"const":true}""" },
        { "paths /api/v1/agents/next get responses 200 content application/json schema properties data anyOf 1", """{"type":"null"}""" },
        { "paths /api/v1/agents/next get responses 4XX content application/json schema", """{"$ref":"#/components/schemas/ErrorInEnvelope"}""" },
        { "paths /api/v1/conversations/{hostId} get responses 4XX content application/json schema", """{"$ref":"#/components/schemas/ErrorMessage"}""" },
        { "paths /api/hosts get responses 4XX", "null" },
        { "paths /api/hosts/{hostId} get responses 5XX content application/json schema", """{"$ref":"#/components/schemas/Error"}""" },
        // The same message on three surfaces.
        { "components schemas hub.transcoding.tests.HostResponse properties big type", "\"integer\"" },
        { "components schemas hub.transcoding.tests.HostResponse-2 properties request anyOf 1 type", "\"null\"" },
        { "components schemas hub.transcoding.tests.HostResponse-3 properties big type", "\"string\"" },
        // Fields.
        { "components schemas hub.transcoding.tests.Everything properties expires_at type", "\"string\"" },
        { "components schemas hub.transcoding.tests.Everything properties uint64Value format", "\"uint64\"" },
        { "components schemas hub.transcoding.tests.Everything properties bytesValue", """{"type":"string","contentEncoding":"base64"}""" },
        { "components schemas hub.transcoding.tests.Everything properties state enum 1", "\"HOST_STATE_ONLINE\"" },
        { "components schemas hub.transcoding.tests.Everything properties wrappedInt type", """["integer","null"]""" },
        { "components schemas hub.transcoding.tests.Everything properties longsByInt additionalProperties format", "\"int64\"" },
        { "components schemas hub.transcoding.tests.Everything properties self", """{"$ref":"#/components/schemas/hub.transcoding.tests.Everything"}""" },
        { "components schemas hub.transcoding.tests.Everything properties time format", "\"date-time\"" },
        { "components schemas hub.transcoding.tests.Everything properties freeObject additionalProperties", "true" },
        { "components schemas hub.transcoding.tests.Everything properties freeValue", "{}" },
        { "components schemas hub.transcoding.tests.Everything properties any required", """["@type"]""" },
    };

    [Theory]
    [MemberData(nameof(Places))]
    public async Task Document_OfAllSurfaces_SaysAtPlace(string place, string expected)
    {
        var node = JsonNode.Parse(await fixture.Host.Client.GetStringAsync("/openapi.json"));
        foreach (var step in place.Split(' '))
        {
            node = node is JsonArray list ? list[int.Parse(step)] : node?[step];
        }

        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), node), node?.ToJsonString());
    }

    [Fact]
    public async Task Document_OfAnotherServerOfTheSameContract_IsTheSameText()
    {
        await using var other = await RestHost.StartAsync();

        Assert.Equal(await fixture.Host.Client.GetStringAsync("/openapi.json"), await other.Client.GetStringAsync("/openapi.json"));
    }

    [Theory]
    [InlineData("GetTask shows one task. Errors: none.", "GetTask shows one task")]
    [InlineData("Takes v1.2 of it: all.", "Takes v1.2 of it")]
    [InlineData("One line", "One line")]
    [InlineData("", "")]
    public void Summary_OfComment_IsItsFirstSentence(string comment, string summary) => Assert.Equal(summary, ProtoComments.FirstSentence(comment));

    [Theory]
    [InlineData("/docs", "text/html")]
    [InlineData("/docs/page.js", "text/javascript")]
    [InlineData("/docs/style.css", "text/css")]
    public async Task Docs_Page_IsServedFromHere(string path, string type)
    {
        using var response = await fixture.Host.Client.GetAsync(path);

        Assert.Equal(HttpStatusCode.OK, response.StatusCode);
        Assert.Equal(type, response.Content.Headers.ContentType?.MediaType);
    }
}
