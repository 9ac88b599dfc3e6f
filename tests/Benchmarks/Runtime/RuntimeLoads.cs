using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using Grpc.Net.Client;
using Hub.Benchmarks.V1;

namespace Hub.Benchmarks.Runtime;

/// <summary>The clients that load the servers, each in a process of its own. A load warms up, runs for its time and prints one line.</summary>
internal static class RuntimeLoads
{
    public const string PingPong = "ping-pong";
    public const string OneWay = "one-way";
    public const string Unary = "unary";

    /// <summary>Unary calls in flight.</summary>
    private const int InFlight = 100;

    /// <summary>Bytes of one DATA frame of the one-way floor: the largest that every HTTP/2 peer takes.</summary>
    private const int ChunkBytes = 16 * 1024;

    public const string HeldPrefix = "held ";

    /// <summary>Connections that are opened at once.</summary>
    private const int OpeningMax = 64;

    /// <summary>Until the runtime has compiled both sides for good, which on a core that is never idle takes this long.</summary>
    public static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(15);

    /// <param name="kind">grpc, or floor: the same without gRPC.</param>
    /// <param name="figure">One of the names above.</param>
    public static async Task<int> RunAsync(string kind, string figure, int port, double seconds)
    {
        var clock = new LoadClock(WarmUp, TimeSpan.FromSeconds(seconds));
        var address = new Uri($"http://127.0.0.1:{port}");
        await ((kind, figure) switch
        {
            ("grpc", PingPong) => PingPongAsync(address, clock),
            ("grpc", OneWay) => OneWayAsync(address, clock),
            ("grpc", Unary) => UnaryAsync(address, clock),
            ("floor", PingPong) => TcpPingPongAsync(port, clock),
            ("floor", OneWay) => RawOneWayAsync(address, clock),
            ("floor", Unary) => RawUnaryAsync(address, clock),
            _ => throw new ArgumentException($"There is no load {kind} {figure}."),
        });
        Console.WriteLine(clock.Report());
        return 0;
    }

    /// <summary>Opens streams, each on a connection of its own, prints how many came open a second, and holds them until its input ends.</summary>
    public static async Task<int> HoldAsync(int port, int streams)
    {
        using var opening = new SemaphoreSlim(OpeningMax);
        var held = new ConcurrentBag<IDisposable>();
        var clock = Stopwatch.StartNew();
        await Task.WhenAll(Enumerable.Range(0, streams).Select(async _ =>
        {
            await opening.WaitAsync();
            var client = Client(new Uri($"http://127.0.0.1:{port}"));
            held.Add(client);
            using var request = Request(HttpMethod.Post, RuntimeServers.HoldPath, new OpenContent());
            held.Add(await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead));
            opening.Release();
        }));
        Console.WriteLine(FormattableString.Invariant($"{HeldPrefix}{streams / clock.Elapsed.TotalSeconds}"));
        await Console.In.ReadToEndAsync();
        foreach (var open in held)
        {
            open.Dispose();
        }

        return 0;
    }

    /// <summary>A client with one HTTP/2 connection.</summary>
    public static HttpClient Client(Uri address) => new(new SocketsHttpHandler { EnableMultipleHttp2Connections = false, UseProxy = false })
    {
        BaseAddress = address,
        Timeout = Timeout.InfiniteTimeSpan,
    };

    /// <summary>A request over HTTP/2.</summary>
    public static HttpRequestMessage Request(HttpMethod method, string path, HttpContent? content = null) => new(method, path)
    {
        Version = HttpVersion.Version20,
        VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        Content = content,
    };

    /// <summary>The request of a gRPC call, as a client of ours has it.</summary>
    /// <param name="frame">Its only message, framed.</param>
    public static HttpRequestMessage CallRequest(string path, byte[] frame)
    {
        var content = new ByteArrayContent(frame) { Headers = { ContentType = new MediaTypeHeaderValue(RuntimeServers.ContentType) } };
        var request = Request(HttpMethod.Post, path, content);
        request.Headers.TryAddWithoutValidation("te", "trailers");
        request.Headers.TryAddWithoutValidation(RuntimeServers.AcceptEncoding, RuntimeServers.Encodings);
        request.Headers.TryAddWithoutValidation("user-agent", "grpc-csharp-runtime/1.0");
        return request;
    }

    private static async Task PingPongAsync(Uri address, LoadClock clock)
    {
        using var channel = GrpcChannel.ForAddress(address);
        using var call = new BenchService.BenchServiceClient(channel).Echo();
        var note = RuntimeNotes.Make(0);
        while (clock.IsRunning)
        {
            var sent = Stopwatch.GetTimestamp();
            await call.RequestStream.WriteAsync(note);
            await call.ResponseStream.MoveNext(CancellationToken.None);
            clock.Count(1, sent);
        }
    }

    private static async Task TcpPingPongAsync(int port, LoadClock clock)
    {
        using var connection = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await connection.ConnectAsync(new IPEndPoint(IPAddress.Loopback, port));
        var frame = RuntimeNotes.Frame();
        var answer = new byte[frame.Length];
        while (clock.IsRunning)
        {
            var sent = Stopwatch.GetTimestamp();
            await connection.SendAsync(frame);
            for (var read = 0; read < answer.Length;)
            {
                read += await connection.ReceiveAsync(answer.AsMemory(read));
            }

            clock.Count(1, sent);
        }
    }

    private static async Task OneWayAsync(Uri address, LoadClock clock)
    {
        using var channel = GrpcChannel.ForAddress(address);
        using var call = new BenchService.BenchServiceClient(channel).Upload();
        var reading = Task.Run(async () =>
        {
            while (await call.ResponseStream.MoveNext(CancellationToken.None))
            {
                clock.Count(RuntimeServers.AckEvery);
            }
        });
        var note = RuntimeNotes.Make(0);
        while (clock.IsRunning)
        {
            for (var i = 0; i < RuntimeServers.AckEvery; i++)
            {
                await call.RequestStream.WriteAsync(note);
            }
        }

        await call.RequestStream.CompleteAsync();
        await reading;
    }

    private static async Task RawOneWayAsync(Uri address, LoadClock clock)
    {
        using var client = Client(address);
        using var content = new StreamingContent(async stream =>
        {
            var frame = RuntimeNotes.Frame();
            var chunk = new byte[ChunkBytes / frame.Length * frame.Length];
            for (var at = 0; at < chunk.Length; at += frame.Length)
            {
                frame.CopyTo(chunk, at);
            }

            await stream.FlushAsync();
            while (clock.IsRunning)
            {
                await stream.WriteAsync(chunk);
            }
        });
        using var request = Request(HttpMethod.Post, RuntimeServers.UploadPath, content);
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        await using var answers = await response.Content.ReadAsStreamAsync();
        var ackBytes = RuntimeNotes.FrameHeaderBytes + new Taken { Count = long.MaxValue }.CalculateSize();
        var buffer = new byte[ChunkBytes];
        var bytes = 0L;
        for (int read; (read = await answers.ReadAsync(buffer)) > 0;)
        {
            var before = bytes / ackBytes;
            bytes += read;
            clock.Count(RuntimeServers.AckEvery * ((bytes / ackBytes) - before));
        }
    }

    private static async Task UnaryAsync(Uri address, LoadClock clock)
    {
        using var channel = GrpcChannel.ForAddress(address);
        var client = new BenchService.BenchServiceClient(channel);
        var note = RuntimeNotes.Make(0);
        await Task.WhenAll(Enumerable.Range(0, InFlight).Select(_ => Task.Run(async () =>
        {
            while (clock.IsRunning)
            {
                var sent = Stopwatch.GetTimestamp();
                await client.UnaryAsync(note);
                clock.Count(1, sent);
            }
        })));
    }

    private static async Task RawUnaryAsync(Uri address, LoadClock clock)
    {
        using var client = Client(address);
        var frame = RuntimeNotes.Frame();
        await Task.WhenAll(Enumerable.Range(0, InFlight).Select(_ => Task.Run(async () =>
        {
            while (clock.IsRunning)
            {
                var sent = Stopwatch.GetTimestamp();
                using var request = CallRequest(RuntimeServers.EchoPath, frame);
                using var response = await client.SendAsync(request);
                await response.Content.ReadAsByteArrayAsync();
                clock.Count(1, sent);
            }
        })));
    }

    private sealed class StreamingContent(Func<Stream, Task> write) : HttpContent
    {
        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) => write(stream);

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }

    /// <summary>A body that never ends.</summary>
    private sealed class OpenContent : HttpContent
    {
        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context, CancellationToken cancellationToken)
        {
            await stream.FlushAsync(cancellationToken);
            await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, cancellationToken);
        }

        protected override Task SerializeToStreamAsync(Stream stream, TransportContext? context) =>
            SerializeToStreamAsync(stream, context, CancellationToken.None);

        protected override bool TryComputeLength(out long length)
        {
            length = 0;
            return false;
        }
    }
}
