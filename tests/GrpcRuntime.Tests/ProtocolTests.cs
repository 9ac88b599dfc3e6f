using Grpc.Framing;

namespace Hub.GrpcRuntime.Tests;

public sealed class ProtocolTests
{
    [Theory]
    [InlineData("1H", 36_000_000_000L)]
    [InlineData("2M", 1_200_000_000L)]
    [InlineData("3S", 30_000_000L)]
    [InlineData("4m", 40_000L)]
    [InlineData("5u", 50L)]
    [InlineData("1n", 1L)]
    [InlineData("0S", 0L)]
    [InlineData("99999999H", 99_999_999L * 36_000_000_000L)]
    public void Timeout_WellFormed_IsParsed(string text, long ticks)
    {
        Assert.True(GrpcProtocol.TryParseTimeout(text, out var timeout));
        Assert.Equal(ticks, timeout.Ticks);
    }

    [Theory]
    [InlineData(1, "1u")]
    [InlineData(999_999_990, "99999999u")]
    [InlineData(1_000_000_000, "100000m")]
    [InlineData(36_000_000_000L * 24 * 365, "31536000S")]
    public void Timeout_AnyLength_IsFormattedInTheFinestUnitThatFits(long ticks, string expected) =>
        Assert.Equal(expected, GrpcProtocol.FormatTimeout(new TimeSpan(ticks)));

    [Fact]
    public void Timeout_Random_IsNeverFormattedShorter()
    {
        const int Seed = 11;
        var random = new Random(Seed);
        for (var i = 0; i < 10_000; i++)
        {
            var timeout = new TimeSpan(random.NextInt64(1, TimeSpan.TicksPerDay << random.Next(10)));

            Assert.True(GrpcProtocol.TryParseTimeout(GrpcProtocol.FormatTimeout(timeout), out var parsed));
            Assert.True(parsed >= timeout, $"seed {Seed}: {timeout} became {parsed}");
        }
    }

    [Theory]
    [InlineData("plain text, with ~ and !", "plain text, with ~ and !")]
    [InlineData("50%", "50%25")]
    [InlineData("ä\n", "%C3%A4%0A")]
    public void Message_Encoded_IsPercentEncodedAndBack(string text, string expected)
    {
        Assert.Equal(expected, GrpcProtocol.EncodeMessage(text));
        Assert.Equal(text, GrpcProtocol.DecodeMessage(expected));
    }

    [Theory]
    [InlineData("%", "%")]
    [InlineData("%4", "%4")]
    [InlineData("%zz", "%zz")]
    [InlineData("a%41", "aA")]
    public void Message_NotWellEncoded_LosesNoText(string wire, string expected) =>
        Assert.Equal(expected, GrpcProtocol.DecodeMessage(wire));
}
