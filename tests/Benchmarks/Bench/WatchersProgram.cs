using System.Globalization;
using System.Net;
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

/// <summary>Watchers as a process: opens their streams, counts what comes and reports it until its input ends.</summary>
internal sealed class WatchersProgram(WatchersPlan plan) : IDisposable
{
    private const int StreamsPerConnection = 50;
    private const string AtField = "\"at\":\"";

    private static readonly TimeSpan ReportEvery = TimeSpan.FromMilliseconds(250);

    private readonly LatencyHistogram _latency = new();
    private readonly CancellationTokenSource _stopping = new();
    private readonly TimeProvider _time = TimeProvider.System;
    private int _open;
    private long _events;

    public static async Task<int> RunAsync()
    {
        using var program = new WatchersProgram(JsonSerializer.Deserialize<WatchersPlan>(await Console.In.ReadLineAsync() ?? "{}", SwarmPlan.Json)!);
        await program.RunUntilToldAsync();
        return 0;
    }

    public void Dispose() => _stopping.Dispose();

    private async Task RunUntilToldAsync()
    {
        GrpcChannel[] channels = [.. Enumerable.Range(0, WatchersPlan.Grpc / StreamsPerConnection).Select(_ => GrpcChannel.ForAddress(plan.Http2))];
        using var client = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = WatchersPlan.Sse }) { Timeout = Timeout.InfiniteTimeSpan };
        HttpClient[] http2 = [.. channels.Select(_ => new HttpClient { Timeout = Timeout.InfiniteTimeSpan })];
        Task[] running =
        [
            .. Enumerable.Range(0, WatchersPlan.Sse).Select(_ => WatchAsync(() => plan.IsFloor
                ? CountBytesAsync(client, new Uri(plan.Rest, RuntimeServers.FanOutPath), HttpVersion.Version11, RuntimeServers.SseBytes)
                : WatchSseAsync(client))),
            .. Enumerable.Range(0, WatchersPlan.Grpc).Select(i => WatchAsync(() => plan.IsFloor
                ? CountBytesAsync(http2[i / StreamsPerConnection], new Uri(plan.Http2, RuntimeServers.FanOutPath), HttpVersion.Version20, RuntimeServers.MessageBytes)
                : WatchGrpcAsync(channels[i / StreamsPerConnection]))),
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
        catch (Exception e) when (_stopping.IsCancellationRequested && e is OperationCanceledException or RpcException or IOException or HttpRequestException)
        {
            // Told to stop.
        }
    }

    private async Task WatchSseAsync(HttpClient client)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(plan.Rest, "/api/watch?cursor=now&kinds=WATCH_KIND_TASK"));
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", plan.ApiKey);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
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

    private async Task WatchGrpcAsync(GrpcChannel channel)
    {
        using var watch = new WatchService.WatchServiceClient(channel).Watch(
            new WatchRequest { Cursor = "now", Kinds = { WatchKind.Task } },
            new Metadata { { "authorization", $"Bearer {plan.ApiKey}" } },
            cancellationToken: _stopping.Token);
        await watch.ResponseHeadersAsync;
        Interlocked.Increment(ref _open);
        while (await watch.ResponseStream.MoveNext(_stopping.Token))
        {
            Came(watch.ResponseStream.Current.At.ToDateTimeOffset());
        }
    }

    private async Task CountBytesAsync(HttpClient client, Uri uri, Version version, int eventBytes)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, uri) { Version = version, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, _stopping.Token);
        response.EnsureSuccessStatusCode();
        await using var stream = await response.Content.ReadAsStreamAsync(_stopping.Token);
        Interlocked.Increment(ref _open);
        var (buffer, bytes) = (new byte[16 * 1024], 0L);
        for (int read; (read = await stream.ReadAsync(buffer, _stopping.Token)) > 0; bytes += read)
        {
            Interlocked.Add(ref _events, ((bytes + read) / eventBytes) - (bytes / eventBytes));
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
                Console.WriteLine(JsonSerializer.Serialize(
                    new WatchersReport(SwarmPlan.Now, Volatile.Read(ref _open), Volatile.Read(ref _events), _latency.TakeCounts()), SwarmPlan.Json));
            }
        }
        catch (OperationCanceledException) when (_stopping.IsCancellationRequested)
        {
            // The watchers end.
        }
    }
}
