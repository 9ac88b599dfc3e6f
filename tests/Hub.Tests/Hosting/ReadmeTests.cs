using System.Text.RegularExpressions;
using Hub.Hosting;

namespace Hub.Tests.Hosting;

public sealed partial class ReadmeTests
{
    [Fact]
    public void Readme_SettingsTable_IsTheListOfSettings()
    {
        var expected = HubSettings.All.Select(setting =>
            $"| `{setting.Key}` | {(setting.Default.Length == 0 ? "unset" : setting.Default)} | {setting.Meaning} |");

        var written = File.ReadLines(Path.Combine(Root(), "README.md")).Where(line => SettingRow().IsMatch(line));

        Assert.Equal(expected, written);
    }

    [GeneratedRegex("^\\| `[A-Z][A-Z_]+` \\|")]
    private static partial Regex SettingRow();

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
