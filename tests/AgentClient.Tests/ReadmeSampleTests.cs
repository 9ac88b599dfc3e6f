using System.Runtime.CompilerServices;
using Google.Protobuf.WellKnownTypes;
using Hub.TestKit;

namespace Hub.AgentClient.Tests;

public sealed class ReadmeSampleTests
{
    [Fact]
    public async Task Sample_Runs()
    {
        await using var server = await ScriptedServer.StartAsync();
        using var directory = new TemporaryDirectory();
        using var stop = new CancellationTokenSource();
        var running = ReadmeSample.RunAsync(server.Address, "hjoin_good", directory.Path, stop.Token);
        var hub = await server.NextLinkAsync();
        hub.Offer("c1", "greet", Struct.Parser.ParseJson("""{"name": "Ada"}"""));

        Assert.Equal("Hello Ada", (await hub.NextOutcomeAsync()).Result.StructValue.Fields["text"].StringValue);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running.Within());
    }

    [Fact]
    public void Sample_InTheReadme_IsTheCompiledOne()
    {
        var folder = Path.GetDirectoryName(Here())!;
        var code = Between(File.ReadAllText(Path.Combine(folder, "ReadmeSample.cs")), "// <sample>", "// </sample>");
        var readme = Between(File.ReadAllText(Path.Combine(folder, "../../src/AgentClient/README.md")), "```csharp", "```");
        Assert.Equal(Lines(code), Lines(readme));
    }

    private static string Here([CallerFilePath] string path = "") => path;

    private static string Between(string text, string begin, string end)
    {
        var from = text.IndexOf(begin, StringComparison.Ordinal) + begin.Length;
        return text[from..text.IndexOf(end, from, StringComparison.Ordinal)];
    }

    private static IEnumerable<string> Lines(string text) => text.Split('\n').Select(line => line.Trim()).Where(line => line.Length > 0);
}
