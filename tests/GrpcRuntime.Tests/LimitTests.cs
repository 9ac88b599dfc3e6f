using Google.Protobuf;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class LimitTests
{
    private const int FourMebibytes = 4 * 1024 * 1024;

    [Fact]
    public async Task Server_RequestOverTheLimit_IsResourceExhausted()
    {
        await using var server = await EchoServer.StartAsync();

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => server.Client.UnaryAsync(Request(FourMebibytes)).ResponseAsync.Within());

        Assert.Equal(StatusCode.ResourceExhausted, exception.StatusCode);
    }

    [Fact]
    public async Task Server_LengthPrefixOverTheLimit_IsRefusedBeforeTheMessageComes()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.MaxReceiveMessageSize = 10);

        var answer = await RawHttp2.PostAsync(server.Address, RawHttp2.UnaryPath, [0, 0, 0, 0, 11, 1]);

        Assert.Equal("8", answer.GrpcStatus);
    }

    [Fact]
    public async Task Server_MessageLargerThanTheWindow_IsTaken()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.MaxReceiveMessageSize = null);
        using var channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxReceiveMessageSize = null });
        var client = new EchoService.EchoServiceClient(channel);
        var request = Request(8 * FourMebibytes);

        var response = await client.UnaryAsync(request).ResponseAsync.Within();

        Assert.Equal(request.Payload, response.Payload);
    }

    [Fact]
    public async Task Server_LongUpload_IsNotCutByBodyLimits()
    {
        await using var server = await EchoServer.StartAsync();
        const int Count = 300;
        var request = Request(256 * 1024);

        using var call = server.Client.ClientStream();
        for (var i = 0; i < Count; i++)
        {
            await call.RequestStream.WriteAsync(request).Within();
        }

        await call.RequestStream.CompleteAsync().Within();

        Assert.Equal(Count, (await call.ResponseAsync.Within()).Count);
    }

    [Fact]
    public async Task Server_ResponseOverTheLimit_IsResourceExhausted()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.MaxSendMessageSize = 100);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(Request(200)).ResponseAsync.Within());

        Assert.Equal(StatusCode.ResourceExhausted, exception.StatusCode);
    }

    [Fact]
    public async Task Client_ResponseOverTheLimit_IsResourceExhausted()
    {
        await using var server = await EchoServer.StartAsync();
        using var channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxReceiveMessageSize = 100 });

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => new EchoService.EchoServiceClient(channel).UnaryAsync(Request(200)).ResponseAsync.Within());

        Assert.Equal(StatusCode.ResourceExhausted, exception.StatusCode);
    }

    [Fact]
    public async Task Client_RequestOverTheLimit_IsNotSent()
    {
        await using var server = await EchoServer.StartAsync();
        using var channel = GrpcChannel.ForAddress(server.Address, new GrpcChannelOptions { MaxSendMessageSize = 100 });

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => new EchoService.EchoServiceClient(channel).UnaryAsync(Request(200)).ResponseAsync.Within());

        Assert.Equal(StatusCode.ResourceExhausted, exception.StatusCode);
    }

    [Fact]
    public async Task Server_ClientThatDoesNotRead_HoldsTheWriterBack()
    {
        const int Count = 400;
        var written = 0;
        var script = new EchoScript
        {
            ServerStream = async (_, responses, _) =>
            {
                var response = new EchoResponse { Payload = ByteString.CopyFrom(new byte[64 * 1024]) };
                for (var i = 0; i < Count; i++)
                {
                    await responses.WriteAsync(response);
                    Interlocked.Increment(ref written);
                }
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.ServerStream(new EchoRequest());
        Assert.True(await call.ResponseStream.MoveNext().Within());
        for (var i = 0; i < 100; i++)
        {
            await server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();
        }

        // The client's window holds 1 MiB, 16 messages; the rest of the 25 MiB must not pile up in the server.
        Assert.InRange(Volatile.Read(ref written), 1, 100);
        Assert.Equal(Count - 1, await call.ResponseStream.ReadAllAsync().CountAsync().AsTask().Within());
    }

    private static EchoRequest Request(int payloadBytes)
    {
        var payload = new byte[payloadBytes];
        new Random(7).NextBytes(payload);
        return new EchoRequest { Payload = UnsafeByteOperations.UnsafeWrap(payload) };
    }
}
