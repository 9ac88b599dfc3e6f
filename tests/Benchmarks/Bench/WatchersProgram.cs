using System.Buffers.Binary;
using System.Globalization;
using System.Net.Http.Headers;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using Hub.Benchmarks.Runtime;
using Hub.Benchmarks.Swarm;
using Hub.Contracts.V1;

namespace Hub.Benchmarks.Bench;

/// <summary>What a watchers process is to do; its first line of input.</summary>
/// <param name="Rest">Where server-sent events come from.</param>
/// <param name="Http2">Where gRPC, or of the floor HTTP/2, streams come from.</param>
internal sealed record WatchersPlan(Uri Rest, Uri Http2, string ApiKey, bool IsFloor)
{
    public const int Sse = 200;
    public const int Grpc = 200;
    public const int Count = Sse + Grpc;
}

/// <summary>A line of its output, four times a second.</summary>
/// <param name="Open">Streams that have begun.</param>
/// <param name="Events">That came, of all streams.</param>
/// <param name="Latency">From the commit until the event came, since the line before.</param>
internal sealed record WatchersReport(double At, int Open, long Events, Dictionary<int, long> Latency);

/// <summary>
/// Watchers as a process: opens their streams, counts what comes and reports it until its input ends. One in <see cref="ReaderOf"/> reads
/// what comes, which tells how late it is; the others, and those of the floor, only count: the machine is the Hub's as well.
/// </summary>
internal sealed class WatchersProgram(WatchersPlan plan) : IDisposable
{
    private const int StreamsPerConnection = 50;
    private const int ReaderOf = 20;
    private const string SseMediaType = "text/event-stream";
    private const string WatchPath = "/api/watch?cursor=now&kinds=WATCH_KIND_TASK";
    private const string GrpcPath = "/hub.v1.WatchService/Watch";
    private const string AtField = "\"at\":\"";

    private static readonly WatchRequest Tasks = new() { Cursor = "now", Kinds = { WatchKind.Task } };
    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(250);

    private readonly LatencyHistogram _latency = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TimeProvider _time = TimeProvider.System;
    private int _open;
    private long _events;

    public static async Task<int> RunAsync()
    {
        var plan = JsonSerializer.Deserialize<WatchersPlan>(await Console.In.ReadLineAsync() ?? "{}", SwarmPlan.Json)!;
        using var program = new WatchersProgram(plan);
        await program.RunUntilToldAsync();
        return 0;
    }

    public void Dispose() => _stopping.Dispose();

    private async Task RunUntilToldAsync()
    {
        using var client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = WatchersPlan.Sse });
        client.Timeout = Timeout.InfiniteTimeSpan;
        var connections = Enumerable.Range(0, WatchersPlan.Grpc / StreamsPerConnection);
        GrpcChannel[] channels = [.. connections.Select(_ => GrpcChannel.ForAddress(plan.Http2))];
        HttpClient[] http2 = [.. connections.Select(_ => RuntimeLoads.Client(plan.Http2))];
        Task[] running =
        [
            .. Enumerable.Range(0, WatchersPlan.Sse).Select(i => WatchAsync(() => (plan.IsFloor, i % ReaderOf) switch
            {
                (true, _) => CountAsync(
                    client, new(HttpMethod.Get, new Uri(plan.Rest, RuntimeServers.FanOutPath)), new BytesCounter(RuntimeServers.SseBytes)),
                (false, 0) => ReadSseAsync(client),
                (false, _) => CountAsync(client, SseRequest(), new BlankLinesCounter()),
            })),
            .. Enumerable.Range(0, WatchersPlan.Grpc).Select(i => WatchAsync(() => (plan.IsFloor, i % ReaderOf) switch
            {
                (true, _) => CountAsync(
                    http2[i / StreamsPerConnection],
                    RuntimeLoads.Request(HttpMethod.Get, RuntimeServers.FanOutPath),
                    new BytesCounter(RuntimeServers.MessageBytes)),
                (false, 0) => ReadGrpcAsync(channels[i / StreamsPerConnection]),
                (false, _) => CountAsync(http2[i / StreamsPerConnection], GrpcRequest(), new FramesCounter()),
            })),
            ReportAsync(),
        ];
        await Console.In.ReadToEndAsync();
        await _stopping.CancelAsync();
        await Task.WhenAll(running);
        Array.ForEach(channels, channel => channel.Dispose());
        Array.ForEach(http2, connection => connection.Dispose());
    }

    private async Task WatchAsync(Func<Task> watchAsync)
    {
        try
        {
            await Task.Run(watchAsync);
        }
        catch (Exception e) when (_stopping.IsCancellationRequested
            && e is OperationCanceledException or RpcException or IOException or HttpRequestException)
        {
            // Told to stop.
        }
    }

    private HttpRequestMessage SseRequest() => new(HttpMethod.Get, new Uri(plan.Rest, WatchPath))
    {
        Headers =
        {
            Authorization = new AuthenticationHeaderValue("Bearer", plan.ApiKey),
            Accept = { new MediaTypeWithQualityHeaderValue(SseMediaType) },
        },
    };

    private HttpRequestMessage GrpcRequest()
    {
        var request = RuntimeLoads.CallRequest(GrpcPath, RuntimeNotes.FrameOf(Tasks));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", plan.ApiKey);
        return request;
    }

    private async Task ReadSseAsync(HttpClient client)
    {
        using var request = SseRequest();
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, _stopping.Token);
        response.EnsureSuccessStatusCode();
        using var lines = new StreamReader(await response.Content.ReadAsStreamAsync(_stopping.Token));
        Interlocked.Increment(ref _open);
        while (await lines.ReadLineAsync(_stopping.Token) is { } line)
        {
            var at = line.IndexOf(AtField, StringComparison.Ordinal);
            if (line.StartsWith("data:", StringComparison.Ordinal) && at > 0)
            {
                var from = at + AtField.Length;
                Came(DateTimeOffset.Parse(line.AsSpan(from, line.IndexOf('"', from) - from), CultureInfo.InvariantCulture));
            }
        }
    }

    private async Task ReadGrpcAsync(GrpcChannel channel)
    {
        using var watch = new WatchService.WatchServiceClient(channel).Watch(
            Tasks, new Metadata { { "authorization", $"Bearer {plan.ApiKey}" } }, cancellationToken: _stopping.Token);
        await watch.ResponseHeadersAsync;
        Interlocked.Increment(ref _open);
        while (await watch.ResponseStream.MoveNext(_stopping.Token))
        {
            Came(watch.ResponseStream.Current.At.ToDateTimeOffset());
        }
    }

    private async Task CountAsync(HttpClient client, HttpRequestMessage request, IEventsCounter counter)
    {
        using var sent = request;
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, _stopping.Token);
        response.EnsureSuccessStatusCode();
        await using var stream = await response.Content.ReadAsStreamAsync(_stopping.Token);
        Interlocked.Increment(ref _open);
        var buffer = new byte[16 * 1024];
        for (int read; (read = await stream.ReadAsync(buffer, _stopping.Token)) > 0;)
        {
            Interlocked.Add(ref _events, counter.Count(buffer.AsSpan(0, read)));
        }
    }

    private void Came(DateTimeOffset at)
    {
        Interlocked.Increment(ref _events);
        _latency.Add(_time.GetUtcNow() - at);
    }

    private async Task ReportAsync()
    {
        using var timer = new PeriodicTimer(ReportEvery, _time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stopping.Token))
            {
                var report = new WatchersReport(SwarmPlan.Now, Volatile.Read(ref _open), Volatile.Read(ref _events), _latency.TakeCounts());
                Console.WriteLine(JsonSerializer.Serialize(report, SwarmPlan.Json));
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The watchers end.
        }
    }

    /// <summary>Counts the events that end in a part of a stream.</summary>
    private interface IEventsCounter
    {
        public int Count(ReadOnlySpan<byte> part);
    }

    private sealed class BytesCounter(int eventBytes) : IEventsCounter
    {
        private long _bytes;

        public int Count(ReadOnlySpan<byte> part)
        {
            var before = _bytes / eventBytes;
            _bytes += part.Length;
            return (int)((_bytes / eventBytes) - before);
        }
    }

    /// <summary>Of server-sent events.</summary>
    private sealed class BlankLinesCounter : IEventsCounter
    {
        private bool _endsLine;

        public int Count(ReadOnlySpan<byte> part)
        {
            var across = _endsLine && part[0] == '\n' ? 1 : 0;
            _endsLine = part[^1] == '\n';
            return part.Count("\n\n"u8) + across;
        }
    }

    /// <summary>Of gRPC: a flag, four bytes of length, the message.</summary>
    private sealed class FramesCounter : IEventsCounter
    {
        private readonly byte[] _header = new byte[RuntimeNotes.FrameHeaderBytes];
        private int _headerBytes;
        private long _left;

        public int Count(ReadOnlySpan<byte> part)
        {
            var ended = 0;
            while (part.Length > 0)
            {
                var taken = (int)Math.Min(_headerBytes < _header.Length ? _header.Length - _headerBytes : _left, part.Length);
                if (_headerBytes < _header.Length)
                {
                    part[..taken].CopyTo(_header.AsSpan(_headerBytes));
                    _headerBytes += taken;
                    _left = BinaryPrimitives.ReadUInt32BigEndian(_header.AsSpan(1));
                }
                else
                {
                    _left -= taken;
                    if (_left == 0)
                    {
                        (_headerBytes, ended) = (0, ended + 1);
                    }
                }

                part = part[taken..];
            }

            return ended;
        }
    }
}
