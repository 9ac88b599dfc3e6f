using System.CommandLine;
using System.Runtime.InteropServices;
using Hub.Hosting;
using Hub.Identity;
using Microsoft.Extensions.Configuration.Memory;

namespace Hub.Cli;

/// <summary>`hub serve`.</summary>
internal static class ServeCommand
{
    // SIGXFSZ, the same number on Linux and macOS. Its default is to end the process.
    private const PosixSignal FileSizeExceeded = (PosixSignal)25;

    /// <summary>
    /// One line per request is for a proxy's log; appsettings.json or the environment may ask for it. At None neither a request nor a link
    /// carries what such lines would say.
    /// </summary>
    private static readonly KeyValuePair<string, string?>[] LogDefaults =
    [
        new("Logging:LogLevel:Microsoft", nameof(LogLevel.Warning)),
        new("Logging:LogLevel:Microsoft.AspNetCore.Hosting.Diagnostics", nameof(LogLevel.None)),
    ];

    public static Command Create()
    {
        var command = new Command("serve", "Runs the Hub until it is told to stop.\n\nSettings, from the environment or appsettings.json:\n"
            + string.Join('\n', HubSettings.All.Select(setting =>
                $"  {setting.Key} ({(setting.Default.Length == 0 ? "unset" : setting.Default)}): {setting.Meaning}")));
        command.SetAction((_, cancellation) => RunAsync(cancellation));
        return command;
    }

    private static async Task<int> RunAsync(CancellationToken cancellation)
    {
        var settings = HubCommandLine.ReadSettings();
        var builder = WebApplication.CreateBuilder();
        ((IConfigurationBuilder)builder.Configuration).Sources.Insert(0, new MemoryConfigurationSource { InitialData = LogDefaults });
        // Beyond `ulimit -f` a write then fails as on a full disk: the Hub says so and goes on when there is room.
        using var fileSize = OperatingSystem.IsWindows() ? null : PosixSignalRegistration.Create(FileSizeExceeded, signal => signal.Cancel = true);
        await using var hub = await HubApplication.BuildAsync(settings, builder, TimeProvider.System, cancellation);
        var isFirstStart = await hub.Services.GetRequiredService<Accounts>().EnsureTeamAsync(Accounts.DefaultTeam, cancellation);
        await hub.StartAsync(cancellation);
        Console.WriteLine($"Hub serves REST on {hub.HttpUrl} and gRPC on {hub.GrpcUrl}; data in {settings.DataDirectory}.");
        if (isFirstStart)
        {
            Console.WriteLine(FirstStart(hub.HttpUrl, hub.GrpcUrl));
        }

        await hub.WaitForShutdownAsync(cancellation);
        return 0;
    }

    private static string FirstStart(Uri httpUrl, Uri grpcUrl) => $"""

        This is the first start. How to get in, from a second terminal in the same folder:
          an account:             curl -d '{"{"}"email":"you@example.com","password":"<10 characters or more>"{"}"}' {httpUrl}api/auth/signup
                                  (the first one gets in; the others need an invite unless HUB_SIGNUP=open)
          a token for yourself:   hub token user --email you@example.com --role owner
          connect a node:         hub token join
                                  dotnet run --project src/AgentClient -- run --hub {grpcUrl} --join-token <token>
          a key for scripts:      hub token api-key --name scripts
        (`hub` is `dotnet run -c Release --project src/Hub --` in a checkout.)

        """;
}
