using System.Text.Json;
using Hub.Contracts.V1;
using Hub.Hosts;
using Hub.Identity;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>What an unmodified reflectt-node forces on the Hub, by the numbers of its contract's list; real HTTP/1.1.</summary>
public abstract class ReflecttNodeContractTests(StoreFixture fixture)
{
    /// <summary>A node claims again, for ever, when it reads this anywhere.</summary>
    private const string FatalText = "invalid or expired token";

    private static readonly TimeSpan PastRepeats = TimeSpan.FromSeconds(31);

    [Fact]
    public async Task Item01_ClaimWithBoundJoinToken_SameHostFreshCredential()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var claim = new { joinToken = await hub.JoinTokenAsync(), name = "node", capabilities = new[] { "tasks", "chat" } };

        var first = (await hub.Rest.WriteAsync("/api/hosts/claim", claim)).Expect(201);
        time.Advance(ClaimRepeats.Within);
        time.SetClock(time.GetUtcNow().AddDays(30));
        var second = (await hub.Rest.WriteAsync("/api/hosts/claim", claim)).Expect(201);

        Assert.Equal(first.String("host.id"), second.String("host.id"));
        Assert.NotEqual(first.String("credential.token"), second.String("credential.token"));
        Assert.Equal("shown_once", second.String("credential.revealPolicy"));
        Assert.Equal(new Version(1, 1), second.Version);
    }

    [Fact]
    public async Task Item01_ClaimRepeatedWithin30Seconds_SameAnswer()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var claim = new { joinToken = await hub.JoinTokenAsync(), name = "node" };

        var first = await hub.Rest.WriteAsync("/api/hosts/claim", claim);
        time.Advance(TimeSpan.FromSeconds(29));
        var twins = await Task.WhenAll(Enumerable.Range(0, 8).Select(_ => hub.Rest.WriteAsync("/api/hosts/claim", claim)));

        Assert.All(twins, twin => Assert.Equal(first.String("credential.token"), twin.String("credential.token")));
    }

    [Fact]
    public async Task Item01_JoinTokenNotClaimedInTime_IsRefused()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var joinToken = await hub.JoinTokenAsync();

        time.SetClock(time.GetUtcNow().AddHours(24));
        var late = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(401);

        Assert.Equal("JOIN_TOKEN_INVALID", late.Reason);
    }

    [Fact]
    public async Task Item02_ClaimWithTheOwnCredential_EchoesIt()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();

        var echoed = (await hub.As(credential).WriteAsync("/api/hosts/claim", new { joinToken = credential, name = "node" })).Expect(201);

        Assert.Equal(hostId, echoed.String("host.id"));
        Assert.Equal(credential, echoed.String("credential.token"));
    }

    [Fact]
    public async Task Item02_ClaimWithAReplacedCredential_SameHostAndALastingCredential()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var joinToken = await hub.JoinTokenAsync();
        var first = await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });
        time.Advance(PastRepeats);
        await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });

        var again = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = first.String("credential.token") })).Expect(201);
        time.SetClock(time.GetUtcNow().AddHours(1));

        Assert.Equal(first.String("host.id"), again.String("host.id"));
        using var node = hub.As(again.String("credential.token"));
        (await node.WriteAsync($"/api/hosts/{first.String("host.id")}/heartbeat", "{}")).Expect(200);
    }

    [Theory]
    [InlineData("")]
    [InlineData("hjoin_not-a-token")]
    [InlineData("hcred_not-a-credential")]
    [InlineData("not-a-jwt")]
    public async Task Item02_ClaimWithAnyBearer_IsAuthenticatedByItsBodyAlone(string bearer)
    {
        await using var hub = await StartAsync();
        using var client = bearer.Length == 0 ? hub.As("x") : hub.As(bearer);
        if (bearer.Length == 0)
        {
            client.DefaultRequestHeaders.Authorization = null;
        }

        var claimed = await client.WriteAsync("/api/hosts/claim", new { joinToken = await hub.JoinTokenAsync(), name = "node" });

        claimed.Expect(201);
    }

    [Fact]
    public async Task Item03_ReplacedCredential_StaysValidFor10Minutes()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var joinToken = await hub.JoinTokenAsync();
        var first = await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });
        time.Advance(PastRepeats);
        await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });
        using var node = hub.As(first.String("credential.token"));
        var heartbeat = $"/api/hosts/{first.String("host.id")}/heartbeat";

        time.Advance(TimeSpan.FromMinutes(10) - TimeSpan.FromSeconds(1));
        var inGrace = await node.WriteAsync(heartbeat, "{}");
        time.Advance(TimeSpan.FromSeconds(1));
        var after = await node.WriteAsync(heartbeat, "{}");

        inGrace.Expect(200);
        Assert.Equal("CREDENTIAL_INVALID", after.Expect(401).Reason);
        Assert.DoesNotContain(FatalText, after.Text, StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Item04_ReClaim_TheOldPathGoesOnWithTheNewCredential()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var joinToken = await hub.JoinTokenAsync();
        var oldPath = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken, name = "before" })).String("host.id");
        time.Advance(PastRepeats);
        var again = await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken, name = "after" });

        using var node = hub.As(again.String("credential.token"));
        var repeated = (await node.WriteAsync($"/api/hosts/{oldPath}/tasks/sync", new { tasks = Array.Empty<object>() })).Expect(200);

        Assert.True(repeated["ok"].GetBoolean());
        Assert.Equal("after", again.String("host.name"));
        Assert.Equal(oldPath, Uri.EscapeDataString(oldPath)); // A node puts it into paths unescaped.
    }

    [Fact]
    public async Task Item05_HostCredentialOnEveryRoute_IsNever403AndNeverSaysTheFatalText()
    {
        await using var hub = await StartAsync();
        var (ownId, credential) = await hub.ClaimAsync("own");
        var (otherId, _) = await hub.ClaimAsync("other");
        await hub.Service<Accounts>().EnsureTeamAsync("foreign", CancellationToken.None);
        using var node = hub.As(credential);

        var faults = new List<string>();
        foreach (var route in RuledMethod.All)
        {
            foreach (var hostId in new[] { ownId, otherId, "no-such-host" })
            {
                var path = route.Path(field => field == "host_id" ? hostId : "no-such-id");
                var answer = await node.CallAsync(route.Http, route.Http == HttpMethod.Get ? path + "?team_id=foreign" : path, route.HasBody ? "{}" : null);
                if (answer.Status is 401 or 403 or >= 500 && route.AsksForBearer)
                {
                    faults.Add($"{route} for {hostId}: {answer.Status} {answer.Text}");
                }

                if (answer.Status is 204 || answer.Text.Length == 0)
                {
                    faults.Add($"{route} answers without a body: {answer.Status}");
                }

                if (hostId != ownId && route.PathFields.Contains("host_id") && answer.Status != 404)
                {
                    faults.Add($"{route} shows another host: {answer.Status} {answer.Text}");
                }

                if (answer.Text.Contains(FatalText, StringComparison.OrdinalIgnoreCase))
                {
                    faults.Add($"{route} makes a node claim: {answer.Text}");
                }
            }
        }

        Assert.Empty(faults);
        (await node.ReadAsync($"/api/hosts/{ownId}")).Expect(200); // None of the routes ended the host.
    }

    [Theory]
    [InlineData("hcred_not-a-credential")]
    [InlineData("hjoin_not-a-token")]
    [InlineData("rk_live_not-a-key")]
    [InlineData("not.a.jwt")]
    public async Task Item05_BadCredentialOnEveryRoute_Is401WithATextToRead(string token)
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var node = hub.As(token);

        foreach (var route in RuledMethod.All.Where(route => route.AsksForBearer))
        {
            var answer = await node.CallAsync(
                route.Http, route.Path(field => field == "host_id" ? hostId : "no-such-id"), route.HasBody ? "{}" : null);

            Assert.True(answer.Status == 401, $"{route}: {answer.Status} {answer.Text}");
            Assert.NotEmpty(answer.Error);
            Assert.DoesNotContain(FatalText, answer.Text, StringComparison.OrdinalIgnoreCase);
        }
    }

    [Fact]
    public async Task Item05_PersonWithTooLowARole_Gets403()
    {
        await using var hub = await StartAsync();
        var (hostId, _) = await hub.ClaimAsync();
        using var viewer = hub.As(await hub.UserTokenAsync("viewer@example.com", "Viewer"));

        var answer = await viewer.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo" });

        Assert.Equal("ROLE_REQUIRED", answer.Expect(403).Reason);
    }

    [Fact]
    public async Task Item06_NodeThatClaimsWithoutPause_IsNeverRefusedAndLeavesFewCredentials()
    {
        var time = new ManualTimeProvider();
        var options = await fixture.CreateDatabaseAsync();
        await using var hub = await HubHost.StartAsync(fixture, options, time);
        var joinToken = await hub.JoinTokenAsync();

        for (var i = 0; i < 60; i++)
        {
            (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(201);
            time.Advance(TimeSpan.FromSeconds(2));
        }

        using var connection = fixture.Connect(options);
        using var count = connection.CreateCommand();
        count.CommandText = "select count(*) from credentials";
        Assert.InRange(Convert.ToInt64(count.ExecuteScalar(), null), 1, 5);
    }

    [Fact]
    public async Task Item07_Poll_AlwaysAnswersAnArrayAndLeasesWhatItServes()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var poll = $"/api/hosts/{hostId}/commands?status=pending";

        var empty = (await node.ReadAsync(poll)).Expect(200);
        var created = (await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "context_sync", payload = new { agent = "main" } })).Expect(201);
        var served = await node.ReadAsync(poll);
        var leased = await node.ReadAsync(poll);
        var read = await owner.ReadAsync(poll);
        time.Advance(TimeSpan.FromSeconds(91));
        await hub.SweepCommandsAsync();
        var again = await node.ReadAsync(poll);

        Assert.Equal(0, empty["commands"].GetArrayLength());
        Assert.Equal("no-store", empty.Headers.CacheControl?.ToString());
        var command = Assert.Single(served["commands"].EnumerateArray());
        Assert.Equal(created.String("command.id"), command.GetProperty("id").GetString());
        Assert.Equal("context_sync", command.GetProperty("type").GetString());
        Assert.Equal("main", command.GetProperty("payload").GetProperty("agent").GetString());
        Assert.Equal("pending", command.GetProperty("status").GetString());
        Assert.Equal(0, leased["commands"].GetArrayLength());
        Assert.Equal(1, read["commands"].GetArrayLength());
        Assert.Equal(1, again["commands"].GetArrayLength());
    }

    [Theory]
    [InlineData("""{"action":"complete","result":{"syncedAt":1795219727941,"agent":"main"}}""", "SUCCEEDED")]
    [InlineData("""{"action":"complete"}""", "SUCCEEDED")]
    [InlineData("""{"action":"complete","result":{"status":200}}""", "SUCCEEDED")]
    [InlineData("""{"action":"complete","result":{"status":400,"error":"rationale must be an object"}}""", "FAILED")]
    [InlineData("""{"action":"complete","result":{"skipped":true,"reason":"unknown_type"}}""", "REJECTED")]
    [InlineData("""{"action":"fail","error":"payload.agent is required"}""", "FAILED")]
    public async Task Item07_Ack_RepeatedEachTime_GivesTheSameEnd(string end, string state)
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "run_approve" });
        var served = await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");
        var ack = $"/api/hosts/{hostId}/commands/{served["commands"][0].GetProperty("id").GetString()}/ack";

        var acknowledged = (await node.WriteAsync(ack, """{"action":"ack"}""")).Expect(200);
        (await node.WriteAsync(ack, """{"action":"ack"}""")).Expect(200);
        var ended = (await node.WriteAsync(ack, end)).Expect(200);
        var repeated = (await node.WriteAsync(ack, end)).Expect(200);
        var late = (await node.WriteAsync(ack, """{"action":"ack"}""")).Expect(200);

        Assert.Equal("acknowledged", acknowledged.String("command.status"));
        Assert.All([ended, repeated, late], answer => Assert.Equal(state, answer.String("command.state")));
    }

    [Fact]
    public async Task Item07_CompleteWithoutAck_AfterTheLease_IsTaken()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "anything" });
        var served = await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");
        time.Advance(TimeSpan.FromSeconds(91));
        await hub.SweepCommandsAsync();

        var ended = await node.WriteAsync(
            $"/api/hosts/{hostId}/commands/{served["commands"][0].GetProperty("id").GetString()}/ack", new { action = "complete", result = 1 });

        Assert.Equal("SUCCEEDED", ended.String("command.state"));
        var poll = await node.ReadAsync($"/api/hosts/{hostId}/commands?status=pending");
        Assert.Equal(0, poll["commands"].GetArrayLength());
    }

    [Fact]
    public async Task Item08_MessageSentTwice_IsKeptOnceInItsLastForm()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var sync = $"/api/hosts/{hostId}/chat/sync";

        await node.WriteAsync(sync, MessageOf("msg-1", "first"));
        var repeated = (await node.WriteAsync(sync, MessageOf("msg-1", "edited"))).Expect(200);

        Assert.Equal(1, repeated["synced"].GetInt32());
        var message = Assert.Single((await node.ReadAsync($"/api/hosts/{hostId}/chat"))["messages"].EnumerateArray());
        Assert.Equal("edited", message.GetProperty("content").GetString());
        Assert.Equal("general", message.GetProperty("channel").GetString());
    }

    [Fact]
    public async Task Item08_Pending_IsHandedOutOnceWhileItsAnswerCounts()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = "hello", channel = "ops", from = "someone" });

        var handed = (await node.WriteAsync($"/api/hosts/{hostId}/chat/sync", """{"messages":[]}""")).Expect(200);
        var again = await node.WriteAsync($"/api/hosts/{hostId}/chat/sync", """{"messages":[]}""");

        var pending = Assert.Single(handed["pending"].EnumerateArray());
        Assert.Equal("hello", pending.GetProperty("content").GetString());
        Assert.Equal("ops", pending.GetProperty("channel").GetString());
        Assert.Equal("someone", pending.GetProperty("from").GetString());
        Assert.NotEmpty(pending.GetProperty("id").GetString()!);
        Assert.Equal(0, again["pending"].GetArrayLength());
    }

    [Fact]
    public async Task Item09_RelayedMessagesSinceTheLastUpload_StayBelow100()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        for (var i = 0; i < 220; i++)
        {
            (await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = $"relayed {i}" })).Expect(201);
        }

        var sync = $"/api/hosts/{hostId}/chat/sync";
        var relayed = (await node.WriteAsync(sync, MessageOf("own-1", "mine")))["pending"].GetArrayLength();
        for (var i = 0; i < 5; i++)
        {
            time.Advance(TimeSpan.FromSeconds(5));
            relayed += (await node.WriteAsync(sync, """{"messages":[]}"""))["pending"].GetArrayLength();
        }

        time.Advance(TimeSpan.FromSeconds(5));
        var afterUpload = (await node.WriteAsync(sync, MessageOf("own-2", "mine again")))["pending"].GetArrayLength();

        Assert.InRange(relayed, 50, 99);
        Assert.InRange(afterUpload, 1, 99);
    }

    [Fact]
    public async Task Item10_RecordMissingFromALaterSnapshot_Stays()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var sync = $"/api/hosts/{hostId}/reflections/sync";

        await node.WriteAsync(sync, """{"reflections":[{"id":"ref-1","updated_at":1},{"id":"ref-2","updated_at":2}]}""");
        (await node.WriteAsync(sync, """{"reflections":[{"id":"ref-2","updated_at":2},{"id":"ref-3","updated_at":3}]}""")).Expect(200);

        Assert.Equal(3, (await node.ReadAsync($"/api/hosts/{hostId}/reflections"))["reflections"].GetArrayLength());
    }

    [Fact]
    public async Task Item10_Approval_NamedAgainEvery10Seconds_Stays_AndIsGone30SecondsAfterTheLastTime()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var approvals = $"/api/hosts/{hostId}/run-approvals";

        async Task<int> AfterAsync(TimeSpan span)
        {
            time.Advance(span);
            await hub.Service<Runs.RunApprovals>().SweepAsync(CancellationToken.None).Within();
            return (await node.ReadAsync(approvals))["items"].GetArrayLength();
        }

        for (var i = 0; i < 6; i++)
        {
            (await node.WriteAsync(approvals, """{"items":[{"eventId":"aevt-1","agentId":"main","title":"t","description":null}]}""")).Expect(200);
            Assert.Equal(1, await AfterAsync(TimeSpan.FromSeconds(10)));
        }

        (await node.WriteAsync(approvals, """{"items":[]}""")).Expect(200); // What a node sends that could not look.
        Assert.Equal(1, await AfterAsync(TimeSpan.FromSeconds(19)));
        Assert.Equal(0, await AfterAsync(TimeSpan.FromSeconds(2)));
    }

    [Fact]
    public async Task Item11_RunEventSentSixTimes_IsKeptAndToldOnce()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var run = $"/api/hosts/{hostId}/runs/arun-1";

        for (var i = 0; i < 6; i++)
        {
            var sent = await node.WriteAsync(
                $"{run}/stream",
                """{"events":[{"id":"aevt-1","type":"run_created","agentId":"main","runId":"arun-1","payload":{"objective":"o"},"createdAt":1795219716908}]}""");
            Assert.Equal(1, sent.Expect(200)["synced"].GetInt32());
        }

        Assert.Equal(1, (await node.ReadAsync($"{run}/events"))["events"].GetArrayLength());
        var told = await hub.Store.ReadAsync(
            Hub.Storage.TeamScope.System, reader => reader.QuerySingleAsync<long>("select count(*) from events where kind = 'RUN_EVENT'"));
        Assert.Equal(1, told);
    }

    [Fact]
    public async Task Item12_BothShapesOfTheCanvas_AreMergedByWhatEachNames()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var canvas = $"/api/hosts/{hostId}/canvas";

        await node.WriteAsync(canvas, """{"state":{"slots":[],"agents":{"main":{"state":"working","task":null}},"pushedAt":1795220851061}}""");
        var pushed = await node.WriteAsync(
            canvas,
            """{"slots":[{"slot":"objective","payload":{"body":"b"},"version":3}],"agents":{},"push_events":[{"type":"expression","agentId":"main","t":1}]}""");
        var shown = (await node.ReadAsync(canvas)).Expect(200);
        time.Advance(TimeSpan.FromSeconds(91));
        var later = (await node.ReadAsync(canvas)).Expect(200);
        time.Advance(TimeSpan.FromMinutes(5));
        var gone = (await node.ReadAsync(canvas)).Expect(200);

        Assert.Equal(1, pushed.Expect(200)["slotCount"].GetInt32());
        Assert.Equal("working", shown["agents"].GetProperty("main").GetProperty("state").GetString());
        Assert.Equal("objective", shown["slots"][0].GetProperty("slot").GetString());
        Assert.Equal("expression", shown["pushEvents"][0].GetProperty("type").GetString());
        Assert.Equal(0, later["slots"].GetArrayLength());
        Assert.Equal("working", later["agents"].GetProperty("main").GetProperty("state").GetString());
        Assert.Empty(gone["agents"].EnumerateObject());
    }

    [Fact]
    public async Task Item12_ClearThatComesAfterANewerCanvas_LeavesIt()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var canvas = $"/api/hosts/{hostId}/canvas";
        await node.WriteAsync(canvas, """{"slots":[],"agents":{"before":{"state":"idle"}}}""");
        time.Advance(TimeSpan.FromSeconds(5));
        await node.WriteAsync(canvas, """{"slots":[],"agents":{"after":{"state":"idle"}}}""");

        using var clear = new HttpRequestMessage(HttpMethod.Post, $"{canvas}/clear") { Content = new ByteArrayContent([]) };
        clear.Content.Headers.TryAddWithoutValidation("content-type", "application/json");
        using var cleared = await node.SendAsync(clear).Within();

        Assert.Equal(System.Net.HttpStatusCode.OK, cleared.StatusCode);
        Assert.Equal("after", Assert.Single((await node.ReadAsync(canvas))["agents"].EnumerateObject()).Name);
    }

    [Fact]
    public async Task CanvasQuery_IsHandedToTheNodeOnceAndAnsweredByItsCard()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var canvas = $"/api/hosts/{hostId}/canvas";

        var asked = (await owner.WriteAsync($"{canvas}/query", new { query = "how far?", sessionId = "s", idempotency_key = "k" })).Expect(201);
        var again = await owner.WriteAsync($"{canvas}/query", new { query = "how far?", sessionId = "s", idempotency_key = "k" });
        var queryId = asked.String("query.queryId");
        var handed = await node.ReadAsync($"{canvas}/query/pending");
        var leased = await node.ReadAsync($"{canvas}/query/pending");
        var acked = await node.WriteAsync($"{canvas}/query/ack", new { queryIds = new[] { queryId }, cards = new[] { new { type = "tasks", data = new { todoCount = 3 } } } });

        Assert.Equal(queryId, again.String("query.queryId"));
        Assert.Equal("how far?", Assert.Single(handed["queries"].EnumerateArray()).GetProperty("query").GetString());
        Assert.Equal(0, leased["queries"].GetArrayLength());
        Assert.Equal(1, acked.Expect(200)["acked"].GetInt32());
        Assert.Equal(0, (await owner.ReadAsync($"{canvas}/query/pending"))["queries"].GetArrayLength());
        Assert.Equal("tasks", (await owner.ReadAsync(canvas))["cards"][0].GetProperty("type").GetString());
    }

    [Fact]
    public async Task Decision_IsShownUntilItIsAcknowledged()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var decisions = $"/api/hosts/{hostId}/agent-interface/decisions";
        await node.WriteAsync($"/api/hosts/{hostId}/run-approvals", """{"items":[{"eventId":"aevt-1","agentId":"main"}]}""");

        (await owner.WriteAsync(decisions, new { eventId = "aevt-1", decision = "approve" })).Expect(201);
        var second = await owner.WriteAsync(decisions, new { eventId = "aevt-1", decision = "reject" });
        var shown = await node.ReadAsync(decisions);
        var acked = await node.WriteAsync($"{decisions}/ack", """{"eventIds":["aevt-1","unknown"]}""");

        Assert.Equal("approve", second.String("decision.decision"));
        Assert.Equal("aevt-1", Assert.Single(shown["decisions"].EnumerateArray()).GetProperty("eventId").GetString());
        Assert.Equal(1, acked.Expect(200)["acked"].GetInt32());
        Assert.Equal(0, (await node.ReadAsync(decisions))["decisions"].GetArrayLength());
    }

    [Fact]
    public async Task TaskComment_OfNodeAndPerson_AreListedWithTheTask()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", """{"tasks":[{"id":"t1","title":"T","status":"todo"}]}""");
        var comments = $"/api/hosts/{hostId}/tasks/t1/comments";

        (await node.WriteAsync(comments, """{"id":"tcomment-1","author":"main","content":"first","timestamp":1795219716908}""")).Expect(201);
        (await owner.WriteAsync(comments, new { content = "second" })).Expect(201);
        var unknown = await owner.WriteAsync($"/api/hosts/{hostId}/tasks/none/comments", new { content = "third" });

        Assert.Equal("TASK_NOT_FOUND", unknown.Expect(404).Reason);
        Assert.Equal(
            ["second", "first"], (await owner.ReadAsync(comments))["comments"].EnumerateArray().Select(item => item.GetProperty("content").GetString()));
    }

    [Fact]
    public async Task Item16_IsoAndMillisecondsAndBothNameStyles_AreReadAlike()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var host = $"/api/hosts/{hostId}";

        await node.WriteAsync($"{host}/tasks/sync", """{"tasks":[{"id":"camel","updatedAt":"2026-11-21T00:12:37.474Z"},{"id":"snake","updated_at":"2026-11-21T00:12:37.474Z"}]}""");
        await node.WriteAsync($"{host}/reflections/sync", """{"reflections":[{"id":"snake","role_type":"agent","updated_at":1795220777054},{"id":"camel","roleType":"agent","updatedAt":1795220777054}]}""");

        var tasks = (await node.ReadAsync($"{host}/tasks"))["tasks"].EnumerateArray().ToArray();
        var reflections = (await node.ReadAsync($"{host}/reflections"))["reflections"].EnumerateArray().ToArray();
        Assert.Equal(2, tasks.Length);
        Assert.All(tasks, task => Assert.Equal(1_795_219_957_474_000, task.GetProperty("version").GetInt64()));
        Assert.Equal(2, reflections.Length);
        Assert.All(reflections, item => Assert.Equal("agent", item.GetProperty("roleType").GetString()));
        Assert.All(reflections, item => Assert.Equal(1_795_220_777_054_000, item.GetProperty("version").GetInt64()));
    }

    [Fact]
    public async Task Section8_FractionsNullsAndOpenObjects_AreKeptAsTheyWereSent()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var host = $"/api/hosts/{hostId}";

        (await node.WriteAsync($"{host}/reflections/sync", """{"reflections":[{"id":"r","confidence":7.5,"severity":null,"task_id":null,"unknown":{"x":1}}]}""")).Expect(200);
        (await node.WriteAsync($"{host}/runs/sync", """{"runs":[{"id":"run","costUsd":0.094,"completedAt":null,"status":"a word of its own","contextSnapshot":{"_auto":true,"deep":[{"n":null}]}}]}""")).Expect(200);
        (await node.WriteAsync($"{host}/usage/sync", """{"caps":[{"id":"cap","scope_id":null,"limit_usd":5.5}],"capStatuses":[{"utilization_pct":1.9}]}""")).Expect(200);

        var run = (await node.ReadAsync($"{host}/runs/run"))["run"];
        Assert.Equal(7.5, (await node.ReadAsync($"{host}/reflections/r"))["reflection.confidence"].GetDouble());
        Assert.Equal("""{"_auto":true,"deep":[{"n":null}]}""", run.GetProperty("contextSnapshot").GetRawText().Replace(" ", "", StringComparison.Ordinal));
        Assert.Equal(0.094, run.GetProperty("costUsd").GetDouble());
        Assert.Equal("a word of its own", run.GetProperty("status").GetString());
        Assert.Equal(1.9, (await node.ReadAsync($"{host}/usage"))["usage.capStatuses"][0].GetProperty("utilizationPct").GetDouble());
    }

    [Fact]
    public async Task Section8_LayersAndAgentsByName_KeepTheirNamesAndTheirOpenParts()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var host = $"/api/hosts/{hostId}";

        (await node.WriteAsync(
            $"{host}/context/sync",
            """{"agent":"main","budgets":{"totalTokens":9,"layers":{"team_shared":4}},"layers":{"team_shared":{"used_tokens":3,"items":[{"source":"chat","meta":{"_k":null}}]}}}"""))
            .Expect(200);
        (await node.WriteAsync($"{host}/canvas", """{"agents":{"main":{"avatar":null,"_auto":{"t":1.5}}}}""")).Expect(200);

        var layer = (await node.ReadAsync($"{host}/context/main"))["context"].GetProperty("layers").GetProperty("team_shared");
        Assert.Equal(3, layer.GetProperty("usedTokens").GetInt64());
        Assert.Equal(JsonValueKind.Null, layer.GetProperty("items")[0].GetProperty("meta").GetProperty("_k").ValueKind);
        Assert.Equal(
            """{"avatar":null,"_auto":{"t":1.5}}""",
            (await node.ReadAsync($"{host}/canvas"))["agents"].GetProperty("main").GetRawText().Replace(" ", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Section8_BodyOfSeveralMegabytes_IsTaken()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var text = new string('x', 30_000);

        var reflections = await node.WriteAsync(
            $"/api/hosts/{hostId}/reflections/sync", new { reflections = Enumerable.Range(0, 200).Select(i => new { id = $"ref-{i}", pain = text }) });
        var canvas = await node.WriteAsync(
            $"/api/hosts/{hostId}/canvas", new { push_events = Enumerable.Range(0, 100).Select(i => new { type = $"rich-{i}", agentId = "main", text = new string('x', 50_000) }) });

        Assert.Equal(200, reflections.Expect(200)["synced"].GetInt32());
        canvas.Expect(200);
    }

    [Fact]
    public async Task Section8_NoBodyWithTheJsonType_IsAnEmptyRequest()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        foreach (var route in new[] { "heartbeat", "chat/sync", "tasks/sync", "canvas", "canvas/clear", "usage/sync", "runs/sync" })
        {
            var answer = await node.WriteAsync($"/api/hosts/{hostId}/{route}", "");

            Assert.True(answer.Status == 200 && answer.Body.ValueKind == JsonValueKind.Object, $"{route}: {answer.Text}");
        }
    }

    [Fact]
    public async Task Item13_ProbeHeartbeat_CountsAsContactAndLeavesTheRoster()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var heartbeat = $"/api/hosts/{hostId}/heartbeat";
        await node.WriteAsync(
            heartbeat,
            """{"contractVersion":"host-heartbeat.v1","agents":[{"id":"main","status":"active"}],"activeTasks":[{"id":"t1","status":"doing"}]}""");

        var probe = await node.WriteAsync(
            heartbeat,
            """{"contractVersion":1,"status":"online","agents":[],"activeTasks":[],"timestamp":1795220158371,"source":{}}""");

        Assert.Equal("online", probe.Expect(200).String("host.status"));
        Assert.True(probe["ok"].GetBoolean());
        var host = await node.ReadAsync($"/api/hosts/{hostId}");
        Assert.Equal("main", host["host.agents"][0].GetProperty("id").GetString());
        Assert.Equal(1, host["host.activeTasks"].GetArrayLength());
    }

    [Fact]
    public async Task Item13_FullHeartbeatWithNoAgents_EmptiesTheRoster()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        var heartbeat = $"/api/hosts/{hostId}/heartbeat";
        await node.WriteAsync(heartbeat, """{"contractVersion":"host-heartbeat.v1","agents":[{"id":"main"}],"activeTasks":[]}""");

        await node.WriteAsync(heartbeat, """{"contractVersion":"host-heartbeat.v1","agents":[],"activeTasks":[]}""");

        Assert.Equal(0, (await node.ReadAsync($"/api/hosts/{hostId}"))["host.agents"].GetArrayLength());
    }

    [Fact]
    public async Task Item14_NodeThatSaysNothingMore_IsOfflineAfter90Seconds()
    {
        var time = new ManualTimeProvider();
        await using var hub = await StartAsync(time);
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        for (var i = 0; i < 3; i++)
        {
            await node.WriteAsync($"/api/hosts/{hostId}/heartbeat", "{}");
            time.Advance(TimeSpan.FromSeconds(30));
        }

        var statuses = new List<string>();
        foreach (var silence in new[] { 29, 1, 29, 1 })
        {
            time.SetClock(time.GetUtcNow().AddSeconds(silence));
            await hub.SweepPresenceAsync();
            statuses.Add((await owner.ReadAsync($"/api/hosts/{hostId}")).String("host.status"));
        }

        Assert.Equal(["online", "suspect", "suspect", "offline"], statuses);
    }

    [Theory]
    [InlineData(@"cut \ud83d", "cut \uFFFD")]
    [InlineData(@"\udccd tail", "\uFFFD tail")]
    [InlineData(@"\ud83d\ud83d\udccd", "\uFFFD\U0001F4CD")]
    [InlineData(@"a\u0000b", "a\u2400b")]
    [InlineData(@"whole \ud83d\udccd", "whole \U0001F4CD")]
    public async Task Item15_TextNoStoreTakes_IsAcceptedEverywhereAndReadBackClean(string sent, string stored)
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        var host = $"/api/hosts/{hostId}";
        var command = (await owner.WriteAsync($"{host}/commands", $$"""{"type":"echo","payload":{"{{sent}}":["{{sent}}"] } }""")).Expect(201);

        (await node.WriteAsync($"{host}/heartbeat", $$"""{"contractVersion":"host-heartbeat.v1","agents":[{"id":"main","{{sent}}":{"deep":["{{sent}}"] } } ] }"""))
            .Expect(200);
        var tasks = (await node.WriteAsync(
            $"{host}/tasks/sync",
            $$"""{"tasks":[{"id":"task-1","title":"{{sent}}","status":"todo","updatedAt":"2026-11-21T00:12:37.474Z"}]}""")).Expect(200);
        var chat = (await node.WriteAsync(
            $"{host}/chat/sync",
            $$"""{"messages":[{"id":"msg-1","from":"{{sent}}","content":"{{sent}}","timestamp":1795220776494,"channel":"ops"}]}""")).Expect(200);
        (await node.WriteAsync($"{host}/commands/{command.String("command.id")}/ack", $$"""{"action":"fail","error":"{{sent}}"}""")).Expect(200);

        Assert.Equal(1, tasks["synced"].GetInt32());
        Assert.Equal(1, chat["synced"].GetInt32());
        Assert.Equal(stored, command["command.payload"].GetProperty(stored)[0].GetString());
        Assert.Equal(stored, (await owner.ReadAsync(host))["host.agents"][0].GetProperty(stored).GetProperty("deep")[0].GetString());
        Assert.Equal(stored, (await owner.ReadAsync($"{host}/tasks/task-1")).String("task.title"));
        Assert.Equal(stored, (await owner.ReadAsync($"{host}/chat"))["messages"][0].GetProperty("content").GetString());
        Assert.Equal(stored, (await owner.ReadAsync($"{host}/commands/{command.String("command.id")}")).String("command.error"));
    }

    [Fact]
    public async Task Item15_ASingleBadItem_IsSetAsideAndTheRestStored()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var node = hub.As(credential);

        var tasks = (await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", new
        {
            tasks = new object[]
            {
                new { id = "good", title = "t", status = "todo", updatedAt = "no date at all" },
                new { id = "", title = "without an id", status = "todo" },
                new { id = "long", title = new string('x', 2_001), status = "todo" },
            },
        })).Expect(200);

        Assert.Equal(1, tasks["synced"].GetInt32());
        Assert.Equal(2, tasks["rejected"].GetArrayLength());
        (await node.ReadAsync($"/api/hosts/{hostId}/tasks/good")).Expect(200);
    }

    [Fact]
    public async Task Revoke_EndsTheCredentialsTheJoinTokenAndTheLink_AndShowsTheWayBackOnce()
    {
        await using var hub = await StartAsync();
        var joinToken = await hub.JoinTokenAsync();
        var claimed = await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken });
        var (hostId, credential) = (claimed.String("host.id"), claimed.String("credential.token"));
        using var node = hub.As(credential);
        using var owner = hub.As(await hub.UserTokenAsync());
        await using var link = await RawNode.ConnectAsync(hub, credential);
        await link.ReadAsync();

        var revoked = (await owner.WriteAsync($"/api/hosts/{hostId}/revoke-credential", new { reason = "lost laptop" })).Expect(200);
        await link.TrySendAsync(RawNode.TaskBatch(1, ("late", "todo")));

        Assert.Equal("revoked", revoked.String("host.status"));
        Assert.Equal(GoodbyeReason.Revoked, (await link.ReadUntilEndAsync())[^1].Goodbye.Reason);
        Assert.Equal("CREDENTIAL_REVOKED", (await node.WriteAsync($"/api/hosts/{hostId}/heartbeat", "{}")).Expect(401).Reason);
        Assert.Equal("JOIN_TOKEN_INVALID", (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken })).Expect(401).Reason);
        Assert.Equal("JOIN_TOKEN_INVALID", (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = credential })).Expect(401).Reason);
        Assert.Equal(0, (await owner.ReadAsync($"/api/hosts/{hostId}/tasks"))["tasks"].GetArrayLength());
        var back = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = revoked.String("registerToken.joinToken") })).Expect(201);
        Assert.Equal(hostId, back.String("host.id"));
        Assert.Equal("online", back.String("host.status"));
        (await node.WriteAsync($"/api/hosts/{hostId}/heartbeat", "{}")).Expect(401); // The way back does not revive what was revoked.
    }

    [Fact]
    public async Task Revoke_ThenDialWithTheOldCredential_SaysRevokedAndNotToComeBack()
    {
        await using var hub = await StartAsync();
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        await owner.WriteAsync($"/api/hosts/{hostId}/revoke-credential", "{}");

        await using var link = await RawNode.ConnectAsync(hub, credential);
        var goodbye = (await link.ReadAsync()).Goodbye;

        Assert.Equal(GoodbyeReason.Revoked, goodbye.Reason);
        Assert.False(goodbye.Retryable);
    }

    private static string MessageOf(string id, string content) => JsonSerializer.Serialize(new
    {
        messages = new[] { new { id, from = "main", content, timestamp = 1_795_220_776_494L } },
    });

    private async Task<HubHost> StartAsync(TimeProvider? time = null) =>
        await HubHost.StartAsync(fixture, await fixture.CreateDatabaseAsync(), time);
}

public sealed class SqliteReflecttNodeContractTests(SqliteStoreFixture fixture)
    : ReflecttNodeContractTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresReflecttNodeContractTests(PostgresStoreFixture fixture)
    : ReflecttNodeContractTests(fixture), IClassFixture<PostgresStoreFixture>;
