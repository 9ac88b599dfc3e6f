using Hub.Hosting;

namespace Hub.Tests.Hosting;

public sealed class ReadmeTests
{
    [Fact]
    public void Readme_SettingsTable_IsTheListOfSettings()
    {
        var expected = HubSettings.All.Select(setting =>
            $"| `{setting.Key}` | {(setting.Default.Length == 0 ? "unset" : setting.Default)} | {setting.Meaning} |");

        var written = File.ReadLines(Path.Combine(Root(), "README.md")).Where(line => line.StartsWith("| `HUB_", StringComparison.Ordinal)
            || line.StartsWith("| `DATA", StringComparison.Ordinal));

        Assert.Equal(expected, written);
    }

    private static string Root()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "Hub.sln")))
        {
            directory = directory.Parent ?? throw new InvalidOperationException("The tests run outside the repository.");
        }

        return directory.FullName;
    }
}
