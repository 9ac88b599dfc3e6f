using System.Globalization;
using Hub.TestKit.Faults;

namespace Hub.Benchmarks.Faults;

/// <summary>Kills the Hub, nodes and the database in turn, on each store, and prints what an oracle outside found after every kill.</summary>
internal static class KillCommand
{
    private const int CommandsBetween = 200;

    /// <returns>0 if no promise was broken.</returns>
    public static async Task<int> RunAsync(KillOptions options)
    {
        Console.WriteLine(Machine.Describe());
        Console.WriteLine($"{options.Kills} SIGKILLs of each, {options.Nodes} nodes, a pause of {options.Pace.TotalMilliseconds} ms between two requests of one, seed {options.Seed}");
        var faults = 0;
        foreach (var store in options.Stores)
        {
            faults += await KillAsync(store, options);
        }

        Console.WriteLine(faults == 0 ? "Every promise was kept." : $"{faults} promises were broken.");
        return faults == 0 ? 0 : 1;
    }

    private static async Task<int> KillAsync(string store, KillOptions options)
    {
        await using var scene = await KillScene.StartAsync(store == "postgres", options.Nodes);
        await using var run = new KillRun(scene, options.Seed, options.Pace);
        await run.StartAsync();
        for (var kill = 1; kill <= options.Kills; kill++)
        {
            foreach (var target in scene.Targets)
            {
                var outcome = await run.KillOnceAsync(target, CommandsBetween);
                Console.WriteLine(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{store,-8} {target,-8} {kill,3}: commands again after {outcome.Away.TotalSeconds,4:F1} s; {run.Commands} commands, {outcome.Compared} acks and answers compared, {run.Faults.Count} faults"));
            }
        }

        await run.CheckAsync();
        Console.WriteLine($"{store}: at the end {run.Commands} commands, {run.Started} attempts started, {run.Faults.Count} faults");
        foreach (var fault in run.Faults)
        {
            Console.WriteLine($"  {fault}");
        }

        return run.Faults.Count;
    }
}

/// <param name="Kills">SIGKILLs of each target.</param>
/// <param name="Nodes">Node processes.</param>
/// <param name="Pace">Pause between two requests of one node or person.</param>
/// <param name="Stores">"sqlite", "postgres".</param>
/// <param name="Seed">Of the choice of nodes and moments.</param>
internal sealed record KillOptions(int Kills, int Nodes, TimeSpan Pace, string[] Stores, int Seed);
