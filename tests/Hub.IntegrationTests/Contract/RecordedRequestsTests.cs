using System.Net;
using System.Text;
using System.Text.Json;
using Hub.Hosting;
using Hub.IntegrationTests.Relays;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>
/// Requests recorded from the real node, sent byte for byte but for their placeholders. What they are answered with is written here by hand
/// from what the node reads.
/// </summary>
public abstract class RecordedRequestsTests(StoreFixture fixture)
{
    private static readonly Dictionary<string, Action<RestAnswer>> Answers = new()
    {
        ["claim-loop"] = answer => Claimed(answer, "prov-host"),
        ["claim-dogfood"] = answer => Claimed(answer, "dogfood-2548"),
        ["claim-cli"] = answer => Claimed(answer, "cli-host"),
        ["claim-cli-again"] = answer => Claimed(answer, "rn-acceptance"),
        ["enroll"] = answer => Claimed(answer, "rn-acceptance"),
        ["register-token"] = answer => Assert.NotEmpty(answer.Expect(201).String("registerToken.joinToken")),
        ["list-hosts"] = answer => Assert.All(answer.Expect(200)["hosts"].EnumerateArray(), host => Assert.NotEmpty(host.GetProperty("id").GetString()!)),
        ["heartbeat-loop-start"] = Heard,
        ["heartbeat-loop"] = Heard,
        ["heartbeat-cli-probe"] = Heard,
        ["heartbeat-dogfood"] = Heard,
        ["tasks-sync-one"] = answer => Assert.Equal(1, answer.Expect(200)["synced"].GetInt32()),
        ["tasks-sync-four"] = answer => Assert.Equal(4, answer.Expect(200)["synced"].GetInt32()),
        ["chat-sync-empty"] = answer => Chatted(answer, 0),
        ["chat-sync-three"] = answer => Chatted(answer, 3),
        ["commands-poll"] = answer => Assert.Equal(1, answer.Expect(200)["commands"].GetArrayLength()),
        ["command-ack"] = answer => Assert.Equal("acknowledged", answer.Expect(200).String("command.status")),
        ["command-complete"] = answer => Assert.Equal("completed", answer.Expect(200).String("command.status")),
        ["command-complete-refused"] = answer => Assert.Equal("failed", answer.Expect(200).String("command.status")),
        ["command-complete-accepted"] = answer => Assert.Equal("completed", answer.Expect(200).String("command.status")),
        ["command-complete-skipped"] = answer => Assert.Equal("failed", answer.Expect(200).String("command.status")),
        ["command-fail"] = answer => Assert.Equal("payload.agent is required", answer.Expect(200).String("command.error")),
        ["usage-sync-1"] = Taken,
        ["usage-sync-2"] = Taken,
        ["canvas-1"] = Taken,
        ["canvas-2"] = Taken,
        ["canvas-push-1"] = Taken,
        ["canvas-push-2"] = Taken,
        ["canvas-state"] = Taken,
        ["canvas-clear"] = Taken,
        ["canvas-response"] = Taken,
        ["canvas-query-pending"] = answer => Assert.Equal(JsonValueKind.Array, answer.Expect(200)["queries"].ValueKind),
        ["canvas-query-ack-1"] = Taken,
        ["canvas-query-ack-2"] = Taken,
        ["call"] = Taken,
        ["context-sync-1"] = Taken,
        ["context-sync-2"] = Taken,
        ["decisions"] = answer => Assert.Equal(JsonValueKind.Array, answer.Expect(200)["decisions"].ValueKind),
        ["run-approvals-1"] = Taken,
        ["run-approvals-2"] = Taken,
        ["runs-stream-1"] = answer => Assert.Equal(1, answer.Expect(200)["synced"].GetInt32()),
        ["runs-stream-2"] = answer => Assert.Equal(3, answer.Expect(200)["synced"].GetInt32()),
        ["runs-sync-1"] = answer => Assert.Equal(1, answer.Expect(200)["synced"].GetInt32()),
        ["runs-sync-2"] = answer => Assert.Equal(2, answer.Expect(200)["synced"].GetInt32()),
        ["trust-events-sync"] = answer => Assert.Equal(2, answer.Expect(200)["synced"].GetInt32()),
        ["reflections-sync-1"] = answer => Assert.Equal(2, answer.Expect(200)["synced"].GetInt32()),
        ["reflections-sync-2"] = answer => Assert.Equal(4, answer.Expect(200)["synced"].GetInt32()),
        ["insights-sync-1"] = answer => Assert.Equal(1, answer.Expect(200)["synced"].GetInt32()),
        ["insights-sync-2"] = answer => Assert.Equal(1, answer.Expect(200)["synced"].GetInt32()),
        ["connect-validate"] = answer => Assert.True(answer.Expect(200)["valid"].GetBoolean()),
        ["auth-validate"] = answer => Assert.True(answer.Expect(200)["valid"].GetBoolean()),
        ["dashboard-hosts"] = answer => Assert.NotEmpty(answer.Expect(404).Error),
        ["capabilities-context"] = answer => Assert.NotEmpty(answer.Expect(200).String("systemPromptHint")),
        ["github-token"] = answer => Assert.NotEmpty(answer.Expect(404).Error),
        ["telemetry-1"] = Taken,
        ["telemetry-2"] = Taken,
        ["config"] = answer => Assert.Equal(HubHost.Team, answer.Expect(200).String("team.id")),
        ["secrets"] = answer => Assert.Equal(JsonValueKind.Array, answer.Expect(200)["secrets"].ValueKind),
        ["webhooks"] = answer => Assert.Equal(JsonValueKind.Array, answer.Expect(200)["webhooks"].ValueKind),
        ["relay-email"] = answer => Assert.Equal("email", answer.Expect(200).String("relayed")),
        ["relay-sms"] = answer => Assert.Equal("sms", answer.Expect(200).String("relayed")),
        ["relay-browser-list"] = answer => Assert.Equal("browser/sessions?status=active&limit=5", answer.Expect(200).String("relayed")),
        ["relay-browser-create"] = answer => Assert.Equal("browser/sessions", answer.Expect(200).String("relayed")),
        ["health"] = answer => Assert.True(answer.Expect(200)["ok"].GetBoolean()),
    };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RecordedRequest_OfEachKind_IsAnsweredAsItsNodeReadsIt(bool tls)
    {
        await using var relay = await RelayPeer.StartAsync();
        using var certificate = new TestCertificate();
        await using var hub = await HubHost.StartAsync(
            fixture, await fixture.CreateDatabaseAsync(), settings:
            [
                (HubSettings.RelayUrlKey, relay.Url.AbsoluteUri), (HubSettings.TlsUrlKey, "https://127.0.0.1:0"),
                (HubSettings.TlsCertificateKey, certificate.CertificatePath), (HubSettings.TlsPrivateKeyKey, certificate.KeyPath),
            ]);
        using var handler = HandlerLikeTheNodes();
        handler.SslOptions = certificate.Trust;
        using var client = new HttpClient(handler) { BaseAddress = tls ? hub.TlsUrl : hub.HttpUrl };
        using var recording = ReadRecording();
        var requests = recording.RootElement.GetProperty("requests").EnumerateArray().ToArray();

        Assert.Equal(Answers.Keys.Order(), requests.Select(NameOf).Order());
        foreach (var request in requests)
        {
            var answer = await SendAsync(hub, client, recording.RootElement.GetProperty("headers"), request);
            try
            {
                Assert.Equal(HttpVersion.Version11, answer.Version);
                Answers[NameOf(request)](answer);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"{NameOf(request)}: {answer.Status} {answer.Text}", e);
            }
        }
    }

    [Fact]
    public async Task RecordedRequest_WithACredentialThatIsNotKnown_IsAnswered401WithATextInError()
    {
        await using var hub = await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync());
        using var handler = HandlerLikeTheNodes();
        using var client = new HttpClient(handler) { BaseAddress = hub.HttpUrl };
        using var recording = ReadRecording();
        var requests = recording.RootElement.GetProperty("requests").EnumerateArray()
            .Where(request => request.GetProperty("authorization").GetString() is not null && !NameOf(request).StartsWith("claim", StringComparison.Ordinal));

        foreach (var request in requests)
        {
            var answer = await SendAsync(hub, client, recording.RootElement.GetProperty("headers"), request, credential: "hcred_unknown");

            Assert.Equal(401, answer.Status);
            Assert.NotEmpty(answer.Error);
        }
    }

    private static void Claimed(RestAnswer answer, string name)
    {
        answer.Expect(201);
        Assert.NotEmpty(answer.String("host.id"));
        Assert.NotEmpty(answer.String("credential.token"));
        Assert.Equal(name, answer.String("host.name"));
    }

    /// <summary>The smoke test reads the status, the loop nothing.</summary>
    private static void Heard(RestAnswer answer)
    {
        Assert.True(answer.Expect(200)["ok"].GetBoolean());
        Assert.Equal("online", answer.String("host.status"));
    }

    private static void Taken(RestAnswer answer) => Assert.True(answer.Expect(200)["ok"].GetBoolean());

    private static void Chatted(RestAnswer answer, int synced)
    {
        Assert.Equal(synced, answer.Expect(200)["synced"].GetInt32());
        Assert.Equal(JsonValueKind.Array, answer["pending"].ValueKind);
    }

    private static string NameOf(JsonElement request) => request.GetProperty("name").GetString()!;

    private static JsonDocument ReadRecording()
    {
        using var stream = typeof(RecordedRequestsTests).Assembly.GetManifestResourceStream("recorded-requests.json")!;
        return JsonDocument.Parse(stream);
    }

    /// <summary>The node's own client takes compressed answers, and says so in each request.</summary>
    private static SocketsHttpHandler HandlerLikeTheNodes() =>
        new() { AutomaticDecompression = DecompressionMethods.GZip | DecompressionMethods.Deflate };

    /// <summary>Sends a request with a host, tokens and a command of its own.</summary>
    private static async Task<RestAnswer> SendAsync(
        HubHost hub, HttpClient client, JsonElement headers, JsonElement recorded, string? credential = null)
    {
        var (hostId, hostCredential) = await hub.ClaimAsync();
        var userToken = await hub.UserTokenAsync();
        using var owner = hub.As(userToken);
        var command = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "context_sync" })).Expect(201);
        var values = new Dictionary<string, string>
        {
            ["<host-id>"] = hostId,
            ["<host-credential>"] = hostCredential,
            ["<join-token>"] = await hub.JoinTokenAsync(),
            ["<user-jwt>"] = userToken,
            ["<api-key>"] = await hub.ApiKeyAsync(),
            ["<team-id>"] = HubHost.Team,
            ["<command-id>"] = command.String("command.id"),
        };
        string Fill(string text) => values.Aggregate(text, (filled, value) => filled.Replace(value.Key, value.Value, StringComparison.Ordinal));

        var method = recorded.GetProperty("method").GetString()!;
        using var request = new HttpRequestMessage(new HttpMethod(method), Fill(recorded.GetProperty("path").GetString()!));
        if (recorded.GetProperty("body") is { ValueKind: JsonValueKind.Object } body)
        {
            request.Content = new ByteArrayContent(Encoding.UTF8.GetBytes(Fill(body.GetRawText())));
        }

        foreach (var header in headers.GetProperty(method).EnumerateObject())
        {
            if (!request.Headers.TryAddWithoutValidation(header.Name, header.Value.GetString()))
            {
                request.Content?.Headers.TryAddWithoutValidation(header.Name, header.Value.GetString());
            }
        }

        if (recorded.GetProperty("authorization").GetString() is { } authorization)
        {
            request.Headers.TryAddWithoutValidation("authorization", credential is null ? Fill(authorization) : $"Bearer {credential}");
        }

        using var response = await client.SendAsync(request).Within();
        return await RestCalls.ToAnswerAsync(response);
    }
}

public sealed class SqliteRecordedRequestsTests(SqliteStoreFixture fixture) : RecordedRequestsTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresRecordedRequestsTests(PostgresStoreFixture fixture) : RecordedRequestsTests(fixture), IClassFixture<PostgresStoreFixture>;
