using System.Collections.Concurrent;
using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.AgentClient.Internal;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.AgentClient.Tests;

public sealed class HubLinkTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private readonly ConcurrentQueue<LinkState> _states = new();
    private ScriptedServer _server = null!;

    public async ValueTask InitializeAsync() => _server = await ScriptedServer.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _directory.Dispose();
    }

    [Fact]
    public async Task Start_WithJoinToken_ClaimsStoresTheCredentialAndLinks()
    {
        await using var link = Link();
        await link.StartAsync();
        await _server.NextLinkAsync();

        Assert.Equal("hcred_1", await File.ReadAllTextAsync(_directory.File("credential")));
        if (!OperatingSystem.IsWindows())
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_directory.File("credential")));
        }
    }

    [Fact]
    public async Task Start_AfterARestart_UsesTheStoredCredential()
    {
        await using (var first = Link())
        {
            await first.StartAsync();
            await _server.NextLinkAsync();
        }

        await using var second = Link();
        await second.StartAsync();
        await _server.NextLinkAsync();
        Assert.Equal(1, _server.Claims);
    }

    [Fact]
    public async Task Handle_OneCommandTypeMoreThanTheBound_IsRefused()
    {
        await using var link = Link();
        for (var i = 0; i < HubLink.CommandTypesMax; i++)
        {
            link.Handle($"{i}", _ => Task.FromResult<JsonNode?>(null));
        }

        Assert.Throws<InvalidOperationException>(() => link.Handle("more", _ => Task.FromResult<JsonNode?>(null)));
    }

    [Fact]
    public async Task Publish_BeforeTheHubIsThere_IsFlushedLater()
    {
        await using var link = Link();
        await link.StartAsync();
        await link.PublishTaskAsync(SessionFixture.Task("t1"));
        await link.FlushAsync().Within();
        Assert.Equal(["t1"], _server.Hub.Tasks.Keys);
    }

    [Fact]
    public async Task RecordAcked_OfARecord_ComesBeforeTheFlushEnds()
    {
        var acked = new ConcurrentQueue<RecordAcked>();
        await using var link = Link();
        link.RecordAcked += acked.Enqueue;
        await link.StartAsync();
        await link.SendChatAsync(new ChatMessage { Id = "m1", Content = "hello" });
        await link.FlushAsync().Within();
        Assert.Contains(new RecordAcked(RecordKind.Chat, "m1", 0), acked);
    }

    [Fact]
    public async Task Command_Offered_RunsAndAnswers()
    {
        await using var link = Link();
        link.Handle("double", context => Task.FromResult<JsonNode?>(context.Payload["n"]!.GetValue<double>() * 2));
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "double", Struct.Parser.ParseJson("""{"n": 21}"""));

        var outcome = await hub.NextOutcomeAsync();
        Assert.Equal((CommandState.Succeeded, 42), (outcome.State, outcome.Result.NumberValue));
    }

    [Fact]
    public async Task Command_HandlerThrows_Fails()
    {
        await using var link = Link();
        link.Handle("bad", _ => throw new InvalidDataException("no such agent"));
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "bad");

        var outcome = await hub.NextOutcomeAsync();
        Assert.Equal((CommandState.Failed, "no such agent"), (outcome.State, outcome.Error));
    }

    [Fact]
    public async Task Command_Cancelled_StopsTheHandler()
    {
        await using var link = Link();
        var runs = new TaskCompletionSource();
        link.Handle("wait", async context =>
        {
            runs.SetResult();
            await context.CancellationToken.UntilCancelledAsync();
            return null;
        });
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "wait");
        await runs.Task.Within();
        hub.Send(new ConnectResponse { Cancel = new CommandCancel { CommandId = "c1", Attempt = 1 } });

        Assert.Equal(CommandState.Cancelled, (await hub.NextOutcomeAsync()).State);
    }

    [Fact]
    public async Task Command_LargeResult_IsUploaded()
    {
        await using var link = Link();
        link.Handle("big", _ => Task.FromResult<JsonNode?>(new string('x', NodeSession.InlineResultBytesMax)));
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "big");
        Assert.Null((await hub.NextOutcomeAsync()).Result);

        var upload = await _server.NextResultAsync();
        Assert.Equal(("c1", NodeSession.InlineResultBytesMax), (upload.CommandId, upload.Result.StringValue.Length));
    }

    [Fact]
    public async Task Dispose_WhileACommandRuns_ReportsItInterrupted()
    {
        var runs = new TaskCompletionSource();
        var link = Link();
        link.Handle("wait", async context =>
        {
            runs.SetResult();
            await context.CancellationToken.UntilCancelledAsync();
            return null;
        });
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "wait");
        await runs.Task.Within();
        await link.DisposeAsync().AsTask().Within();

        Assert.Equal(CommandState.Interrupted, (await hub.NextOutcomeAsync()).State);
        Assert.True(link.Completion.IsCompleted);
    }

    [Fact]
    public async Task Chat_Down_ReachesTheHandlerInOrder()
    {
        var received = new ConcurrentQueue<string>();
        var all = new TaskCompletionSource();
        _server.Hub.ChatDown.AddRange([new ChatMessage { Id = "m1" }, new ChatMessage { Id = "m2" }]);
        await using var link = Link();
        link.OnChat((message, _) =>
        {
            received.Enqueue(message.Id);
            if (message.Id == "m2")
            {
                all.SetResult();
            }

            return Task.CompletedTask;
        });
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Send(_server.Hub.ChatBatch(1, 2));
        await all.Task.Within();

        Assert.Equal(2, (await hub.NextAsync(frame => frame.Ack is not null)).Ack.Seq);
        Assert.Equal(["m1", "m2"], received);
    }

    [Fact]
    public async Task Stream_Breaks_DialsAgainAndResumes()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        WaitNever(link, time);
        await link.StartAsync();
        var first = await _server.NextLinkAsync();
        first.Answers = false;
        await link.PublishTaskAsync(SessionFixture.Task("t1"));
        await first.NextAsync(frame => frame.Batch is not null);
        first.Break();
        await _server.NextLinkAsync();
        await link.FlushAsync().Within();

        Assert.Equal(["t1"], _server.Hub.Tasks.Keys);
        Assert.Equal(1, _server.Hub.Stored(Lane.Data));
    }

    [Fact]
    public async Task Silence_LongerThanTheWatchdog_DialsAgain()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        var online = Reaches(link, LinkPhase.Online);
        WaitNever(link, time);
        await link.StartAsync();
        await _server.NextLinkAsync();
        await online.Within();
        time.Advance(NodeLink.SilenceMax);
        await _server.NextLinkAsync();
        Assert.Contains(_states, state => state.Reason == new LinkEnd.Silent().ToString());
    }

    [Fact]
    public async Task Unauthenticated_WithJoinToken_ClaimsAgain()
    {
        await File.WriteAllTextAsync(_directory.File("credential"), "hcred_of_another_database");
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        WaitNever(link, time);
        await link.StartAsync();
        await _server.NextLinkAsync();

        Assert.Equal(1, _server.Claims);
        Assert.Equal("hcred_1", await File.ReadAllTextAsync(_directory.File("credential")));
    }

    [Fact]
    public async Task Claim_HubIsNotReady_IsTriedAgain()
    {
        _server.ClaimFailures.Enqueue(StatusCode.Unavailable);
        _server.ClaimFailures.Enqueue(StatusCode.Internal);
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        WaitNever(link, time);
        await link.StartAsync();
        await _server.NextLinkAsync();
        Assert.Equal(1, _server.Claims);
    }

    [Fact]
    public async Task Unauthenticated_JoinTokenIsSpent_FindsTheCredentialGoodAgain()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time, joinToken: "hjoin_spent", credential: "hcred_later");
        var refusals = 0;
        link.StateChanged += state =>
        {
            if (state.Phase is LinkPhase.Waiting && ++refusals == 3)
            {
                _server.ValidCredentials["Bearer hcred_later"] = true;
            }
        };
        WaitNever(link, time);
        await link.StartAsync();
        await _server.NextLinkAsync();
        Assert.Equal(0, _server.Claims);
    }

    [Fact]
    public async Task Unauthenticated_WithoutJoinToken_KeepsTryingForEver()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time, joinToken: null, credential: "hcred_later");
        var refusals = 0;
        link.StateChanged += state =>
        {
            if (state.Phase is LinkPhase.Waiting && ++refusals == 20)
            {
                _server.ValidCredentials["Bearer hcred_later"] = true;
            }
        };
        WaitNever(link, time);
        await link.StartAsync();
        await _server.NextLinkAsync();
        Assert.Equal(20, refusals);
    }

    [Theory]
    [InlineData(GoodbyeReason.Revoked)]
    [InlineData(GoodbyeReason.Deleted)]
    public async Task Goodbye_ForGood_StopsTheLink(GoodbyeReason reason)
    {
        await using var link = Link();
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Send(new ConnectResponse { Goodbye = new Goodbye { Reason = reason } });

        Assert.Contains(reason.ToString(), await link.Completion.Within());
        await link.PublishTaskAsync(SessionFixture.Task("t1"));
        await Assert.ThrowsAsync<InvalidOperationException>(() => link.FlushAsync().Within());
    }

    [Fact]
    public async Task Goodbye_TakenOver_Waits30Seconds()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        var waiting = Reaches(link, LinkPhase.Waiting);
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Send(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.TakenOver } });

        Assert.Equal(time.GetUtcNow() + TimeSpan.FromSeconds(30), (await waiting.Within()).Until);
    }

    [Fact]
    public async Task Drain_EverythingSent_LeavesAndWaitsTheDelay()
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        var waiting = Reaches(link, LinkPhase.Waiting);
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Send(new ConnectResponse { Drain = new Drain { ReconnectAfter = Duration.FromTimeSpan(TimeSpan.FromSeconds(7)) } });

        Assert.Equal(time.GetUtcNow() + TimeSpan.FromSeconds(7), (await waiting.Within()).Until);
        await hub.Ended.Within();
    }

    [Theory]
    [InlineData(Ending.Goodbye)]
    [InlineData(Ending.EndOfStream)]
    [InlineData(Ending.Silence)]
    public async Task Drain_TheLinkEndsLater_TheDelayCountsFromTheDrain(Ending ending)
    {
        var time = new ManualTimeProvider();
        await using var link = Link(time);
        var waiting = Reaches(link, LinkPhase.Waiting);
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Answers = false;
        await link.PublishTaskAsync(SessionFixture.Task("t1")); // A node does not leave by itself while something is unacknowledged.
        await hub.NextAsync(frame => frame.Batch is not null);
        var told = TimeSpan.FromSeconds(60);
        var comesBack = time.GetUtcNow() + told;

        hub.Send(new ConnectResponse { Drain = new Drain { ReconnectAfter = Duration.FromTimeSpan(told) } });
        hub.Offer("c1", "unknown");
        await hub.NextAsync(frame => frame.Batch?.Lane is Lane.Commands); // The answer to what came after the Drain.
        time.Advance(ending is Ending.Silence ? NodeLink.SilenceMax : TimeSpan.FromSeconds(5));
        if (ending is Ending.Goodbye)
        {
            hub.Send(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.Drain, RetryAfter = Duration.FromTimeSpan(told) } });
        }
        else if (ending is Ending.EndOfStream)
        {
            hub.Break();
        }

        Assert.Equal(comesBack, (await waiting.Within()).Until);
    }

    [Fact]
    public async Task NewCredential_IsStoredBeforeItIsConfirmed()
    {
        await using var link = Link();
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        hub.Send(new ConnectResponse { NewCredential = new NewCredential { CredentialId = "r1", Token = "hcred_rotated" } });

        var confirmed = await hub.NextAsync(frame => frame.CredentialStored is not null);
        Assert.Equal("r1", confirmed.CredentialStored.CredentialId);
        Assert.Equal("hcred_rotated", await File.ReadAllTextAsync(_directory.File("credential")));
    }

    [Fact]
    public async Task JournalNew_WithSource_SendsTheSourcesRecords()
    {
        await using var link = new HubLink(new HubLinkOptions
        {
            HubUrl = _server.Address,
            StateDirectory = _directory.Path,
            JoinToken = "hjoin_good",
            SnapshotSource = _ => Enumerable.Range(0, 500).Select(i => SessionFixture.Task($"t{i}")).ToAsyncEnumerable(),
        });
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        await hub.NextAsync(frame => frame.Batch?.Entries.Any(entry => entry.SnapshotEnd is not null) == true);
        Assert.Equal(500, _server.Hub.Tasks.Count);
    }

    [Fact]
    public async Task Heartbeat_AfterWelcome_CarriesTheStatus()
    {
        await using var link = new HubLink(new HubLinkOptions
        {
            HubUrl = _server.Address,
            StateDirectory = _directory.Path,
            JoinToken = "hjoin_good",
            Status = () => new JsonObject { ["agents"] = 3 },
        });
        await link.StartAsync();
        var hub = await _server.NextLinkAsync();
        var heartbeat = await hub.NextAsync(frame => frame.Heartbeat is not null);
        Assert.Equal(3, heartbeat.Heartbeat.Status.Fields["agents"].NumberValue);
    }

    [Fact]
    public void Options_PlainHttpOffLoopback_IsRefused()
    {
        var plain = new HubLinkOptions { HubUrl = new Uri("http://hub.example:5081"), StateDirectory = _directory.Path };
        Assert.Throws<ArgumentException>(() => new HubLink(plain));
    }

    private HubLink Link(TimeProvider? time = null, string? joinToken = "hjoin_good", string? credential = null)
    {
        var link = new HubLink(new HubLinkOptions
        {
            HubUrl = _server.Address,
            StateDirectory = _directory.Path,
            JoinToken = joinToken,
            Credential = credential,
            TimeProvider = time ?? TimeProvider.System,
            RandomSeed = 7,
        });
        link.StateChanged += _states.Enqueue;
        return link;
    }

    // Moves the clock over every wait between two links.
    private static void WaitNever(HubLink link, ManualTimeProvider time) => link.StateChanged += state =>
    {
        if (state is { Phase: LinkPhase.Waiting, Until: { } until })
        {
            time.Advance(until - time.GetUtcNow());
        }
    };

    public enum Ending
    {
        Goodbye,
        EndOfStream,
        Silence,
    }

    private static Task<LinkState> Reaches(HubLink link, LinkPhase phase)
    {
        var reached = new TaskCompletionSource<LinkState>(TaskCreationOptions.RunContinuationsAsynchronously);
        link.StateChanged += state =>
        {
            if (state.Phase == phase)
            {
                reached.TrySetResult(state);
            }
        };
        return reached.Task;
    }
}
