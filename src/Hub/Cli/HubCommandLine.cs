using System.CommandLine;
using Hub.Hosting;
using Hub.Storage;

namespace Hub.Cli;

/// <summary>The program `hub`: parses, runs, and turns failures into a line and an exit code.</summary>
internal static class HubCommandLine
{
    private const int Failed = 1;
    private const int WrongSettings = 2;
    private const int LibraryMissing = 3;

    public static async Task<int> RunAsync(string[] args)
    {
        var root = new RootCommand("Hub, the control plane for fleets of AI-agent nodes.");
        root.Subcommands.Add(ServeCommand.Create());
        root.Subcommands.Add(DemoCommand.Create());
        root.Subcommands.Add(MigrateCommand.Create());
        root.Subcommands.Add(TokenCommand.Create());
        try
        {
            return await root.Parse(args).InvokeAsync(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
        }
        catch (SettingsException e)
        {
            await Console.Error.WriteLineAsync("These settings are wrong:");
            foreach (var fault in e.Faults)
            {
                await Console.Error.WriteLineAsync($"  {fault}");
            }

            return WrongSettings;
        }
        catch (StoreRefusedException e)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return e.Reason == StoreRefusal.LibraryMissing ? LibraryMissing : Failed;
        }
        catch (Exception e) when (e is StoreUnavailableException or IOException or UnauthorizedAccessException)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return Failed;
        }
    }

    public static HubSettings ReadSettings() => HubSettings.Read(new ConfigurationBuilder()
        .SetBasePath(Directory.GetCurrentDirectory())
        .AddJsonFile("appsettings.json", optional: true)
        .AddEnvironmentVariables()
        .Build());
}
