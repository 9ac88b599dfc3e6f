using System.IO.Compression;
using System.Net;
using Google.Protobuf;
using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>What the server answers, byte by byte, to requests of every quality.</summary>
public sealed class WireTests
{
    [Fact]
    public async Task Server_GoodRequest_AnswersFrameAndTrailers()
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest { Text = "a" }), "application/grpc+proto");

        Assert.Equal(HttpStatusCode.OK, answer.HttpStatus);
        Assert.Equal(RawHttp2.Frame(new EchoResponse { Text = "a" }), answer.Body);
        Assert.Equal("0", answer.Trailers["grpc-status"]);
        Assert.Equal("identity,gzip", answer.Headers["grpc-accept-encoding"].Replace(" ", "", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Server_Failure_AnswersTrailersOnly()
    {
        var script = new EchoScript { Unary = (_, _) => throw new RpcException(new Status(StatusCode.NotFound, "ä")) };
        await using var server = await EchoServer.StartAsync(script);

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()));

        Assert.Equal(HttpStatusCode.OK, answer.HttpStatus);
        Assert.Equal("5", answer.Headers["grpc-status"]);
        Assert.Equal("%C3%A4", answer.Headers["grpc-message"]);
        Assert.Empty(answer.Trailers);
        Assert.Empty(answer.Body);
    }

    [Theory]
    [InlineData("/grpcruntime.tests.v1.EchoService/Nothing")]
    [InlineData("/nobody.Serves/This")]
    public async Task Server_UnknownMethod_IsUnimplemented(string path)
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(server.Address, path, RawHttp2.Frame(new EchoRequest()));

        Assert.Equal(HttpStatusCode.OK, answer.HttpStatus);
        Assert.Equal("12", answer.Headers["grpc-status"]);
    }

    [Fact]
    public async Task Server_UnknownPathWithoutGrpc_IsNotFound()
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(server.Address, "/nobody.Serves/This", [], "application/json");

        Assert.Equal(HttpStatusCode.NotFound, answer.HttpStatus);
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("application/grpcweb")]
    public async Task Server_WrongContentType_IsUnsupported(string contentType)
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), contentType);

        Assert.Equal(HttpStatusCode.UnsupportedMediaType, answer.HttpStatus);
    }

    public static TheoryData<string, byte[], string> BadBodies => new()
    {
        { "no message", [], "12" },
        { "two messages", [.. RawHttp2.Frame(new EchoRequest()), .. RawHttp2.Frame(new EchoRequest())], "12" },
        { "half a header", [0, 0, 0], "13" },
        { "half a message", [0, 0, 0, 0, 9, 1], "13" },
        { "unknown flag", [2, 0, 0, 0, 0], "13" },
        { "no protobuf", RawHttp2.Frame([255, 255, 255, 255]), "13" },
        { "compressed without an encoding", RawHttp2.Frame(new EchoRequest(), flag: 1), "13" },
        { "negative length", [0, 255, 255, 255, 255], "8" },
    };

    [Theory]
    [MemberData(nameof(BadBodies))]
    public async Task Server_BadBody_IsRefused(string what, byte[] body, string status)
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, body);

        Assert.True(answer.GrpcStatus == status, $"{what}: {answer.GrpcStatus}");
        Assert.Empty(server.Log.Errors);
    }

    [Theory]
    [InlineData("x")]
    [InlineData("123456789S")]
    [InlineData("-1S")]
    [InlineData("S")]
    public async Task Server_MalformedTimeout_IsRefused(string timeout)
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("grpc-timeout", timeout));

        Assert.Equal("13", answer.GrpcStatus);
    }

    [Fact]
    public async Task Server_GzipRequest_IsUnderstood()
    {
        await using var server = await EchoServer.StartAsync();
        var body = RawHttp2.Frame(Gzip(new EchoRequest { Text = "packed" }.ToByteArray()), flag: 1);

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, body, headers: ("grpc-encoding", "gzip"));

        Assert.Equal(RawHttp2.Frame(new EchoResponse { Text = "packed" }), answer.Body);
    }

    [Fact]
    public async Task Server_BrokenGzip_IsRefused()
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame([1, 2, 3], flag: 1), headers: ("grpc-encoding", "gzip"));

        Assert.Equal("13", answer.GrpcStatus);
    }

    [Fact]
    public async Task Server_GzipBomb_IsRefusedByItsUnpackedSize()
    {
        await using var server = await EchoServer.StartAsync();
        var body = RawHttp2.Frame(Gzip(new byte[64 * 1024 * 1024]), flag: 1);

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, body, headers: ("grpc-encoding", "gzip"));

        Assert.Equal("8", answer.GrpcStatus);
    }

    [Fact]
    public async Task Server_UnknownEncoding_IsUnimplementedAndNamesWhatIsAccepted()
    {
        await using var server = await EchoServer.StartAsync();

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest(), flag: 1), headers: ("grpc-encoding", "snappy"));

        Assert.Equal("12", answer.GrpcStatus);
        Assert.Contains("gzip", answer.Headers["grpc-accept-encoding"], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Server_GzipResponses_AreSentToThoseWhoAcceptThem()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.ResponseCompressionAlgorithm = "gzip");
        var body = RawHttp2.Frame(new EchoRequest { Text = new string('a', 10_000) });

        var packed = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, body, headers: ("grpc-accept-encoding", "identity, gzip"));
        var plain = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, body);

        Assert.Equal("gzip", packed.Headers["grpc-encoding"]);
        Assert.Equal(1, packed.Body[0]);
        Assert.True(packed.Body.Length < 1000);
        Assert.Equal(0, plain.Body[0]);
        Assert.DoesNotContain("grpc-encoding", plain.Headers.Keys);
    }

    [Fact]
    public async Task Client_GzipBothWays_IsUnderstood()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.ResponseCompressionAlgorithm = "gzip");
        var text = new string('a', 100_000);

        var response = await server.Client
            .UnaryAsync(new EchoRequest { Text = text }, new Metadata { { "grpc-internal-encoding-request", "gzip" } })
            .ResponseAsync.Within();

        Assert.Equal(text, response.Text);
    }

    private static byte[] Gzip(byte[] plain)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(plain);
        }

        return packed.ToArray();
    }
}
