using System.CommandLine;
using Hub.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace Hub.Cli;

/// <summary>`hub migrate`.</summary>
internal static class MigrateCommand
{
    public static Command Create()
    {
        var command = new Command("migrate", "Brings the database's schema up to date and ends. `hub serve` does so by itself; this is for deploys.");
        command.SetAction((_, cancellation) => RunAsync(cancellation));
        return command;
    }

    private static async Task<int> RunAsync(CancellationToken cancellation)
    {
        var settings = HubCommandLine.ReadSettings();
        Directory.CreateDirectory(settings.DataDirectory);
        await using var store = await Store.OpenAsync(settings.Store, TimeProvider.System, NullLoggerFactory.Instance, cancellation);
        Console.WriteLine($"The schema is at version {store.SchemaVersion}.");
        return 0;
    }
}
