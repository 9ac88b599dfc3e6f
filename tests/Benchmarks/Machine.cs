using System.Globalization;
using System.Runtime.InteropServices;

namespace Hub.Benchmarks;

/// <summary>The machine under the figures.</summary>
internal static class Machine
{
    /// <summary>What a reader has to know to place the figures.</summary>
    public static string Describe()
    {
        var memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / (1024.0 * 1024 * 1024);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{RuntimeInformation.OSDescription}, {Processor()}, {Environment.ProcessorCount} cores, {memory:F0} GiB, .NET {Environment.Version}");
    }

    /// <summary>A command that stays on one core, where there are several and the system can do it.</summary>
    public static string[] OnCore(int core, string[] command) =>
        OperatingSystem.IsLinux() && Environment.ProcessorCount > core && File.Exists("/usr/bin/taskset")
            ? ["taskset", "-c", core.ToString(CultureInfo.InvariantCulture), .. command]
            : command;

    /// <summary>
    /// Processor time since the machine started, of all cores, and how much of it the machine was ready to use and its host gave to others
    /// (Linux, /proc/stat, in ticks). Zeros where the system does not tell.
    /// </summary>
    public static (long All, long Stolen) ProcessorTime()
    {
        if (!OperatingSystem.IsLinux())
        {
            return default;
        }

        // user nice system idle iowait irq softirq steal; what guests use is within user.
        var ticks = File.ReadLines("/proc/stat").First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[1..9]
            .Select(column => long.Parse(column, CultureInfo.InvariantCulture)).ToArray();
        return (ticks.Sum(), ticks[^1]);
    }

    private static string Processor() =>
        OperatingSystem.IsLinux()
            ? File.ReadLines("/proc/cpuinfo").FirstOrDefault(line => line.StartsWith("model name", StringComparison.Ordinal))?.Split(": ")[1] ?? "unknown processor"
            : RuntimeInformation.ProcessArchitecture.ToString();
}
