using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class CallKindTests
{
    [Fact]
    public async Task Unary_Message_IsEchoed()
    {
        await using var server = await EchoServer.StartAsync();
        var request = new EchoRequest { Text = "hello", Numbers = { ["a"] = 1 } };

        using var call = server.Client.UnaryAsync(request);

        Assert.Equal("hello", (await call.ResponseAsync.Within()).Text);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
        Assert.Empty(call.GetTrailers());
    }

    [Fact]
    public async Task Unary_Blocking_IsEchoed()
    {
        await using var server = await EchoServer.StartAsync();

        var response = await Task.Run(() => server.Client.Unary(new EchoRequest { Text = "hello" })).Within();

        Assert.Equal("hello", response.Text);
    }

    [Fact]
    public async Task Unary_Empty_IsEchoed()
    {
        await using var server = await EchoServer.StartAsync();

        Assert.Equal(new EchoResponse(), await server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());
    }

    [Fact]
    public async Task Unary_ManyAtOnce_AreEchoedOverOneChannel()
    {
        await using var server = await EchoServer.StartAsync();

        var calls = Enumerable.Range(0, 300).Select(i => server.Client.UnaryAsync(new EchoRequest { Count = i }).ResponseAsync).ToArray();
        var responses = await Task.WhenAll(calls).Within();

        Assert.Equal(Enumerable.Range(0, 300), responses.Select(response => response.Count));
    }

    [Fact]
    public async Task ServerStream_ManyMessages_ComeInOrder()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.ServerStream(new EchoRequest { Count = 5000 });
        var counts = await call.ResponseStream.ReadAllAsync().Select(response => response.Count).ToListAsync().AsTask().Within();

        Assert.Equal(Enumerable.Range(0, 5000), counts);
        Assert.Equal(StatusCode.OK, call.GetStatus().StatusCode);
    }

    [Fact]
    public async Task ServerStream_NoMessages_Ends()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.ServerStream(new EchoRequest());

        Assert.False(await call.ResponseStream.MoveNext().Within());
        Assert.False(await call.ResponseStream.MoveNext().Within());
    }

    [Fact]
    public async Task ServerStream_BufferHint_SendsAllWithTheEnd()
    {
        var script = new EchoScript
        {
            ServerStream = async (_, responses, _) =>
            {
                responses.WriteOptions = new WriteOptions(WriteFlags.BufferHint);
                await responses.WriteAsync(new EchoResponse { Count = 1 });
                await responses.WriteAsync(new EchoResponse { Count = 2 });
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.ServerStream(new EchoRequest());
        var counts = await call.ResponseStream.ReadAllAsync().Select(response => response.Count).ToListAsync().AsTask().Within();

        Assert.Equal([1, 2], counts);
    }

    [Fact]
    public async Task ClientStream_ManyMessages_AreCounted()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.ClientStream();
        for (var i = 0; i < 5000; i++)
        {
            await call.RequestStream.WriteAsync(new EchoRequest { Count = i }).Within();
        }

        await call.RequestStream.CompleteAsync().Within();

        Assert.Equal(5000, (await call.ResponseAsync.Within()).Count);
    }

    [Fact]
    public async Task ClientStream_ResponseBeforeHalfClose_EndsTheCall()
    {
        var script = new EchoScript { ClientStream = (_, _) => Task.FromResult(new EchoResponse { Text = "enough" }) };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.ClientStream();

        Assert.Equal("enough", (await call.ResponseAsync.Within()).Text);
        await Assert.ThrowsAsync<RpcException>(() => call.RequestStream.WriteAsync(new EchoRequest()));
    }

    [Fact]
    public async Task ClientStream_WriteAfterComplete_IsRefused()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.ClientStream();
        await call.RequestStream.CompleteAsync().Within();

        await Assert.ThrowsAsync<InvalidOperationException>(() => call.RequestStream.WriteAsync(new EchoRequest()));
        Assert.Equal(0, (await call.ResponseAsync.Within()).Count);
    }

    [Fact]
    public async Task Duplex_PingPong_AnswersEachMessage()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.Duplex();
        for (var i = 0; i < 100; i++)
        {
            await call.RequestStream.WriteAsync(new EchoRequest { Count = i }).Within();
            Assert.True(await call.ResponseStream.MoveNext().Within());
            Assert.Equal(i, call.ResponseStream.Current.Count);
        }

        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext().Within());
    }

    [Fact]
    public async Task Duplex_WriterAheadOfReader_LosesNothing()
    {
        await using var server = await EchoServer.StartAsync();
        const int Count = 20_000;

        using var call = server.Client.Duplex();
        var writing = Task.Run(async () =>
        {
            for (var i = 0; i < Count; i++)
            {
                await call.RequestStream.WriteAsync(new EchoRequest { Count = i, Text = "some text of ordinary length" });
            }

            await call.RequestStream.CompleteAsync();
        });
        var counts = await call.ResponseStream.ReadAllAsync().Select(response => response.Count).ToListAsync().AsTask().Within();
        await writing.Within();

        Assert.Equal(Enumerable.Range(0, Count), counts);
    }

    [Fact]
    public async Task Duplex_ResponsesAfterHalfClose_Arrive()
    {
        var script = new EchoScript
        {
            Duplex = async (requests, responses, _) =>
            {
                var count = await requests.ReadAllAsync().CountAsync();
                await responses.WriteAsync(new EchoResponse { Count = count });
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.Duplex();
        await call.RequestStream.WriteAsync(new EchoRequest()).Within();
        await call.RequestStream.CompleteAsync().Within();

        Assert.True(await call.ResponseStream.MoveNext().Within());
        Assert.Equal(1, call.ResponseStream.Current.Count);
    }

    [Fact]
    public async Task Duplex_MessageAfterSilence_ArrivesWithoutAnother()
    {
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            // The answer must leave although the handler goes on waiting and more requests have already arrived.
            Duplex = async (requests, responses, context) =>
            {
                await requests.MoveNext();
                await responses.WriteAsync(EchoScript.Echo(requests.Current));
                await goOn.Task.WaitAsync(context.CancellationToken);
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.Duplex();
        await call.RequestStream.WriteAsync(new EchoRequest { Count = 1 }).Within();
        await call.RequestStream.WriteAsync(new EchoRequest { Count = 2 }).Within();

        Assert.True(await call.ResponseStream.MoveNext().Within());
        goOn.SetResult();
        Assert.False(await call.ResponseStream.MoveNext().Within());
    }
}
