using Google.Protobuf;
using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Clients that abuse HTTP/2: what they can hold of the server is bounded, and others are served meanwhile.</summary>
[Collection<Alone>]
public sealed class Http2AbuseTests(ITestOutputHelper output)
{
    private const long GrowthBytesMax = 8 * 1024 * 1024;

    // Kestrel's defaults: streams of a connection at a time, and how many it tracks with those being torn down.
    private const int StreamsMax = 100;
    private const int TrackedStreamsMax = 2 * StreamsMax;

    private const int RefusedStream = 7;
    private const int FlowControlError = 3;

    [Fact]
    public async Task RapidReset_Flood_KeepsHandlersBoundedAndOthersServed()
    {
        const int Resets = 20_000;
        var handlers = new Gauge();
        await using var server = await EchoServer.StartAsync(new EchoScript
        {
            Duplex = async (requests, _, _) =>
            {
                using var running = handlers.Enter();
                await requests.MoveNext();
            },
        });
        await using var connection = await RawConnection.OpenAsync(server.Address);
        var headers = RawConnection.HeaderBlock(RawConnection.CallHeaders(RawHttp2.DuplexPath));
        byte[] cancel = [0, 0, 0, 8];
        byte[] flood =
        [
            .. Enumerable.Range(0, Resets).SelectMany(i => (byte[])
            [
                .. RawConnection.Frame(FrameType.Headers, RawConnection.EndHeaders, (2 * i) + 1, headers),
                .. RawConnection.Frame(FrameType.RstStream, 0, (2 * i) + 1, cancel),
            ]),
        ];

        await AssertBoundedAsync(server, connection, flood);

        Assert.True(handlers.Highest <= TrackedStreamsMax, $"{handlers.Highest} handlers ran at a time.");
        await handlers.EmptyAsync();

        // Kestrel may hang up on such a client, and says so; the calls themselves are no errors.
        Assert.All(server.Log.Errors, error => Assert.StartsWith("Microsoft.AspNetCore.Server.Kestrel", error, StringComparison.Ordinal));
    }

    [Fact]
    public async Task SettingsFlood_WithoutReading_IsBounded()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await AssertBoundedAsync(server, connection, Repeat(RawConnection.Frame(FrameType.Settings, 0, 0, []), 1_000_000));
    }

    [Fact]
    public async Task PingFlood_WithoutReading_IsBounded()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await AssertBoundedAsync(server, connection, Repeat(RawConnection.Frame(FrameType.Ping, 0, 0, new byte[8]), 1_000_000));
    }

    [Fact]
    public async Task TinyWindows_ManyStreams_HoldTheWritersBack()
    {
        const int Streams = 50;
        const int GrantedBytes = 200;
        var handlers = new Gauge();
        var written = new int[Streams];
        await using var server = await EchoServer.StartAsync(new EchoScript
        {
            ServerStream = async (request, responses, _) =>
            {
                using var running = handlers.Enter();
                var response = new EchoResponse { Payload = ByteString.CopyFrom(new byte[1000]) };
                while (true)
                {
                    await responses.WriteAsync(response);
                    Interlocked.Add(ref written[request.Count], 1000);
                }
            },
        });
        var connection = await RawConnection.OpenAsync(server.Address, (RawConnection.InitialWindowSize, 0u));
        for (var i = 0; i < Streams; i++)
        {
            await connection.StartCallAsync((2 * i) + 1, "/grpcruntime.tests.v1.EchoService/ServerStream");
            await connection.SendAsync(
                FrameType.Data, RawConnection.EndStream, (2 * i) + 1, RawHttp2.Frame(new EchoRequest { Count = i }));
        }

        // One byte at a time, read before the next is granted.
        for (var i = 0; i < GrantedBytes; i++)
        {
            await connection.GrantAsync(1, 1);
            Assert.NotNull(await connection.ReadToAsync(frame => frame.Type == FrameType.Data));
        }

        await ServeOthersAsync(server);

        // What our writer and Kestrel's gather before they wait, and what was granted.
        const int HeldBytesMax = 256 * 1024;
        Assert.All(written, bytes => Assert.InRange(bytes, 0, HeldBytesMax));
        await connection.DisposeAsync();
        await handlers.EmptyAsync();
        Assert.True(server.Log.Errors.Count == 0, string.Join('\n', server.Log.Errors));
    }

    [Fact]
    public async Task SlowHeaders_NeverEnding_AreCutOff()
    {
        await using var server = await EchoServer.StartAsync(kestrel: kestrel => kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(1));
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.SendAsync(FrameType.Headers, flags: 0, 1, RawConnection.HeaderBlock((":method", "POST")));

        await ServeOthersAsync(server);
        Assert.Null(await connection.ReadToAsync(_ => false));
    }

    [Fact]
    public async Task ContinuationFlood_IsCutOff()
    {
        await using var server = await EchoServer.StartAsync();
        await using var connection = await RawConnection.OpenAsync(server.Address);
        var block = RawConnection.HeaderBlock(("x-filler", new string('x', 8000)));
        byte[] flood =
        [
            .. RawConnection.Frame(FrameType.Headers, 0, 1, RawConnection.HeaderBlock(RawConnection.CallHeaders(RawHttp2.UnaryPath))),
            .. Repeat(RawConnection.Frame(FrameType.Continuation, 0, 1, block), 500),
        ];

        await AssertBoundedAsync(server, connection, flood);

        Assert.Null(await connection.ReadToAsync(_ => false));
    }

    [Fact]
    public async Task StreamsOverTheLimit_AreRefusedAndTheConnectionGoesOn()
    {
        var handlers = new Gauge();
        await using var server = await EchoServer.StartAsync(new EchoScript
        {
            Duplex = async (requests, _, _) =>
            {
                using var running = handlers.Enter();
                await requests.MoveNext();
            },
        });
        await using var connection = await RawConnection.OpenAsync(server.Address);
        for (var i = 0; i <= StreamsMax; i++)
        {
            await connection.StartCallAsync((2 * i) + 1, RawHttp2.DuplexPath);
        }

        var reset = await connection.ReadToAsync(frame => frame.Type == FrameType.RstStream);
        await connection.SendAsync(FrameType.Data, RawConnection.EndStream, 1, []);

        Assert.Equal(RefusedStream, reset?.ErrorCode);
        Assert.Equal((2 * StreamsMax) + 1, reset?.StreamId);
        Assert.Equal("0", await connection.ReadStatusAsync(1));
        Assert.InRange(handlers.Highest, 1, StreamsMax);
    }

    [Fact]
    public async Task DataBeyondTheWindow_EndsTheConnection()
    {
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(new EchoScript { Duplex = (_, _, _) => release.Task });
        await using var connection = await RawConnection.OpenAsync(server.Address);

        await connection.StartCallAsync(1, RawHttp2.DuplexPath);
        await AssertBoundedAsync(server, connection, Repeat(RawConnection.Frame(FrameType.Data, 0, 1, new byte[16_000]), 100));

        var end = await connection.ReadToAsync(frame => frame.Type is FrameType.GoAway or FrameType.RstStream);
        release.SetResult();
        Assert.Equal(FlowControlError, end?.ErrorCode);
    }

    private static byte[] Repeat(byte[] frame, int count)
    {
        var all = new byte[frame.Length * count];
        for (var i = 0; i < count; i++)
        {
            frame.CopyTo(all, i * frame.Length);
        }

        return all;
    }

    /// <summary>Floods without reading while others are served; whatever the flood comes to, it leaves nothing in the server.</summary>
    private async Task AssertBoundedAsync(EchoServer server, RawConnection connection, byte[] flood)
    {
        await ServeOthersAsync(server);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        using var enough = new CancellationTokenSource();
        var flooding = connection.SendAsync(flood, enough.Token);
        await ServeOthersAsync(server);
        var growth = GC.GetTotalMemory(forceFullCollection: true) - before;

        // The server may have taken it all, stopped reading, or hung up.
        await enough.CancelAsync();
        var end = await Record.ExceptionAsync(() => flooding.Within());
        output.WriteLine($"heap growth {growth} bytes, flood ended with {end?.GetType().Name ?? "all taken"}");
        Assert.True(end is null or IOException or OperationCanceledException, $"{end}");
        Assert.True(growth < GrowthBytesMax, $"The heap grew by {growth} bytes.");
    }

    private static async Task ServeOthersAsync(EchoServer server)
    {
        for (var i = 0; i < 200; i++)
        {
            Assert.Equal(i, (await server.Client.UnaryAsync(new EchoRequest { Count = i }).ResponseAsync.Within()).Count);
        }
    }
}
