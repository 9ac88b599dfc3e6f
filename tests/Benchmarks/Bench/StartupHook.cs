using System.Globalization;
using System.Runtime.InteropServices;
using Hub.TestKit;

/// <summary>
/// What the runtime loads into servers whose memory is read: asked by a signal they give up what nobody holds, so that what is resident does
/// not depend on when the collector last came by. The runtime wants this name and no namespace.
/// (https://github.com/dotnet/runtime/blob/main/docs/design/features/host-startup-hook.md)
/// </summary>
internal static class StartupHook
{
    // Ignored by programs that have no window.
    private const string Signal = "-WINCH";

    private static PosixSignalRegistration? _registration;

    /// <summary>For the server's process.</summary>
    public static Dictionary<string, string> Environment => new() { ["DOTNET_STARTUP_HOOKS"] = typeof(StartupHook).Assembly.Location };

    /// <summary>Called by the runtime before the program's own start.</summary>
    public static void Initialize() => _registration = OperatingSystem.IsWindows() ? null : PosixSignalRegistration.Create(
        PosixSignal.SIGWINCH, _ => GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true));

    /// <summary>Asks a process that has it to collect.</summary>
    public static Task CollectAsync(int processId) =>
        SystemTool.RunAsync("kill", Signal, processId.ToString(CultureInfo.InvariantCulture));
}
