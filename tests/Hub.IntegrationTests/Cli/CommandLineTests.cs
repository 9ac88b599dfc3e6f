using Hub.GrpcRuntime.Tests;
using Hub.Hosting;
using Hub.TestKit.Faults;

namespace Hub.IntegrationTests.Cli;

/// <summary>The program `hub` as a user starts it.</summary>
public sealed class CommandLineTests : IDisposable
{
    private const int WrongSettings = 2;

    private readonly string _directory = Directory.CreateTempSubdirectory("hub-cli-").FullName;

    [Theory]
    [InlineData("serve")]
    [InlineData("demo")]
    [InlineData("migrate")]
    [InlineData("token", "join")]
    [InlineData("token", "api-key")]
    [InlineData("token", "user")]
    public async Task Help_OfEveryCommand_ShowsItsUsage(params string[] command)
    {
        await using var hub = Start([.. command, "--help"]);

        Assert.NotNull(await hub.ReadUntilAsync("Usage:"));
        Assert.Equal(0, await hub.WaitForExitAsync());
    }

    [Theory]
    [InlineData("hjoin_", "token", "join")]
    [InlineData("rk_live_", "token", "api-key")]
    [InlineData("eyJ", "token", "user", "--email", "you@example.com")]
    public async Task Token_OnAnEmptyFolder_PrintsACredentialAndNothingElse(string prefix, params string[] command)
    {
        await using var hub = Start(command);

        var line = await hub.ReadUntilAsync("");

        Assert.StartsWith(prefix, line, StringComparison.Ordinal);
        Assert.Null(await hub.ReadUntilAsync(""));
        Assert.Equal(0, await hub.WaitForExitAsync());
    }

    [Fact]
    public async Task Token_ForAnUnknownTeam_SaysSoAndFails()
    {
        await using var hub = Start("token", "join", "--team", "nobody");

        Assert.Equal(1, await hub.WaitForExitAsync());
        Assert.Contains("nobody", hub.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Migrate_OnAnEmptyFolder_MakesTheSchema()
    {
        await using var hub = Start("migrate");

        Assert.NotNull(await hub.ReadUntilAsync("The schema is at version"));
        Assert.Equal(0, await hub.WaitForExitAsync());
    }

    [Fact]
    public async Task Serve_WithWrongSettings_NamesThemAllAndFails()
    {
        await using var hub = ChildProgram.Start("Hub.dll", ["serve"], new Dictionary<string, string>
        {
            [HubSettings.HttpUrlKey] = "nonsense",
            [HubSettings.DataBackendKey] = "rtdb",
        });

        Assert.Equal(WrongSettings, await hub.WaitForExitAsync());
        Assert.Contains(HubSettings.HttpUrlKey, hub.Errors, StringComparison.Ordinal);
        Assert.Contains(HubSettings.DataBackendKey, hub.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_FirstStart_SaysHowToGetInAndTheSecondDoesNot()
    {
        await using (var first = Serve())
        {
            Assert.NotNull(await first.ReadUntilAsync("This is the first start."));
        }

        await using var second = Serve();
        Assert.NotNull(await second.ReadUntilAsync("Hub serves"));
        await second.KillAsync();
        Assert.Null(await second.ReadUntilAsync("This is the first start."));
    }

    [Fact]
    public async Task Serve_ThatIsAskedTo_LogsALinePerRequest()
    {
        await using var hub = Serve(("Logging__LogLevel__Microsoft.AspNetCore.Hosting.Diagnostics", "Information"));
        var url = (await hub.ReadUntilAsync("Hub serves"))!.Split(' ')[4];
        using var rest = new HttpClient { BaseAddress = new Uri(url) };

        (await rest.ReadAsync("/ready")).Expect(200);

        Assert.Contains("/ready - 200", await hub.ReadUntilAsync("      Request finished"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Serve_WithoutAMailServer_PrintsTheLinkToSetAPassword()
    {
        await using var hub = Serve();
        var url = (await hub.ReadUntilAsync("Hub serves"))!.Split(' ')[4];
        using var rest = new HttpClient { BaseAddress = new Uri(url) };
        (await rest.WriteAsync("/api/auth/signup", new { email = "you@example.com", password = "correct horse battery" })).Expect(201);

        (await rest.WriteAsync("/api/auth/password/forgot", new { email = "you@example.com" })).Expect(200);

        Assert.NotNull(await hub.ReadUntilAsync("Mail for you@example.com: Set a new password"));
        var token = (await hub.ReadUntilAsync($"{url}reset-password?token="))!.Split('=')[1];
        (await rest.WriteAsync("/api/auth/password/reset", new { token, password = "another password" })).Expect(200);
    }

    [Fact]
    public async Task Readme_FromNothingToAFinishedCommand_HoldsLineByLine()
    {
        await using var hub = Serve();
        var url = (await hub.ReadUntilAsync("Hub serves"))!.Split(' ')[4];
        var readme = await File.ReadAllTextAsync(Path.Combine(NodeTools.RepositoryRoot, "README.md"));
        var section = readme[readme.IndexOf("## From nothing to a finished command", StringComparison.Ordinal)..];
        var script = section.Split("```")[1]["sh".Length..].Replace("http://127.0.0.1:5080/", url, StringComparison.Ordinal);

        await using var shell = ChildProgram.StartCommand(["bash", "-euo", "pipefail", "-c", script]);
        var state = await shell.ReadUntilAsync("SUCCEEDED");
        var onboarding = await shell.ReadUntilAsync("{");

        Assert.True(await shell.WaitForExitAsync() == 0, shell.Errors);
        Assert.NotNull(state);
        Assert.StartsWith("{\"done\":true,", onboarding, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Demo_ToItsEnd_EveryStepHolds()
    {
        await using var demo = Start("demo", "--exit");

        Assert.NotNull(await demo.ReadUntilAsync("All "));
        Assert.Equal(0, await demo.WaitForExitAsync());
    }

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    private ChildProgram Serve(params (string Key, string Value)[] more) => Start(["serve"], more);

    private ChildProgram Start(params string[] arguments) => Start(arguments, []);

    private ChildProgram Start(string[] arguments, (string Key, string Value)[] more) => ChildProgram.Start(
        "Hub.dll",
        arguments,
        new Dictionary<string, string>(more.Select(setting => KeyValuePair.Create(setting.Key, setting.Value)))
        {
            [HubSettings.HttpUrlKey] = "http://127.0.0.1:0",
            [HubSettings.GrpcUrlKey] = "http://127.0.0.1:0",
            [HubSettings.AdminUrlKey] = "http://127.0.0.1:0",
            [HubSettings.DataDirectoryKey] = _directory,
        });
}
