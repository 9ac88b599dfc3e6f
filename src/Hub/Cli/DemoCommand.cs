using System.CommandLine;

namespace Hub.Cli;

/// <summary>`hub demo`.</summary>
internal static class DemoCommand
{
    public static Command Create() => new("demo", "…");
}
