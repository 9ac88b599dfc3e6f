using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.IntegrationTests.Storage;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Commands;

/// <summary>The commands of hosts, from creation to a terminal state, by REST polls and over raw links.</summary>
public abstract class CommandTests(StoreFixture fixture)
{
    protected StoreFixture Fixture { get; } = fixture;

    [Theory]
    [InlineData("key", null)]
    [InlineData(null, "key")]
    [InlineData("key", "key")]
    [InlineData("key", "\"key\"")]
    [InlineData(null, "\"key\"")]
    public async Task Create_RepeatedWithTheKey_AnswersTheSameCommand(string? field, string? header)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var body = JsonSerializer.Serialize(new { type = "echo", payload = new { b = 1, a = new { d = 2, c = 3 } }, idempotency_key = field ?? "" });
        var sameInOtherOrder = """{"payload":{"a":{"c":3.0,"d":2},"b":1},"idempotencyKey":"key","type":"echo"}""";
        (string, string)[] headers = header is null ? [] : [("Idempotency-Key", header)];

        var first = (await scene.Owner.WriteAsync(scene.Commands, body, headers)).Expect(201);
        var repeated = (await scene.Owner.WriteAsync(scene.Commands, body, headers)).Expect(200);
        var reordered = (await scene.Owner.WriteAsync(scene.Commands, sameInOtherOrder)).Expect(200);

        Assert.False(repeated["created"].GetBoolean());
        Assert.All([repeated, reordered], answer => Assert.Equal(first.String("command.id"), answer.String("command.commandId")));
        Assert.Equal(1, await scene.CountAsync());
    }

    [Fact]
    public async Task Create_KeyInFieldAndHeaderDiffer_IsRefused()
    {
        await using var scene = await Scene.SetAsync(Fixture);

        var answer = await scene.Owner.WriteAsync(scene.Commands, new { type = "echo", idempotency_key = "a" }, ("Idempotency-Key", "b"));

        Assert.Equal("IDEMPOTENCY_KEY_MISMATCH", answer.Expect(400).Reason);
        Assert.Equal(0, await scene.CountAsync());
    }

    [Theory]
    [InlineData("""{"type":"other","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","payload":{"a":2},"idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","payload":{"a":1},"max_attempts":2,"idempotency_key":"key"}""")]
    public async Task Create_SameKeyOtherRequest_IsRefused(string other)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await scene.Owner.WriteAsync(scene.Commands, """{"type":"echo","payload":{"a":1},"idempotency_key":"key"}""");

        var answer = await scene.Owner.WriteAsync(scene.Commands, other);

        Assert.Equal("IDEMPOTENCY_KEY_REUSED", answer.Expect(409).Reason);
        Assert.Equal(1, await scene.CountAsync());
    }

    [Fact]
    public async Task Create_SameKeyForAnotherHost_IsAnotherCommand()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var (otherId, _) = await scene.Hub.ClaimAsync("other");
        await scene.Owner.WriteAsync(scene.Commands, new { type = "echo", idempotency_key = "key" });

        (await scene.Owner.WriteAsync($"/api/hosts/{otherId}/commands", new { type = "echo", idempotency_key = "key" })).Expect(201);
    }

    [Fact]
    public async Task Create_ConcurrentTwins_AreOneCommand()
    {
        await using var scene = await Scene.SetAsync(Fixture);

        var twins = await Task.WhenAll(Enumerable.Range(0, 20).Select(
            _ => scene.Owner.WriteAsync(scene.Commands, new { type = "echo", idempotency_key = "key" })));

        Assert.Single(twins, twin => twin.Status == 201);
        Assert.Single(twins.Select(twin => twin.String("command.id")).Distinct());
        Assert.Equal(1, await scene.CountAsync());
    }

    [Fact]
    public async Task Create_RepeatedAfterItsOwnExpiry_StillAnswersTheSameCommand()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var body = new { type = "echo", idempotency_key = "key", expiresAt = scene.Time.GetUtcNow().AddSeconds(10).ToString("O") };
        var first = (await scene.Owner.WriteAsync(scene.Commands, body)).Expect(201);

        scene.Pass(TimeSpan.FromSeconds(30));
        await scene.Hub.SweepCommandsAsync();
        var repeated = (await scene.Owner.WriteAsync(scene.Commands, body)).Expect(200);

        Assert.Equal(first.String("command.id"), repeated.String("command.id"));
        Assert.Equal("EXPIRED", repeated.String("command.state"));
    }

    [Theory]
    [InlineData("""{"idempotency_key":"key"}""")]
    [InlineData("""{"type":"a b","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo\u0000","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","ttl":-1,"idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","ttl":2592001,"idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","ttl":5,"accept_within":"5s","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","accept_within":"0.5s","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","accept_within":"soon","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","expiresAt":"2001-01-01T00:00:00Z","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","finish_within":"2592001s","idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","max_attempts":11,"idempotency_key":"key"}""")]
    [InlineData("""{"type":"echo","payload":[1],"idempotency_key":"key"}""")]
    public async Task Create_Invalid_IsRefusedAndLeavesTheKeyFree(string invalid)
    {
        await using var scene = await Scene.SetAsync(Fixture);

        (await scene.Owner.WriteAsync(scene.Commands, invalid)).Expect(400);

        (await scene.Owner.WriteAsync(scene.Commands, """{"type":"echo","idempotency_key":"key"}""")).Expect(201);
    }

    [Fact]
    public async Task Create_WithAMalformedTimeByGrpc_IsInvalid()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var client = new CommandService.CommandServiceClient(scene.Hub.Channel);
        var token = HubHost.With(await scene.Hub.UserTokenAsync());
        CreateCommandRequest[] malformed =
        [
            new() { AcceptWithin = new Duration { Nanos = 2_000_000_000 } },
            new() { FinishWithin = new Duration { Seconds = long.MaxValue } },
            new() { ExpiresAt = new Timestamp { Seconds = long.MaxValue } },
        ];

        foreach (var request in malformed)
        {
            (request.HostId, request.Type) = (scene.HostId, "echo");
            var refusal = await Assert.ThrowsAsync<RpcException>(() => client.CreateCommandAsync(request, token).ResponseAsync.Within());
            Assert.Equal(StatusCode.InvalidArgument, refusal.StatusCode);
        }
    }

    [Fact]
    public async Task Create_PayloadTooLarge_Is413()
    {
        await using var scene = await Scene.SetAsync(Fixture);

        var answer = await scene.Owner.WriteAsync(scene.Commands, new { type = "echo", payload = new { text = new string('x', 256 * 1024) } });

        Assert.Equal("RECORD_TOO_LARGE", answer.Expect(413).Reason);
    }

    [Fact]
    public async Task Create_TypeTheNodeDidNotDeclare_IsRefusedWithTheList()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        (await scene.Owner.WriteAsync(scene.Commands, new { type = "anything" })).Expect(201); // Nothing declared yet.
        await using var link = await scene.ConnectAsync(hello => hello.CommandTypes.AddRange(["echo", "vm.start"]));

        var answer = await scene.Owner.WriteAsync(scene.Commands, new { type = "vm.stop" });

        Assert.Equal("COMMAND_TYPE_UNKNOWN", answer.Expect(409).Reason);
        Assert.Equal("echo,vm.start", answer.String("details.command_types"));
        (await scene.Owner.WriteAsync(scene.Commands, new { type = "echo" })).Expect(201);
    }

    [Theory]
    [InlineData("""{"type":"echo","accept_within":"20s"}""")]
    [InlineData("""{"type":"echo","ttl":20}""")]
    [InlineData("""{"type":"echo","ttl":"20"}""")]
    public async Task Accept_NotInTime_Expires(string body)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = (await scene.Owner.WriteAsync(scene.Commands, body)).Expect(201).String("command.id");

        scene.Pass(TimeSpan.FromSeconds(19));
        var before = await scene.StateAsync(id);
        scene.Pass(TimeSpan.FromSeconds(1));
        var after = await scene.StateAsync(id);

        Assert.Equal("QUEUED", before);
        Assert.Equal("EXPIRED ACCEPT_TIMEOUT", after);
        Assert.Equal(0, (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength());
    }

    [Fact]
    public async Task Accept_ApprovalNotGivenInTime_Expires()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo","requires_approval":true,"ttl":5}""");

        scene.Pass(TimeSpan.FromSeconds(5));

        Assert.Equal("EXPIRED ACCEPT_TIMEOUT", await scene.StateAsync(id));
    }

    [Fact]
    public async Task Offer_OnALinkNotTakenIn30Seconds_IsMadeAgainAndUsesUpNoAttempt()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        var first = await link.ReadUntilAsync(frame => frame.Offer is not null);

        scene.Pass(TimeSpan.FromSeconds(29));
        await scene.Hub.SweepCommandsAsync();
        var held = await scene.StateAsync(id);
        scene.Pass(TimeSpan.FromSeconds(1));
        await scene.Hub.SweepCommandsAsync();
        var second = await link.ReadUntilAsync(frame => frame.Offer is not null);

        Assert.Equal("OFFERED", held);
        Assert.Equal((id, 1), (first.Offer.CommandId, first.Offer.Attempt));
        Assert.Equal((id, 1), (second.Offer.CommandId, second.Offer.Attempt));
        Assert.Contains("QUEUED OFFER_TIMEOUT", await scene.TimelineAsync(id));
    }

    [Fact]
    public async Task Offer_OnALinkThatEnds_IsMadeOnTheNext()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        await using (var first = await scene.ConnectAsync())
        {
            await first.ReadUntilAsync(frame => frame.Offer is not null);
        }

        await using var second = await scene.ConnectAsync(hello => hello.JournalEpoch = 1);
        var offer = (await second.ReadUntilAsync(frame => frame.Offer is not null)).Offer;

        Assert.Equal((id, 1), (offer.CommandId, offer.Attempt));
    }

    [Fact]
    public async Task Offer_ServedToAPoll_ComesBackAfter90SecondsAndNeverAfterAck()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        var served = (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength();

        scene.Pass(TimeSpan.FromSeconds(89));
        await scene.Hub.SweepCommandsAsync();
        var leased = (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength();
        scene.Pass(TimeSpan.FromSeconds(1));
        await scene.Hub.SweepCommandsAsync();
        var again = (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength();
        await scene.AckAsync(id, """{"action":"ack"}""");
        scene.Pass(TimeSpan.FromSeconds(200));
        await scene.Hub.SweepCommandsAsync();
        var acked = (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength();

        Assert.Equal((1, 0, 1, 0), (served, leased, again, acked));
    }

    [Fact]
    public async Task Poll_WhileALinkIsLive_IsEmpty()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        await scene.CreateAsync("""{"type":"echo"}""");

        var poll = await scene.Node.ReadAsync(scene.Poll);

        Assert.Equal("""{"commands":[],"nextPageToken":""}""", poll.Text);
    }

    [Fact]
    public async Task Poll_OfTwoNodesAtOnce_ServesEachCommandOnce()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        for (var i = 0; i < 30; i++)
        {
            await scene.CreateAsync("""{"type":"echo"}""");
        }

        var polls = await Task.WhenAll(Enumerable.Range(0, 6).Select(_ => scene.Node.ReadAsync(scene.Poll)));

        var ids = polls.SelectMany(poll => poll["commands"].EnumerateArray()).Select(command => command.GetProperty("id").GetString()).ToArray();
        Assert.Equal(30, ids.Length);
        Assert.Equal(30, ids.Distinct().Count());
    }

    [Theory]
    [InlineData("""{"type":"echo"}""")]
    [InlineData("""{"type":"echo","requires_approval":true}""")]
    public async Task Cancel_OfWhatNoNodeHolds_IsImmediate(string body)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync(body);

        var cancelled = (await scene.CancelAsync(id)).Expect(200);
        var again = (await scene.CancelAsync(id)).Expect(200);

        Assert.Equal("CANCELLED", cancelled.String("command.state"));
        Assert.Equal("CANCEL_REQUESTED", again.String("command.reason"));
        Assert.Equal(0, (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength());
    }

    [Fact]
    public async Task Cancel_OfAnOffer_TheNodeIsToldToForgetIt()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        await link.ReadUntilAsync(frame => frame.Offer is not null);
        await scene.CancelAsync(id);
        var cancel = (await link.ReadUntilAsync(frame => frame.Cancel is not null)).Cancel;

        await link.SendAsync(RawNode.Commands(1, Accepted(id)));
        var ack = (await link.ReadUntilAsync(frame => frame.Ack is not null)).Ack;

        Assert.Equal((id, "why"), (cancel.CommandId, cancel.Reason));
        Assert.Equal(Verdict.Forget, Assert.Single(ack.Commands).Verdict);
        Assert.Equal("CANCELLED CANCEL_REQUESTED", await scene.StateAsync(id));
    }

    [Theory]
    [InlineData(CommandState.Cancelled, "CANCELLED CANCEL_REQUESTED")]
    [InlineData(CommandState.Succeeded, "SUCCEEDED")]
    public async Task Cancel_OfARunningCommand_EndsAsTheNodeSays(CommandState outcome, string end)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);

        var asked = (await scene.CancelAsync(id)).Expect(200);
        await link.ReadUntilAsync(frame => frame.Cancel is not null);
        await link.SendAsync(RawNode.Commands(3, Outcome(id, outcome)));
        await link.ReadUntilAsync(frame => frame.Ack is not null);

        Assert.Equal("RUNNING", asked.String("command.state"));
        Assert.NotEmpty(asked.String("command.cancelRequestedAt"));
        Assert.Equal(end, await scene.StateAsync(id));
    }

    [Fact]
    public async Task Cancel_NotAnsweredIn10Seconds_IsNodeSilentAndALateResultIsKept()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);
        await scene.CancelAsync(id);

        scene.Pass(TimeSpan.FromSeconds(9));
        var waiting = await scene.StateAsync(id);
        scene.Pass(TimeSpan.FromSeconds(1));
        var silent = await scene.StateAsync(id);
        await link.SendAsync(RawNode.Commands(3, Outcome(id, CommandState.Succeeded)));
        await link.ReadUntilAsync(frame => frame.Ack is { Seq: 3 });

        Assert.Equal("RUNNING", waiting);
        Assert.Equal("CANCELLED NODE_SILENT", silent);
        Assert.Equal("CANCELLED NODE_SILENT", await scene.StateAsync(id));
        var late = (await scene.Owner.ReadAsync($"{scene.Commands}/{id}"))["command.lateResult"];
        Assert.Equal("SUCCEEDED", late.GetProperty("state").GetString());
        Assert.Equal("did it", late.GetProperty("result").GetString());
    }

    [Fact]
    public async Task Cancel_OfACommandAPollServed_TheNodeRunsItAnywayAndItsResultIsNotLost()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        await scene.Node.ReadAsync(scene.Poll);
        await scene.CancelAsync(id);

        await scene.AckAsync(id, """{"action":"ack"}""");
        var ended = await scene.AckAsync(id, """{"action":"complete","result":"did it"}""");

        Assert.Equal("SUCCEEDED", ended.String("command.state")); // A polling node cannot be told: the result won the race.
        Assert.Equal("did it", ended.String("command.result"));
    }

    [Fact]
    public async Task LateResult_AfterExpiry_IsKeptBesideTheState()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo","ttl":5}""");
        await scene.Node.ReadAsync(scene.Poll);
        scene.Pass(TimeSpan.FromSeconds(5));
        await scene.Hub.SweepCommandsAsync();

        var late = await scene.AckAsync(id, """{"action":"complete","result":{"n":1}}""");

        Assert.Equal("EXPIRED", late.String("command.state"));
        Assert.Equal(1, late["command.lateResult"].GetProperty("result").GetProperty("n").GetInt32());
    }

    [Fact]
    public async Task LateResult_OfAStateTheHubDoesNotKnow_IsTakenAndDoesNotEndTheLink()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);
        await scene.CancelAsync(id);
        scene.Pass(TimeSpan.FromSeconds(10));
        await scene.Hub.SweepCommandsAsync();

        await link.SendAsync(RawNode.Commands(3, Outcome(id, (CommandState)99)));
        var ack = (await link.ReadUntilAsync(frame => frame.Ack is { Seq: 3 } || frame.Goodbye is not null)).Ack;

        Assert.Equal(3, ack.Seq);
    }

    [Fact]
    public async Task RejectedNoted_OfALaneTheHubDoesNotKnow_IsSetAsideAndDoesNotEndTheLink()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();

        await link.SendAsync(RawNode.Commands(1, new Entry { RejectedNoted = new() { Lane = (Lane)99, Seq = 1 } }));
        var ack = (await link.ReadUntilAsync(frame => frame.Ack is not null || frame.Goodbye is not null)).Ack;

        Assert.Equal("RECORD_INVALID", Assert.Single(ack.Rejected).Reason);
    }

    [Fact]
    public async Task Finish_NotInTime_IsLostAndALateResultIsKept()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link, """{"type":"echo","finish_within":"30s","max_attempts":3}""");

        scene.Pass(TimeSpan.FromSeconds(29));
        var before = await scene.StateAsync(id);
        scene.Pass(TimeSpan.FromSeconds(1));
        var after = await scene.StateAsync(id);
        await link.SendAsync(RawNode.Commands(3, Outcome(id, CommandState.Failed)));
        await link.ReadUntilAsync(frame => frame.Ack is { Seq: 3 });

        Assert.Equal("RUNNING", before);
        Assert.Equal("LOST FINISH_TIMEOUT", after);
        Assert.Equal("LOST FINISH_TIMEOUT", await scene.StateAsync(id));
        Assert.Equal("FAILED", (await scene.Owner.ReadAsync($"{scene.Commands}/{id}")).String("command.lateResult.state"));
    }

    [Theory]
    [InlineData(true, "QUEUED APPROVAL")]
    [InlineData(false, "REJECTED APPROVAL")]
    public async Task Approval_Decided_QueuesOrRejects(bool approve, string state)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        using var member = scene.Hub.As(await scene.Hub.UserTokenAsync("member@example.com", "Member"));
        var id = await scene.CreateAsync("""{"type":"echo","requires_approval":true}""");
        var unseen = (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength();

        (await member.WriteAsync($"{scene.Commands}/{id}/decide", new { approve = true })).Expect(403);
        (await scene.Owner.WriteAsync($"{scene.Commands}/{id}/decide", new { approve, reason = "since" })).Expect(200);
        var decided = await scene.StateAsync(id);
        var twice = await scene.Owner.WriteAsync($"{scene.Commands}/{id}/decide", new { approve });

        Assert.Equal(0, unseen);
        Assert.Equal(state, decided);
        Assert.Equal("COMMAND_NOT_AWAITING_APPROVAL", twice.Expect(409).Reason);
        Assert.Equal(approve ? 1 : 0, (await scene.Node.ReadAsync(scene.Poll))["commands"].GetArrayLength());
    }

    [Fact]
    public async Task Attempts_MoreThanOneAllowed_AFailureIsTriedAgainUntilTheyAreUsedUp()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo","max_attempts":2}""");

        await scene.Node.ReadAsync(scene.Poll);
        await scene.AckAsync(id, """{"action":"ack"}""");
        var first = await scene.AckAsync(id, """{"action":"fail","error":"once"}""");
        var repeatOfTheFirst = await scene.AckAsync(id, """{"action":"fail","error":"once","attempt":1}""");
        var served = await scene.Node.ReadAsync(scene.Poll);
        await scene.AckAsync(id, """{"action":"ack"}""");
        var second = await scene.AckAsync(id, """{"action":"fail","error":"twice"}""");

        Assert.Equal("QUEUED", first.String("command.state"));
        Assert.Equal(2, repeatOfTheFirst["command.attempt"].GetInt32());
        Assert.Equal("QUEUED", repeatOfTheFirst.String("command.state"));
        Assert.Equal(2, served["commands"][0].GetProperty("attempt").GetInt32());
        Assert.Equal("FAILED", second.String("command.state"));
        Assert.Equal("twice", second.String("command.error"));
        Assert.Equal(
            ["QUEUED", "OFFERED", "ACCEPTED", "FAILED NODE_FAILED", "QUEUED RETRY", "OFFERED", "ACCEPTED", "FAILED NODE_FAILED"],
            await scene.TimelineAsync(id));
    }

    [Fact]
    public async Task Attempts_OneAllowed_AFailureIsTheEnd()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo"}""");
        await scene.Node.ReadAsync(scene.Poll);

        var failed = await scene.AckAsync(id, $$"""{"action":"fail","error":"{{new string('x', 3_000)}}"}""");

        Assert.Equal("FAILED", failed.String("command.state"));
        Assert.Equal(2_000, failed.String("command.error").Length);
    }

    [Theory]
    [InlineData("journal", "INTERRUPTED NODE_RESTARTED")]
    [InlineData("another", "LOST JOURNAL_LOST")]
    public async Task Restart_RunningCommandTheNodeNoLongerNames_Ends(string journalId, string end)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        string id;
        await using (var first = await scene.ConnectAsync())
        {
            id = await scene.RunAsync(first);
        }

        await using var second = await scene.ConnectAsync(hello => AfterTwoEntries(hello, journalId, "restarted"));

        Assert.Equal(end, await scene.StateAsync(id));
    }

    [Theory]
    [InlineData(NodeCommandState.Running, Verdict.Keep, "RUNNING")]
    [InlineData(NodeCommandState.Finished, Verdict.Keep, "RUNNING")]
    public async Task Reconnect_RunningCommandTheNodeStillHolds_GoesOn(NodeCommandState held, Verdict verdict, string state)
    {
        await using var scene = await Scene.SetAsync(Fixture);
        string id;
        await using (var first = await scene.ConnectAsync())
        {
            id = await scene.RunAsync(first);
        }

        await using var second = await RawNode.ConnectAsync(scene.Hub, scene.Credential, change: hello =>
        {
            AfterTwoEntries(hello, "journal", "instance");
            hello.Running.Add(new RunningCommand { CommandId = id, Attempt = 1, State = held });
        });
        var welcome = (await second.ReadAsync()).Welcome;

        Assert.Equal((id, verdict), (Assert.Single(welcome.Commands).CommandId, welcome.Commands[0].Verdict));
        Assert.Equal(state, await scene.StateAsync(id));
    }

    [Fact]
    public async Task Reconnect_CopyOfTheNodeFromBeforeItStarted_DoesNotStartTheAttemptAgain()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("{\"type\":\"echo\"}");
        await using (var first = await scene.ConnectAsync())
        {
            await first.ReadUntilAsync(frame => frame.Offer is not null);
            await first.SendAsync(RawNode.Commands(1, Accepted(id)));
            Assert.Equal(Verdict.Keep, (await first.ReadUntilAsync(frame => frame.Ack is not null)).Ack.Commands[0].Verdict);
        }

        await using (var original = await HoldingAsync(scene, id, NodeCommandState.Finished))
        {
            Assert.Equal(Verdict.Keep, (await original.ReadAsync()).Welcome.Commands[0].Verdict);
            Assert.Equal("RUNNING", await scene.StateAsync(id)); // It started, as the node says, if its outcome is still to come.
        }

        await using var copy = await HoldingAsync(scene, id, NodeCommandState.Accepted);
        Assert.Equal(Verdict.Forget, (await copy.ReadAsync()).Welcome.Commands[0].Verdict);
        await copy.SendAsync(RawNode.Commands(2, Accepted(id)));
        Assert.Equal(Verdict.Forget, (await copy.ReadUntilAsync(frame => frame.Ack is not null)).Ack.Commands[0].Verdict);
        Assert.Equal("INTERRUPTED NODE_RESTARTED", await scene.StateAsync(id));

        static Task<RawNode> HoldingAsync(Scene scene, string id, NodeCommandState state) => RawNode.ConnectAsync(
            scene.Hub,
            scene.Credential,
            change: hello =>
            {
                AfterEntries(hello, "journal", "instance", 1);
                hello.Running.Add(new RunningCommand { CommandId = id, Attempt = 1, State = state });
            });
    }

    [Fact]
    public async Task Command_CreatedWhereItsHostWasTakenOver_WaitsForTheLinkThatIs()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        await scene.Hub.Store.WriteAsync(HubHost.Team, tx => tx.RaiseEpoch(scene.HostId)); // As another replica does.

        var id = await scene.CreateAsync("{\"type\":\"echo\"}");

        Assert.Equal("QUEUED", await scene.StateAsync(id));
        Assert.Equal(GoodbyeReason.TakenOver, (await link.ReadUntilAsync(frame => frame.Goodbye is not null)).Goodbye.Reason);
        await using var next = await scene.ConnectAsync(hello => AfterEntries(hello, "journal", "instance", 0));
        Assert.Equal(id, (await next.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId);
    }

    [Fact]
    public async Task Commands_CreatedTogetherAndOneAwaitsApproval_OnlyTheOtherIsOfferedAtOnce()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var creation = scene.Hub.Service<CommandCreation>();
        var host = new HostAccess(HubHost.Team, scene.HostId, new Principal.ApiKey(HubHost.Team, "key-1", TeamRole.Member));

        var writer = await scene.Hub.Store.HoldWriterAsync(HubHost.Team);
        var creatingHeld = CreateAsync(requiresApproval: true);
        var creatingFree = CreateAsync(requiresApproval: false);
        await writer.DisposeAsync();
        var held = (await creatingHeld.Within()).Command.CommandId;
        var free = (await creatingFree.Within()).Command.CommandId;

        var rows = await scene.Hub.Store.QueryAsync<CommandRow>(
            TeamScope.Of(HubHost.Team), $"select {CommandRow.Columns} from commands c");
        Assert.Equal(
            new HashSet<(string, string)> { (held, "AWAITING_APPROVAL"), (free, "OFFERED") },
            rows.Select(row => (row.CommandId, row.State)).ToHashSet());
        Assert.Equal(free, (await link.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId);
        (await scene.Owner.WriteAsync($"/api/approvals/{held}/decide", new { decision = "approve" })).Expect(200);
        Assert.Equal(held, (await link.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId);

        Task<(CommandRow Command, bool Created)> CreateAsync(bool requiresApproval) => creation.CreateAsync(
            host, new CreateCommandRequest { Type = "echo", RequiresApproval = requiresApproval }, null, "", CancellationToken.None);
    }

    [Fact]
    public async Task Contact_LostWhileTheNodeHoldsACommand_ShowsSinceWhenAndChangesNothing()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        string id;
        await using (var link = await scene.ConnectAsync())
        {
            id = await scene.RunAsync(link);
        }

        await using var other = await scene.ConnectAsync(hello =>
        {
            AfterTwoEntries(hello, "journal", "instance");
            hello.Running.Add(new RunningCommand { CommandId = id, Attempt = 1, State = NodeCommandState.Running });
        });
        scene.Pass(TimeSpan.FromSeconds(45));
        await scene.Hub.SweepPresenceAsync();

        var command = (await scene.Owner.ReadAsync($"{scene.Commands}/{id}"))["command"];
        Assert.Equal("RUNNING", command.GetProperty("state").GetString());
        Assert.Equal(scene.Time.GetUtcNow(), command.GetProperty("contactLostSince").GetDateTimeOffset());
    }

    [Fact]
    public async Task Result_LargerThanALinkTakes_IsPutBeforeTheOutcome()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);
        var large = new string('x', (8 * 1024 * 1024) - 1024);

        (await scene.Node.CallAsync(HttpMethod.Put, $"{scene.Commands}/{id}/result", new { result = large })).Expect(200);
        await link.SendAsync(RawNode.Commands(3, new Entry { CommandOutcome = new() { CommandId = id, Attempt = 1, State = CommandState.Succeeded } }));
        await link.ReadUntilAsync(frame => frame.Ack is { Seq: 3 });

        var command = await scene.Owner.ReadAsync($"{scene.Commands}/{id}");
        Assert.Equal("SUCCEEDED", command.String("command.state"));
        Assert.Equal(large, command.String("command.result"));
    }

    [Fact]
    public async Task Result_PutByItself_IsToldToThoseWhoWatch()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);
        using var watch = new WatchService.WatchServiceClient(scene.Hub.Channel).Watch(
            new WatchRequest { Cursor = "now", Kinds = { WatchKind.Command } }, HubHost.With(await scene.Hub.UserTokenAsync()));
        await watch.ResponseHeadersAsync.Within();

        (await scene.Node.CallAsync(HttpMethod.Put, $"{scene.Commands}/{id}/result", new { result = "large" })).Expect(200);

        HostCommand? seen = null;
        while (seen?.Result is null)
        {
            Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None).Within());
            seen = watch.ResponseStream.Current.Command;
        }

        Assert.Equal((id, CommandState.Running, "large"), (seen.Id, seen.State, seen.Result.StringValue));
    }

    [Fact]
    public async Task Commands_OnALink_TakeACommitForHelloAndThreeEach()
    {
        var commits = 0;
        var options = await Fixture.CreateDatabaseAsync() with { FaultInjector = step => Interlocked.Add(ref commits, step == WriteStep.AfterCommit ? 1 : 0) };
        await using var hub = await HubHost.StartAsync(Fixture, options, new ManualTimeProvider());
        var (hostId, credential) = await hub.ClaimAsync();
        using var owner = hub.As(await hub.UserTokenAsync());
        var before = Volatile.Read(ref commits);

        await using var link = await RawNode.ConnectAsync(hub, credential);
        await link.ReadUntilAsync(frame => frame.Welcome is not null);
        for (var seq = 1; seq <= 3; seq += 2)
        {
            (await owner.WriteAsync($"/api/hosts/{hostId}/commands", "{\"type\":\"echo\"}")).Expect(201);
            var id = (await link.ReadUntilAsync(frame => frame.Offer is not null)).Offer.CommandId;
            await link.SendAsync(RawNode.Commands(seq, Accepted(id)));
            await link.ReadUntilAsync(frame => frame.Ack?.Seq == seq);
            await link.SendAsync(RawNode.Commands(seq + 1, Outcome(id, CommandState.Succeeded)));
            await link.ReadUntilAsync(frame => frame.Ack?.Seq == seq + 1);
        }

        Assert.Equal(1 + (2 * 3), Volatile.Read(ref commits) - before); // Created and offered, accepted, done.
    }

    [Fact]
    public async Task Command_OfferedAsItIsCreated_IsOneChangeToWatchersAndTwoEntriesOfItsTimeline()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();

        var id = await scene.CreateAsync("{\"type\":\"echo\"}");
        await link.ReadUntilAsync(frame => frame.Offer is not null);

        Assert.Equal(1, await scene.Hub.Store.QuerySingleAsync<long>(
            TeamScope.Of(HubHost.Team), "select count(*) from events where entity_id = @id", new { id }));
        Assert.Equal(["QUEUED", "OFFERED"], await scene.TimelineAsync(id));
    }

    [Fact]
    public async Task Attempt_ThatFailedAndMayBeRepeated_IsOfferedAgainOnTheLink()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link, "{\"type\":\"echo\",\"max_attempts\":2}");

        await link.SendAsync(RawNode.Commands(3, Outcome(id, CommandState.Failed)));

        var again = (await link.ReadUntilAsync(frame => frame.Offer is not null)).Offer;
        Assert.Equal((id, 2), (again.CommandId, again.Attempt));
    }

    [Fact]
    public async Task Result_Over8MiB_Is413()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        var id = await scene.CreateAsync("""{"type":"echo"}""");

        var answer = await scene.Node.CallAsync(HttpMethod.Put, $"{scene.Commands}/{id}/result", new { result = new string('x', 8 * 1024 * 1024) });

        answer.Expect(413);
    }

    [Fact]
    public async Task Timeline_ShowsEveryTransitionWithItsTime()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var link = await scene.ConnectAsync();
        var id = await scene.RunAsync(link);
        scene.Pass(TimeSpan.FromSeconds(3));
        await link.SendAsync(RawNode.Commands(3, Outcome(id, CommandState.Succeeded)));
        await link.ReadUntilAsync(frame => frame.Ack is { Seq: 3 });

        var timeline = (await scene.Owner.ReadAsync($"{scene.Commands}/{id}"))["command.timeline"];

        Assert.Equal(["QUEUED", "OFFERED", "ACCEPTED", "RUNNING", "SUCCEEDED"], await scene.TimelineAsync(id));
        Assert.Equal(scene.Time.GetUtcNow(), timeline[4].GetProperty("at").GetDateTimeOffset());
        Assert.Equal(TimeSpan.FromSeconds(3), timeline[4].GetProperty("at").GetDateTimeOffset() - timeline[3].GetProperty("at").GetDateTimeOffset());
    }

    protected static Entry Accepted(string id) => new() { CommandAccepted = new() { CommandId = id, Attempt = 1 } };

    private static Entry Outcome(string id, CommandState state) =>
        new() { CommandOutcome = new() { CommandId = id, Attempt = 1, State = state, Result = Value.ForString("did it") } };

    /// <summary>Hello of a node whose journal numbered two entries of the commands lane and lost nothing of them.</summary>
    private static void AfterTwoEntries(Hello hello, string journalId, string instanceId) => AfterEntries(hello, journalId, instanceId, 2);

    private static void AfterEntries(Hello hello, string journalId, string instanceId, long acked)
    {
        (hello.JournalId, hello.InstanceId, hello.JournalEpoch) = (journalId, instanceId, 1);
        hello.Upstream.Add(new UpstreamPosition { Lane = Lane.Commands, FirstSeq = acked + 1, LastSeq = acked });
    }

    /// <summary>A Hub whose clock stands still, a host, its node and a person.</summary>
    private protected sealed class Scene(
        StoreFixture fixture, StoreOptions options, HubHost hub, ManualTimeProvider time, string hostId, string credential, HttpClient owner) : IAsyncDisposable
    {
        public HubHost Hub => hub;

        public ManualTimeProvider Time => time;

        public string HostId => hostId;

        public string Credential => credential;

        public HttpClient Owner => owner;

        public HttpClient Node { get; } = hub.As(credential);

        public string Commands { get; } = $"/api/hosts/{hostId}/commands";

        public string Poll => $"{Commands}?status=pending";

        public static async Task<Scene> SetAsync(StoreFixture fixture)
        {
            var time = new ManualTimeProvider();
            var options = await fixture.CreateDatabaseAsync();
            var hub = await HubHost.StartAsync(fixture, options, time);
            var (hostId, credential) = await hub.ClaimAsync();
            return new Scene(fixture, options, hub, time, hostId, credential, hub.As(await hub.UserTokenAsync()));
        }

        /// <summary>Another Hub on the same database.</summary>
        public Task<HubHost> StartReplicaAsync() => HubHost.StartAsync(fixture, options, time);

        /// <summary>Moves the clock but not the Hub's timers: what is due happens when the test sweeps, and only then.</summary>
        public void Pass(TimeSpan span) => time.SetClock(time.GetUtcNow() + span);

        public async Task<RawNode> ConnectAsync(Action<Hello>? change = null)
        {
            var node = await RawNode.ConnectAsync(hub, credential, change: change);
            Assert.NotNull((await node.ReadAsync()).Welcome);
            return node;
        }

        public async Task<string> CreateAsync(string body) => (await owner.WriteAsync(Commands, body)).Expect(201).String("command.id");

        /// <summary>Creates a command and brings it to RUNNING with the link's first two entries.</summary>
        public async Task<string> RunAsync(RawNode link, string body = """{"type":"echo"}""")
        {
            var id = await CreateAsync(body);
            await link.ReadUntilAsync(frame => frame.Offer is not null);
            await link.SendAsync(RawNode.Commands(1, Accepted(id), new Entry { CommandStarted = new() { CommandId = id, Attempt = 1 } }));
            await link.ReadUntilAsync(frame => frame.Ack is not null);
            return id;
        }

        public Task<RestAnswer> AckAsync(string id, string body) => Node.WriteAsync($"{Commands}/{id}/ack", body);

        public Task<RestAnswer> CancelAsync(string id) => owner.WriteAsync($"{Commands}/{id}/cancel", new { reason = "why" });

        /// <summary>State and reason as they are once the Hub has looked at its clock.</summary>
        public async Task<string> StateAsync(string id)
        {
            await hub.SweepCommandsAsync();
            return Words((await owner.ReadAsync($"{Commands}/{id}"))["command"]);
        }

        public async Task<string[]> TimelineAsync(string id) =>
            [.. (await owner.ReadAsync($"{Commands}/{id}"))["command.timeline"].EnumerateArray().Select(Words)];

        public async Task<int> CountAsync() => (await owner.ReadAsync(Commands))["commands"].GetArrayLength();

        public async ValueTask DisposeAsync()
        {
            Node.Dispose();
            owner.Dispose();
            await hub.DisposeAsync();
        }

        private static string Words(JsonElement step)
        {
            var reason = step.GetProperty("reason").GetString();
            return reason == "UNSPECIFIED" ? step.GetProperty("state").GetString()! : $"{step.GetProperty("state").GetString()} {reason}";
        }
    }
}

public sealed class SqliteCommandTests(SqliteStoreFixture fixture) : CommandTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresCommandTests(PostgresStoreFixture fixture) : CommandTests(fixture), IClassFixture<PostgresStoreFixture>
{
    [Fact]
    public async Task Chat_SentOnAnotherReplicaThanTheLink_ReachesTheNode()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var there = await scene.StartReplicaAsync();
        await using var link = await scene.ConnectAsync();
        using var you = there.As(await there.UserTokenAsync());

        (await you.WriteAsync($"/api/hosts/{scene.HostId}/chat", new { content = "hello" })).Expect(201);
        await scene.Hub.SweepCommandsAsync();

        var batch = (await link.ReadUntilAsync(frame => frame.Batch is not null)).Batch;
        Assert.Equal("hello", batch.Entries[0].Chat.Content);
    }

    [Fact]
    public async Task Cancel_OnAnotherReplicaThanTheLink_ReachesTheNode()
    {
        await using var scene = await Scene.SetAsync(Fixture);
        await using var there = await scene.StartReplicaAsync();
        await using var link = await scene.ConnectAsync();
        using var you = there.As(await there.UserTokenAsync());
        var id = (await you.WriteAsync(scene.Commands, "{\"type\":\"echo\"}")).Expect(201).String("command.id");
        await scene.Hub.SweepCommandsAsync();
        await link.ReadUntilAsync(frame => frame.Offer is not null);
        await link.SendAsync(RawNode.Commands(1, Accepted(id)));
        await link.ReadUntilAsync(frame => frame.Ack?.Seq == 1);

        (await you.WriteAsync($"{scene.Commands}/{id}/cancel", new { reason = "why" })).Expect(200);
        await scene.Hub.SweepCommandsAsync();

        Assert.Equal(id, (await link.ReadUntilAsync(frame => frame.Cancel is not null)).Cancel.CommandId);
    }
}
