using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class MetadataTests
{
    private static readonly byte[] Bytes = [0, 1, 2, 250, 255];

    [Fact]
    public async Task Call_Metadata_TravelsBothWays()
    {
        var script = new EchoScript
        {
            Unary = async (request, context) =>
            {
                var headers = new Metadata();
                foreach (var entry in context.RequestHeaders.Where(entry => entry.Key.StartsWith("x-", StringComparison.Ordinal)))
                {
                    headers.Add(entry);
                    context.ResponseTrailers.Add(entry);
                }

                await context.WriteResponseHeadersAsync(headers);
                return EchoScript.Echo(request);
            },
        };
        await using var server = await EchoServer.StartAsync(script);
        var sent = new Metadata { { "x-text", "one" }, { "x-text", "two" }, { "x-data-bin", Bytes } };

        using var call = server.Client.UnaryAsync(new EchoRequest(), sent);
        var headers = await call.ResponseHeadersAsync.Within();
        await call.ResponseAsync.Within();

        foreach (var received in new[] { headers, call.GetTrailers() })
        {
            // HTTP may join headers of one name, and SocketsHttpHandler does.
            Assert.Equal("one, two", string.Join(", ", received.GetAll("x-text").Select(entry => entry.Value)));
            Assert.Equal(Bytes, received.GetValueBytes("x-data-bin"));
        }
    }

    [Theory]
    [InlineData("AAEC", new byte[] { 0, 1, 2 })]
    [InlineData("AAE=", new byte[] { 0, 1 })]
    [InlineData("AAE", new byte[] { 0, 1 })]
    [InlineData("AA", new byte[] { 0 })]
    [InlineData("", new byte[0])]
    public async Task Server_BinaryHeader_IsReadPaddedOrNot(string wire, byte[] expected)
    {
        byte[]? received = null;
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                received = context.RequestHeaders.GetValueBytes("x-data-bin");
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("x-data-bin", wire));

        Assert.Equal("0", answer.GrpcStatus);
        Assert.Equal(expected, received);
    }

    [Fact]
    public async Task Server_JoinedBinaryHeader_IsReadAsTwo()
    {
        var count = 0;
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                count = context.RequestHeaders.GetAll("x-data-bin").Count();
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("x-data-bin", "AAEC,AAE="));

        Assert.Equal(2, count);
    }

    [Fact]
    public async Task Server_HandlerContext_NamesMethodHostAndPeer()
    {
        string[] seen = [];
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                seen = [context.Method, context.Host, context.Peer, context.GetHttpContext().Request.Protocol];
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        await server.Client.WithHost("example.test").UnaryAsync(new EchoRequest()).ResponseAsync.Within();

        Assert.Equal("/grpcruntime.tests.v1.EchoService/Unary", seen[0]);
        Assert.Equal("example.test", seen[1]);
        Assert.StartsWith("ipv4:127.0.0.1:", seen[2], StringComparison.Ordinal);
        Assert.Equal("HTTP/2", seen[3]);
    }

    [Theory]
    [InlineData("bad name", "value")]
    [InlineData("name-bin", "value")]
    [InlineData("name", "line\nbreak")]
    [InlineData("", "value")]
    public void Entry_NotFitForTheWire_IsRefused(string key, string value) =>
        Assert.ThrowsAny<ArgumentException>(() => new Metadata.Entry(key, value));

    [Fact]
    public void Get_SeveralOfOneName_IsTheLast() =>
        Assert.Equal("2", new Metadata { { "a", "1" }, { "A", "2" } }.GetValue("a"));
}
