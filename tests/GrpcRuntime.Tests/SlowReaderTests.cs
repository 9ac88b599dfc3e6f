using System.Diagnostics;
using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Readers that stop: the sender waits, its process does not grow, and other calls keep their pace.</summary>
[Collection<Alone>]
public sealed class SlowReaderTests(ITestOutputHelper output)
{
    /// <summary>Sets how long the readers stand still, in seconds; 60 for the long run.</summary>
    private const string SecondsVariable = "GRPC_SLOW_READER_SECONDS";

    private const int Streams = 8;
    private const int WarmUpRounds = 3;
    private const long GrowthBytesMax = 8 * 1024 * 1024;

    private static readonly TimeSpan Standstill = TimeSpan.FromSeconds(
        int.TryParse(Environment.GetEnvironmentVariable(SecondsVariable), NumberStyles.None, CultureInfo.InvariantCulture, out var seconds)
            ? seconds
            : 3);

    private static readonly ByteString Payload = ByteString.CopyFrom(new byte[16 * 1024]);

    [Fact]
    public async Task Server_ReadersThatStop_CostNoMemoryAndNobodysTime()
    {
        long sent = 0;
        await using var server = await EchoServer.StartAsync(new EchoScript
        {
            ServerStream = async (_, responses, _) =>
            {
                while (true)
                {
                    await responses.WriteAsync(new EchoResponse { Payload = Payload });
                    Interlocked.Add(ref sent, Payload.Length);
                }
            },
        });

        await MeasureAsync(server, () => Volatile.Read(ref sent), async () =>
        {
            // Takes the 64 KiB window HTTP/2 starts with, and never grants more.
            var connection = await RawConnection.OpenAsync(server.Address);
            for (var i = 0; i < Streams; i++)
            {
                await connection.StartCallAsync((2 * i) + 1, "/grpcruntime.tests.v1.EchoService/ServerStream");
                await connection.SendAsync(FrameType.Data, RawConnection.EndStream, (2 * i) + 1, RawHttp2.Frame(new EchoRequest()));
            }

            return connection;
        });
    }

    [Fact]
    public async Task Client_HandlersThatStopReading_CostNoMemoryAndNobodysTime()
    {
        long sent = 0;
        await using var server = await EchoServer.StartAsync(new EchoScript
        {
            ClientStream = async (_, context) =>
            {
                await EchoScript.UntilCancelledAsync(context.CancellationToken);
                return new EchoResponse();
            },
        });

        await MeasureAsync(server, () => Volatile.Read(ref sent), () => Task.FromResult<IAsyncDisposable>(new Uploads(server, bytes => Interlocked.Add(ref sent, bytes))));
    }

    private async Task MeasureAsync<TStreams>(EchoServer server, Func<long> sent, Func<Task<TStreams>> start)
        where TStreams : IAsyncDisposable
    {
        // Some rounds in vain, so that code, pools and connections exist before the first figure is taken.
        for (var round = 0; round < WarmUpRounds; round++)
        {
            await using var streams = await start();
            await CallForAsync(server, TimeSpan.FromSeconds(1));
            Memory();
        }

        var sentBefore = sent();
        var calm = await CallForAsync(server, TimeSpan.FromSeconds(1));
        var before = Memory();
        await using var stopped = await start();
        var busy = await CallForAsync(server, Standstill);
        var after = Memory();

        var (heap, resident) = (after.Heap - before.Heap, after.Resident - before.Resident);
        output.WriteLine($"{Standstill.TotalSeconds} s, {Streams} streams ({SecondsVariable})");
        output.WriteLine($"sent {(sent() - sentBefore) / 1024} KiB, heap growth {heap / 1024} KiB, resident growth {resident / 1024} KiB");
        output.WriteLine($"calls before: {calm}, during: {busy}");
        Assert.True(heap < GrowthBytesMax, $"The heap grew by {heap} bytes.");
        Assert.True(resident < GrowthBytesMax, $"The process grew by {resident} bytes.");

        // A generous factor: the machine has other work, but calls behind a blocked writer would wait for the whole run.
        Assert.True(busy.Median < (10 * calm.Median) + TimeSpan.FromMilliseconds(20), $"{calm} became {busy}");
    }

    private static async Task<Latencies> CallForAsync(EchoServer server, TimeSpan duration)
    {
        var latencies = new List<TimeSpan>();
        var started = Stopwatch.GetTimestamp();
        while (Stopwatch.GetElapsedTime(started) < duration)
        {
            var call = Stopwatch.GetTimestamp();
            await server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();
            latencies.Add(Stopwatch.GetElapsedTime(call));
        }

        latencies.Sort();
        return new Latencies(latencies.Count, latencies[latencies.Count / 2], latencies[latencies.Count * 99 / 100]);
    }

    private static (long Heap, long Resident) Memory()
    {
        GC.Collect(GC.MaxGeneration, GCCollectionMode.Aggressive, blocking: true, compacting: true);
        var pages = File.ReadAllText("/proc/self/statm").Split(' ')[1];
        return (GC.GetTotalMemory(forceFullCollection: true), long.Parse(pages, CultureInfo.InvariantCulture) * Environment.SystemPageSize);
    }

    private sealed record Latencies(int Count, TimeSpan Median, TimeSpan Percentile99)
    {
        public override string ToString() => $"{Count} (p50 {Median.TotalMicroseconds:F0} us, p99 {Percentile99.TotalMicroseconds:F0} us)";
    }

    /// <summary>Uploads of our own client, on a channel of their own, each writing as fast as it may.</summary>
    private sealed class Uploads : IAsyncDisposable
    {
        private readonly Grpc.Net.Client.GrpcChannel _channel;
        private readonly Task[] _writing;

        public Uploads(EchoServer server, Action<int> onSent)
        {
            _channel = Grpc.Net.Client.GrpcChannel.ForAddress(server.Address);
            var client = new EchoService.EchoServiceClient(_channel);
            _writing = [.. Enumerable.Range(0, Streams).Select(_ => Task.Run(() => WriteAsync(client, onSent)))];
        }

        public async ValueTask DisposeAsync()
        {
            _channel.Dispose();
            await Task.WhenAll(_writing).Within();
        }

        private static async Task WriteAsync(EchoService.EchoServiceClient client, Action<int> onSent)
        {
            using var call = client.ClientStream();
            try
            {
                while (true)
                {
                    await call.RequestStream.WriteAsync(new EchoRequest { Payload = Payload });
                    onSent(Payload.Length);
                }
            }
            catch (RpcException exception) when (exception.StatusCode is StatusCode.Cancelled or StatusCode.Unavailable)
            {
                // The end of the test. HttpClient may send the DATA of an upload behind its own RST_STREAM when both come together; Kestrel
                // then ends the connection, and the uploads that were not cancelled yet with it.
            }
        }
    }
}
