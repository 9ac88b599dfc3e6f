using System.Runtime.CompilerServices;
using Hub.Hosting;
using Hub.Storage;
using Microsoft.Extensions.Configuration;

namespace Hub.Tests.Hosting;

public sealed class SettingsTests
{
    [Fact]
    public void Read_Nothing_ServesAnEmbeddedStoreOnLoopback()
    {
        var settings = Read();

        Assert.All([settings.HttpUrl, settings.GrpcUrl, settings.AdminUrl, settings.TlsUrl], url => Assert.True(url.IsLoopback));
        Assert.Equal(StoreBackend.Sqlite, settings.Store.Backend);
        Assert.False(settings.Store.RelaxedDurability);
        Assert.True(settings.Reflection);
        Assert.Null(settings.Certificate);
    }

    [Fact]
    public void Read_SeveralWrong_NamesEachByItsKey()
    {
        (string, string)[] wrong =
        [
            (HubSettings.HttpUrlKey, "ftp://127.0.0.1"),
            (HubSettings.GrpcUrlKey, "http://hub.example.com:5081"),
            (HubSettings.AdminUrlKey, "http://0.0.0.0:5082"),
            (HubSettings.TlsUrlKey, "http://127.0.0.1:5443"),
            (HubSettings.TlsCertificateKey, "/no/such/file.pem"),
            (HubSettings.TrustedProxyKey, "10.0.0.1, proxy"),
            (HubSettings.DataBackendKey, "oracle"),
            (HubSettings.DurabilityKey, "some"),
            (HubSettings.ReflectionKey, "maybe"),
            (HubSettings.SigningKeyKey, "no PEM"),
            (HubSettings.PublicUrlKey, "hub.example.com"),
            (HubSettings.HostRecordsPerSecondKey, "-1"),
            (HubSettings.TeamCommandsPerMinuteKey, "many"),
            (HubSettings.CorsOriginsKey, "https://hub.example.com, https://hub.example.com/app"),
            (HubSettings.SignUpKey, "everybody"),
            (HubSettings.PlanKey, "gold"),
            (HubSettings.SmtpUrlKey, "https://mail.example.com"),
            (HubSettings.AuthBackendKey, "ldap"),
            (HubSettings.SecretsKeyKey, "c2hvcnQ="),
        ];

        var faults = Assert.Throws<SettingsException>(() => Read(wrong)).Faults;

        Assert.All(wrong, setting => Assert.Single(faults, fault => fault.StartsWith(setting.Item1, StringComparison.Ordinal)));
        Assert.Equal(wrong.Length, faults.Count);
    }

    [Theory]
    [InlineData(HubSettings.HttpUrlKey, "http://0.0.0.0:5080")]
    [InlineData(HubSettings.GrpcUrlKey, "http://[::]:5081")]
    [InlineData(HubSettings.TlsUrlKey, "https://0.0.0.0:5443")]
    public void Read_OffLoopbackWithoutACertificate_IsRefused(string key, string url)
    {
        var faults = Assert.Throws<SettingsException>(() => Read((key, url))).Faults;

        Assert.StartsWith(key, Assert.Single(faults), StringComparison.Ordinal);
        Assert.Contains(HubSettings.TlsCertificateKey, faults[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Read_OffLoopbackBehindATrustedProxy_IsServedWithoutReflection()
    {
        var settings = Read(
            (HubSettings.HttpUrlKey, "http://0.0.0.0:5080"), (HubSettings.GrpcUrlKey, "http://0.0.0.0:5081"), (HubSettings.TrustedProxyKey, "10.0.0.1"));

        Assert.Equal("0.0.0.0", settings.HttpUrl.Host);
        Assert.False(settings.Reflection);
    }

    [Fact]
    public void Read_Rtdb_IsRefusedAndSaysHowToImport()
    {
        var fault = Assert.Single(Assert.Throws<SettingsException>(() => Read((HubSettings.DataBackendKey, "rtdb"))).Faults);

        Assert.StartsWith(HubSettings.DataBackendKey, fault, StringComparison.Ordinal);
        Assert.Contains("import", fault, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("postgres")]
    [InlineData("supabase")]
    public void Read_ServerBackendWithoutAnAddress_IsRefused(string backend)
    {
        var fault = Assert.Single(Assert.Throws<SettingsException>(() => Read((HubSettings.DataBackendKey, backend))).Faults);

        Assert.StartsWith(HubSettings.DatabaseUrlKey, fault, StringComparison.Ordinal);
    }

    [Fact]
    public void All_ListsEachKeyOnceWithAMeaning()
    {
        Assert.Equal(HubSettings.All.Count, HubSettings.All.Select(setting => setting.Key).Distinct().Count());
        Assert.All(HubSettings.All, setting => Assert.NotEmpty(setting.Meaning));
    }

    [Fact]
    public void All_IsTheTableOfTheReadme()
    {
        var readme = File.ReadAllText(Path.Combine(Folder(), "../../../README.md"));

        Assert.All(HubSettings.All, setting => Assert.Contains(
            $"| `{setting.Key}` | {(setting.Default.Length == 0 ? "unset" : setting.Default)} | {setting.Meaning} |", readme, StringComparison.Ordinal));
    }

    private static string Folder([CallerFilePath] string file = "") => Path.GetDirectoryName(file)!;

    private static HubSettings Read(params (string Key, string Value)[] settings) => HubSettings.Read(
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value))).Build());
}
