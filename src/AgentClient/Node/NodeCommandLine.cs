using System.CommandLine;

namespace Hub.AgentClient.Node;

/// <summary>The command line: options, their defaults from the environment, and their help.</summary>
internal static class NodeCommandLine
{
    private const int PublishTasksMax = 1_000_000;

    /// <summary>SIGTERM and Ctrl+C cancel the action, which then has this long to end cleanly.</summary>
    public static InvocationConfiguration Invocation => new() { ProcessTerminationTimeout = TimeSpan.FromSeconds(15) };

    public static RootCommand Build()
    {
        var hub = new Option<string>("--hub")
        {
            Description = "Address of the Hub's gRPC listener, such as http://127.0.0.1:5081. Default: HUB_URL.",
            HelpName = "URL",
            DefaultValueFactory = _ => Environment.GetEnvironmentVariable("HUB_URL") ?? "http://127.0.0.1:5081",
        };
        var joinToken = new Option<string?>("--join-token")
        {
            Description = "Token to claim the host with; not needed once the state directory holds a credential. Default: HUB_JOIN_TOKEN.",
            HelpName = "T",
            DefaultValueFactory = _ => Environment.GetEnvironmentVariable("HUB_JOIN_TOKEN"),
        };
        var state = new Option<string>("--state")
        {
            Description = "Directory of the journal and the credential.",
            HelpName = "DIR",
            DefaultValueFactory = _ => "node-state",
        };
        var name = new Option<string>("--name") { Description = "Name for the host at its claim.", HelpName = "N", DefaultValueFactory = _ => Environment.MachineName };
        var insecure = new Option<bool>("--insecure") { Description = "Allow http:// to an address off loopback." };
        var allowShell = new Option<bool>("--allow-shell") { Description = "Run shell commands the Hub sends. Off by default: whoever may create commands may then run anything here." };
        var sideEffects = new Option<string?>("--side-effects") { Description = "File that gets the line \"commandId attempt\" for every append command started.", HelpName = "FILE" };
        var ackLog = new Option<string?>("--ack-log") { Description = "File that gets the line \"kind id version\" for every record the Hub acknowledged.", HelpName = "FILE" };
        var publishTasks = new Option<int>("--publish-tasks") { Description = $"Publish this many tasks at the start, 0 to {PublishTasksMax}.", HelpName = "N" };
        publishTasks.Validators.Add(result =>
        {
            if (result.GetValueOrDefault<int>() is < 0 or > PublishTasksMax)
            {
                result.AddError($"--publish-tasks takes 0 to {PublishTasksMax}.");
            }
        });
        hub.Validators.Add(result =>
        {
            if (!Uri.TryCreate(result.GetValueOrDefault<string>(), UriKind.Absolute, out var address) || address.Scheme is not ("http" or "https"))
            {
                result.AddError("--hub takes an http:// or https:// address.");
            }
        });

        var run = new Command("run", """
            Run a node until SIGTERM. It handles the commands echo, append, context_sync, sleep and, if allowed, shell.
            It reads lines from standard input and answers each with "ok ..." or "error ..." on standard output:
              task ID STATUS TITLE   publish a task          delete ID   publish that it is gone
              chat TEXT              send a message          flush       answer once the Hub has everything
              quit                   end
            """)
        {
            hub, joinToken, state, name, insecure, allowShell, sideEffects, ackLog, publishTasks,
        };
        run.SetAction((parsed, cancellationToken) => NodeProgram.RunAsync(
            new NodeOptions
            {
                HubUrl = new Uri(parsed.GetValue(hub)!),
                JoinToken = parsed.GetValue(joinToken),
                StateDirectory = parsed.GetValue(state)!,
                Name = parsed.GetValue(name)!,
                Insecure = parsed.GetValue(insecure),
                AllowShell = parsed.GetValue(allowShell),
                SideEffectsFile = parsed.GetValue(sideEffects),
                AckLogFile = parsed.GetValue(ackLog),
                PublishTasks = parsed.GetValue(publishTasks),
            },
            Console.In,
            Console.Out,
            cancellationToken));
        return new RootCommand("A node of the Hub, and the library to write one with.") { run };
    }
}
