using System.Text.Json.Nodes;
using Google.Protobuf.WellKnownTypes;
using Hub.AgentClient.Node;
using Hub.Contracts.V1;
using Hub.TestKit;

namespace Hub.AgentClient.Tests;

public sealed class NodeProgramTests : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private readonly CancellationTokenSource _sigterm = new();
    private ScriptedServer _server = null!;

    public async ValueTask InitializeAsync() => _server = await ScriptedServer.StartAsync();

    public async ValueTask DisposeAsync()
    {
        await _server.DisposeAsync();
        _sigterm.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Lines_PublishAndFlush_AreAnsweredInOrder()
    {
        var output = new StringWriter();
        var exit = await RunAsync("task t1 doing Write the report\nchat hello there\nnonsense\nflush\nquit\n", output).Within();

        var answers = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        Assert.Equal(0, exit);
        Assert.Equal(["ok task t1", "ok chat", "error expected:", "ok flush", "ok quit"], answers.Zip([10, 7, 15, 8, 7], (answer, length) => answer[..length]));
        Assert.Equal("Write the report", _server.Hub.Tasks["t1"].Delta.Task.Title);
        Assert.Equal("hello there", Assert.Single(_server.Hub.ChatUp).Content);
    }

    [Fact]
    public async Task AckLog_AfterFlush_HoldsEveryAckedRecord()
    {
        await RunAsync("task t1 doing One\nflush\ndelete t1\nflush\nquit\n", new StringWriter()).Within();
        var lines = await File.ReadAllLinesAsync(_directory.File("acks"));
        Assert.Equal(["task t1", "task_deleted t1"], lines.Select(line => line[..line.LastIndexOf(' ')]));
    }

    [Fact]
    public async Task PublishTasks_AtTheStart_SendsThatMany()
    {
        await RunAsync("flush\nquit\n", new StringWriter(), publishTasks: 1_500).Within();
        Assert.Equal(1_500, _server.Hub.Tasks.Count);
    }

    [Fact]
    public async Task Append_Command_WritesTheSideEffect()
    {
        var running = RunAsync("", new StringWriter());
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", "append");
        Assert.Equal(CommandState.Succeeded, (await hub.NextOutcomeAsync()).State);
        Assert.Equal(["c1 1"], await File.ReadAllLinesAsync(_directory.File("effects")));
        await _sigterm.CancelAsync();
        Assert.Equal(0, await running.Within());
    }

    [Theory]
    [InlineData("echo", """{"a": [1, "x"]}""", """{"a":[1,"x"]}""")]
    [InlineData("sleep", """{"ms": 5}""", """{"slept_ms":5}""")]
    [InlineData("shell", """{"command": "printf out; printf err >&2; exit 3"}""", """{"exit_code":3,"stdout":"out","stderr":"err"}""")]
    public async Task Command_BuiltIn_Answers(string type, string payload, string expected)
    {
        var running = RunAsync("", new StringWriter(), allowShell: true);
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", type, Struct.Parser.ParseJson(payload));
        var outcome = await hub.NextOutcomeAsync();

        Assert.Equal(CommandState.Succeeded, outcome.State);
        Assert.True(JsonNode.DeepEquals(JsonNode.Parse(expected), JsonNode.Parse(Google.Protobuf.JsonFormatter.Default.Format(outcome.Result))));
        await _sigterm.CancelAsync();
        await running.Within();
    }

    [Theory]
    [InlineData("context_sync", "{}", CommandState.Failed)]
    [InlineData("context_sync", """{"agent": "scout"}""", CommandState.Succeeded)]
    [InlineData("sleep", """{"ms": -1}""", CommandState.Failed)]
    [InlineData("shell", """{"command": "sleep 100", "timeout_ms": 50}""", CommandState.Failed)]
    public async Task Command_BuiltIn_ChecksItsPayload(string type, string payload, CommandState expected)
    {
        var running = RunAsync("", new StringWriter(), allowShell: true);
        var hub = await _server.NextLinkAsync();
        hub.Offer("c1", type, Struct.Parser.ParseJson(payload));
        Assert.Equal(expected, (await hub.NextOutcomeAsync()).State);
        await _sigterm.CancelAsync();
        await running.Within();
    }

    [Fact]
    public async Task Shell_NotAllowed_IsRejected()
    {
        var running = RunAsync("", new StringWriter());
        var hub = await _server.NextLinkAsync();
        Assert.DoesNotContain("shell", hub.Hello.CommandTypes);
        hub.Offer("c1", "shell");
        Assert.Equal(CommandState.Rejected, (await hub.NextOutcomeAsync()).State);
        await _sigterm.CancelAsync();
        await running.Within();
    }

    [Fact]
    public async Task Revoked_Node_EndsWithAnError()
    {
        var running = RunAsync("", new StringWriter());
        var hub = await _server.NextLinkAsync();
        hub.Send(new ConnectResponse { Goodbye = new Goodbye { Reason = GoodbyeReason.Revoked } });
        Assert.Equal(1, await running.Within());
    }

    [Theory]
    [InlineData("run", "--hub", "ftp://somewhere")]
    [InlineData("run", "--publish-tasks", "-1")]
    public void CommandLine_BadValue_IsRefused(params string[] args) => Assert.NotEmpty(NodeCommandLine.Build().Parse(args).Errors);

    private Task<int> RunAsync(string lines, StringWriter output, int publishTasks = 0, bool allowShell = false)
    {
        var options = new NodeOptions
        {
            HubUrl = _server.Address,
            JoinToken = "hjoin_good",
            StateDirectory = _directory.File("state"),
            AllowShell = allowShell,
            SideEffectsFile = _directory.File("effects"),
            AckLogFile = _directory.File("acks"),
            PublishTasks = publishTasks,
        };
        return NodeProgram.RunAsync(options, new StringReader(lines), output, _sigterm.Token);
    }
}
