using Hub.Hosting;
using Microsoft.Extensions.Configuration;

namespace Hub.Tests.Hosting;

public sealed class CorsSettingTests
{
    [Theory]
    [InlineData(null, new string[0])]
    [InlineData("https://a.example.com", new[] { "https://a.example.com" })]
    [InlineData("https://a.example.com, http://localhost:5173,", new[] { "https://a.example.com", "http://localhost:5173" })]
    public void CorsOrigins_OfSetting_AreItsItems(string? text, string[] expected)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection([KeyValuePair.Create(HubSettings.CorsOriginsKey, text)]).Build();

        Assert.Equal(expected, HubSettings.Read(configuration).CorsOrigins);
    }
}
