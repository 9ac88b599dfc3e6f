using Hub.Storage;
using Npgsql;

namespace Hub.IntegrationTests.Storage;

public sealed class PostgresAddressTests
{
    [Fact]
    public void Parse_Url_TakesItsParts()
    {
        var address = PostgresAddress.Parse(
            "postgresql://us%40er:p%3Aw:x@db.example:6543/hub%20db?sslmode=verify-full&application_name=me&connect_timeout=7", requireTls: false);

        Assert.Equal(("db.example", 6543, "hub db"), (address.Host, address.Port, address.Database));
        Assert.Equal(("us@er", "p:w:x"), (address.Username, address.Password));
        Assert.Equal((SslMode.VerifyFull, "me", 7), (address.SslMode, address.ApplicationName, address.Timeout));
    }

    [Fact]
    public void Parse_Pairs_TakesThem() =>
        Assert.Equal("db.example", PostgresAddress.Parse("Host=db.example;Username=u", requireTls: false).Host);

    [Theory]
    [InlineData("postgres://u:p@h/d", SslMode.Require)]
    [InlineData("postgres://u:p@h/d?sslmode=verify-ca", SslMode.VerifyCA)]
    [InlineData("Host=h;SSL Mode=VerifyFull", SslMode.VerifyFull)]
    public void Parse_TlsIsRequired_IsAtLeastRequire(string text, SslMode expected) =>
        Assert.Equal(expected, PostgresAddress.Parse(text, requireTls: true).SslMode);

    [Theory]
    [InlineData("postgres://u:secret@h/d?sslmode=disable")]
    [InlineData("Host=h;Password=secret;SSL Mode=Prefer")]
    [InlineData("postgres://u:secret@h:99999/d")]
    [InlineData("postgres://u:secret@h/d?nonsense=1")]
    [InlineData("postgres://u:secret@h/d?sslmode=maybe")]
    [InlineData("secret")]
    [InlineData("Password=secret")]
    public void Parse_NotAcceptable_IsRefusedWithoutShowingTheText(string text)
    {
        var refusal = Assert.Throws<StoreRefusedException>(() => PostgresAddress.Parse(text, requireTls: true));

        Assert.Equal(StoreRefusal.BadConnectionString, refusal.Reason);
        Assert.DoesNotContain("secret", refusal.ToString(), StringComparison.Ordinal);
    }
}
