using System.Text;
using Google.Protobuf;
using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>What the server makes of calls that break the protocol in their headers. Bodies are in <see cref="WireTests"/>.</summary>
public sealed class ServerProtocolTests
{
    [Fact]
    public async Task Server_WithoutTe_AnswersUnknown()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);
        var headers = RawConnection.CallHeaders(RawHttp2.UnaryPath).Where(header => header.Name != "te").ToArray();

        await connection.SendAsync(FrameType.Headers, RawConnection.EndHeaders, 1, RawConnection.HeaderBlock(headers));
        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, RawHttp2.Frame(new EchoRequest()));

        Assert.Equal("2", await connection.ReadStatusAsync(1));
    }

    [Theory]
    [InlineData("0S", "4")]
    [InlineData("", "13")]
    [InlineData("1", "13")]
    [InlineData("1s", "13")]
    [InlineData("1.5S", "13")]
    [InlineData("+1S", "13")]
    [InlineData("1S, 2S", "13")]
    [InlineData("99999999H", "0")]
    [InlineData("00000001H", "0")]
    public async Task Server_Timeout_IsReadByTheLetter(string timeout, string status)
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.StartCallAsync(1, RawHttp2.UnaryPath, ("grpc-timeout", timeout));
        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, RawHttp2.Frame(new EchoRequest()));

        Assert.Equal(status, await connection.ReadStatusAsync(1));
    }

    [Fact]
    public async Task Server_NonAsciiMetadata_IsTakenAndCanBeEchoed()
    {
        string? seen = null;
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                seen = context.RequestHeaders.GetValue("x-name");
                context.ResponseTrailers.Add(context.RequestHeaders.Get("x-name")!);
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);
        await using var connection = await RawConnection.OpenAsync(server.Address);
        var utf8 = Encoding.Latin1.GetString(Encoding.UTF8.GetBytes("grün"));

        await connection.StartCallAsync(1, RawHttp2.UnaryPath, ("x-name", utf8));
        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, RawHttp2.Frame(new EchoRequest()));

        Assert.Equal("0", await connection.ReadStatusAsync(1));
        Assert.Equal("gr?n", seen);
    }

    [Fact]
    public async Task Server_BinaryMetadataThatIsNoBase64_IsInternalToTheHandlerThatLooks()
    {
        var script = new EchoScript
        {
            Unary = (request, context) => Task.FromResult(new EchoResponse { Count = context.RequestHeaders.Count }),
        };
        await using var server = await EchoServer.StartAsync(script);

        var answer = await RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("x-data-bin", "!"));

        Assert.Equal("13", answer.GrpcStatus);
        Assert.Empty(server.Log.Errors);
    }

    [Fact]
    public async Task Server_MessageInManyDataFrames_IsTaken()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.StartCallAsync(1, RawHttp2.UnaryPath);
        foreach (var one in RawHttp2.Frame(new EchoRequest { Text = "in pieces" }))
        {
            await connection.SendAsync(FrameType.Data, 0, 1, [one]);
        }

        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, []);

        Assert.Equal("0", await connection.ReadStatusAsync(1));
    }

    [Fact]
    public async Task Server_ResetWithinAMessage_CancelsTheHandlerWithoutAnError()
    {
        var ended = new TaskCompletionSource<Exception>(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            Duplex = async (requests, _, _) => ended.TrySetResult((await Record.ExceptionAsync(() => requests.MoveNext()))!),
        };
        await using var server = await EchoServer.StartAsync(script);
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.StartCallAsync(1, RawHttp2.DuplexPath);
        await connection.SendAsync(FrameType.Data, 0, 1, [0, 0, 0, 0, 9, 1]);
        await connection.ResetAsync(1, errorCode: 8);

        Assert.NotNull(await ended.Task.Within());
        Assert.Empty(server.Log.Errors);
    }

    [Fact]
    public async Task Server_EndOfAStreamThatIsNotTaken_IsResetAfterTheCompletionTimeout()
    {
        var script = new EchoScript
        {
            Duplex = async (_, responses, _) =>
            {
                while (responses.WriteAsync(new EchoResponse { Payload = ByteString.CopyFrom(new byte[16 * 1024]) }).IsCompletedSuccessfully)
                {
                    await Task.Yield();
                }
            },
        };
        await using var server = await EchoServer.StartAsync(script, options => options.CompletionTimeout = TimeSpan.FromMilliseconds(50));
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.StartCallAsync(1, RawHttp2.DuplexPath);
        var reset = await connection.ReadToAsync(frame => frame.Type == FrameType.RstStream);

        Assert.Equal(new byte[] { 0, 0, 0, 8 }, reset!.Payload);
    }

    [Fact]
    public async Task Server_EndOfAStreamThatIsTaken_ComesWithItsStatus()
    {
        var script = new EchoScript
        {
            ServerStream = (_, responses, _) => responses.WriteAsync(new EchoResponse { Text = "last" }),
        };
        await using var server = await EchoServer.StartAsync(script, options => options.CompletionTimeout = TimeSpan.FromMinutes(1));

        using var call = server.Client.ServerStream(new EchoRequest());
        Assert.True(await call.ResponseStream.MoveNext().Within());
        Assert.False(await call.ResponseStream.MoveNext().Within());
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task Server_LongStatusText_IsCutSoThatTheStatusArrives()
    {
        var script = new EchoScript { Unary = (_, _) => throw new RpcException(new Status(StatusCode.Aborted, new string('ä', 100_000))) };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(StatusCode.Aborted, exception.StatusCode);
        Assert.Equal(new string('ä', 4096 / 6), exception.Status.Detail);
    }
}
