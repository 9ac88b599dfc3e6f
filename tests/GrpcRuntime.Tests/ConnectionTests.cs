using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Hub.GrpcRuntime.Tests;

/// <summary>The life of connections: reuse, limits, keep-alive, shutdown and coming back.</summary>
public sealed class ConnectionTests
{
    // The shortest that Kestrel and SocketsHttpHandler take.
    private static readonly TimeSpan PingDelay = TimeSpan.FromSeconds(1);

    [Fact]
    public async Task Client_ManyCalls_ShareOneConnection()
    {
        await using var server = await EchoServer.StartAsync();
        var connects = new ConnectCounter();
        using var channel = connects.Open(server.Address);
        var client = new EchoService.EchoServiceClient(channel);

        for (var i = 0; i < 50; i++)
        {
            await client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();
        }

        Assert.Equal(1, connects.Count);
    }

    [Fact]
    public async Task Client_MoreCallsThanAConnectionTakes_OpensFurtherOnes()
    {
        const int Calls = 30;
        await using var server = await EchoServer.StartAsync(kestrel: kestrel => kestrel.Limits.Http2.MaxStreamsPerConnection = 10);

        var calls = Enumerable.Range(0, Calls).Select(_ => server.Client.Duplex()).ToArray();
        foreach (var call in calls)
        {
            await call.RequestStream.WriteAsync(new EchoRequest { Text = "all at once" }).Within();
        }

        foreach (var call in calls)
        {
            Assert.True(await call.ResponseStream.MoveNext().Within());
            call.Dispose();
        }
    }

    [Fact]
    public async Task Server_PeerThatAnswersNoPing_IsGivenUp()
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(WaitingScript(ended), kestrel: KeepAlive);
        await using var connection = await RawConnection.OpenAsync(server.Address);
        await connection.StartCallAsync(1, RawHttp2.DuplexPath);

        Assert.NotNull(await connection.ReadToAsync(frame => frame.Type == FrameType.Ping));
        Assert.Null(await connection.ReadToAsync(_ => false));
        await ended.Task.Within();
        Assert.Empty(server.Log.Errors);
    }

    [Fact]
    public async Task Server_PeerThatAnswersPings_IsKept()
    {
        await using var server = await EchoServer.StartAsync(kestrel: KeepAlive);
        await using var connection = await RawConnection.OpenAsync(server.Address);
        await connection.StartCallAsync(1, RawHttp2.DuplexPath);

        for (var i = 0; i < 3; i++)
        {
            var ping = await connection.ReadToAsync(frame => frame.Type == FrameType.Ping);
            await connection.SendAsync(FrameType.Ping, RawConnection.Ack, 0, ping!.Payload);
        }

        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, []);
        Assert.Equal("0", await connection.ReadStatusAsync(1));
    }

    [Fact]
    public async Task Client_ServerThatAnswersNoPing_IsUnavailable()
    {
        using var listener = Listen(out var address);
        using var channel = GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { KeepAlivePingDelay = PingDelay, KeepAlivePingTimeout = PingDelay },
            DisposeHttpClient = true,
        });
        var call = new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest());
        await using var connection = await RawConnection.AcceptAsync(listener);

        Assert.NotNull(await connection.ReadToAsync(frame => frame.Type == FrameType.Ping));
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());

        Assert.True(exception.StatusCode == StatusCode.Unavailable, $"{exception}");
    }

    [Fact]
    public async Task Client_ConnectionLostWithinACall_IsUnavailable()
    {
        using var listener = Listen(out var address);
        using var channel = GrpcChannel.ForAddress(address);
        var call = new EchoService.EchoServiceClient(channel).Duplex();
        await using (var connection = await RawConnection.AcceptAsync(listener))
        {
            Assert.NotNull(await connection.ReadToAsync(frame => frame.Type == FrameType.Headers));
        }

        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());

        Assert.True(exception.StatusCode == StatusCode.Unavailable, $"{exception}");
    }

    [Fact]
    public async Task Client_GoAway_FinishesTheOpenCallAndMovesOn()
    {
        using var listener = Listen(out var address);
        using var channel = GrpcChannel.ForAddress(address);
        var client = new EchoService.EchoServiceClient(channel);

        var first = client.UnaryAsync(new EchoRequest());
        await using var old = await RawConnection.AcceptAsync(listener);
        var open = await old.ReadToAsync(frame => frame.Type == FrameType.Headers);
        await old.GoAwayAsync(open!.StreamId);
        await AnswerAsync(old, open.StreamId, "first");
        Assert.Equal("first", (await first.ResponseAsync.Within()).Text);

        var second = client.UnaryAsync(new EchoRequest());
        await using var next = await RawConnection.AcceptAsync(listener);
        var moved = await next.ReadToAsync(frame => frame.Type == FrameType.Headers);
        await AnswerAsync(next, moved!.StreamId, "second");
        Assert.Equal("second", (await second.ResponseAsync.Within()).Text);
    }

    [Fact]
    public async Task Server_Stopping_SendsGoAwayAndLetsOpenCallsFinish()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);
        await connection.StartCallAsync(1, RawHttp2.DuplexPath);
        await connection.SendAsync(FrameType.Data, 0, 1, RawHttp2.Frame(new EchoRequest { Text = "before" }));
        Assert.NotNull(await connection.ReadToAsync(frame => frame.Type == FrameType.Data));

        var stopping = server.StopAsync();
        var goAway = await connection.ReadToAsync(frame => frame.Type == FrameType.GoAway);
        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, RawHttp2.Frame(new EchoRequest { Text = "after" }));
        var answer = await connection.ReadToAsync(frame => frame.Type == FrameType.Data && frame.Payload.Length > 0);

        Assert.Equal(0, goAway?.ErrorCode);
        Assert.Equal(RawHttp2.Frame(new EchoResponse { Text = "after" }), answer?.Payload);
        Assert.Equal("0", await connection.ReadStatusAsync(1));

        // As every client does when its last call is over.
        await connection.DisposeAsync();
        await stopping.Within();
    }

    [Fact]
    public async Task Server_StoppingWithACallThatDoesNotEnd_AbortsItAtTheBound()
    {
        var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(
            WaitingScript(ended),
            services: services => services.Configure<HostOptions>(host => host.ShutdownTimeout = TimeSpan.FromSeconds(1)));
        using var call = server.Client.Duplex();
        await call.RequestStream.WriteAsync(new EchoRequest()).Within();
        Assert.True(await call.ResponseStream.MoveNext().Within());

        await server.StopAsync().Within();
        await ended.Task.Within();
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());

        Assert.Equal(StatusCode.Unavailable, exception.StatusCode);
        Assert.True(server.Log.Errors.Count == 0, string.Join('\n', server.Log.Errors));
    }

    [Fact]
    public async Task Client_ServerThatCameBack_IsFoundAgainAfterTheBackoff()
    {
        var time = new ManualTimeProvider();
        var connects = new ConnectCounter();
        int port;
        await using (var server = await EchoServer.StartAsync())
        {
            port = new Uri(server.Address).Port;
        }

        using var channel = connects.Open($"http://127.0.0.1:{port}", time);
        var client = new EchoService.EchoServiceClient(channel);
        async Task<StatusCode> FailAsync() =>
            (await Assert.ThrowsAsync<RpcException>(() => client.UnaryAsync(new EchoRequest()).ResponseAsync.Within())).StatusCode;

        Assert.Equal(StatusCode.Unavailable, await FailAsync());
        Assert.Equal(StatusCode.Unavailable, await FailAsync());
        Assert.Equal(1, connects.Count);

        // The first wait is one second, 20 % more or less.
        time.Advance(TimeSpan.FromSeconds(1.2));
        Assert.Equal(StatusCode.Unavailable, await FailAsync());
        Assert.Equal(2, connects.Count);

        await using var again = await EchoServer.StartAsync(port: port);
        var patient = client.UnaryAsync(new EchoRequest { Text = "back" }, new CallOptions().WithWaitForReady());
        time.Advance(TimeSpan.FromSeconds(1.6 * 1.2));

        Assert.Equal("back", (await patient.ResponseAsync.Within()).Text);
        Assert.Equal("back", (await client.UnaryAsync(new EchoRequest { Text = "back" }).ResponseAsync.Within()).Text);
    }

    [Fact]
    public void Backoff_FailedAttempts_GrowToTheLimitAndStartOverAfterASuccess()
    {
        var time = new ManualTimeProvider();
        var backoff = new ConnectionBackoff(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(3), time, new Random(3));
        TimeSpan Fail()
        {
            backoff.Left(out var attempt, out _);
            backoff.Failed(attempt, new IOException());

            // A second call that shared the attempt adds nothing.
            backoff.Failed(attempt, new IOException());
            var wait = backoff.Left(out _, out _);
            time.Advance(wait);
            Assert.Equal(TimeSpan.Zero, backoff.Left(out _, out _));
            return wait;
        }

        void AssertNear(double seconds, TimeSpan wait) =>
            Assert.InRange(wait, TimeSpan.FromSeconds(0.8 * seconds), TimeSpan.FromSeconds(1.2 * seconds));

        AssertNear(1, Fail());
        AssertNear(1.6, Fail());
        AssertNear(2.56, Fail());
        AssertNear(3, Fail());
        AssertNear(3, Fail());
        backoff.Succeeded();
        AssertNear(1, Fail());
    }

    private static void KeepAlive(KestrelServerOptions kestrel) =>
        (kestrel.Limits.Http2.KeepAlivePingDelay, kestrel.Limits.Http2.KeepAlivePingTimeout) = (PingDelay, PingDelay);

    private static EchoScript WaitingScript(TaskCompletionSource ended) => new()
    {
        Duplex = async (requests, responses, context) =>
        {
            try
            {
                await responses.WriteAsync(new EchoResponse());
                await EchoScript.UntilCancelledAsync(context.CancellationToken);
            }
            finally
            {
                ended.TrySetResult();
            }
        },
    };

    private static Socket Listen(out string address)
    {
        var listener = new Socket(SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        address = $"http://127.0.0.1:{((IPEndPoint)listener.LocalEndPoint!).Port}";
        return listener;
    }

    private static async Task AnswerAsync(RawConnection connection, int streamId, string text)
    {
        await connection.SendAsync(
            FrameType.Headers,
            RawConnection.EndHeaders,
            streamId,
            RawConnection.HeaderBlock((":status", "200"), ("content-type", "application/grpc")));
        await connection.SendAsync(FrameType.Data, 0, streamId, RawHttp2.Frame(new EchoResponse { Text = text }));
        await connection.SendAsync(
            FrameType.Headers,
            RawConnection.EndHeaders | RawConnection.EndStream,
            streamId,
            RawConnection.HeaderBlock(("grpc-status", "0")));
    }

    /// <summary>Counts the attempts of a channel to connect.</summary>
    private sealed class ConnectCounter
    {
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public GrpcChannel Open(string address, TimeProvider? time = null) => GrpcChannel.ForAddress(address, new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { UseProxy = false, ConnectCallback = ConnectAsync },
            DisposeHttpClient = true,
            TimeProvider = time ?? TimeProvider.System,
        });

        private async ValueTask<Stream> ConnectAsync(SocketsHttpConnectionContext context, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref _count);
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
    }
}
