namespace Hub.Transcoding.Tests.Calls;

public sealed class ResponseBodyTests(RestFixture fixture)
{
    [Theory]
    [InlineData("/v1/part/message?name=n", """{"name":"n"}""")]
    [InlineData("/v1/part/list", """["a","b"]""")]
    [InlineData("/v1/part/text", "\"Part\"")]
    public async Task ResponseBody_OfRule_IsTheWholeAnswer(string path, string expected) =>
        Assert.Equal(expected, await fixture.Host.Client.GetStringAsync(path));
}
