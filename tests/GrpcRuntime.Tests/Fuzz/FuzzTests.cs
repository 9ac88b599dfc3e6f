using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.GrpcRuntime.Tests;

/// <summary>
/// Mutated frames against server and client, each checked against a plain second reading of the same bytes. There is no network below:
/// what HTTP/2 itself does with abuse is in Http2AbuseTests.
/// </summary>
[Collection<Alone>]
public sealed class FuzzTests(ITestOutputHelper output)
{
    /// <summary>Sets how many frames are made; for runs longer than one million.</summary>
    private const string FramesVariable = "GRPC_FUZZ_FRAMES";

    /// <summary>Sets the seed, to repeat a run.</summary>
    private const string SeedVariable = "GRPC_FUZZ_SEED";

    private const int WarmUpFrames = 50_000;
    private const long GrowthBytesMax = 4 * 1024 * 1024;

    private static readonly int Frames = Setting(FramesVariable, 1_000_000);
    private static readonly int Seed = Setting(SeedVariable, 20_260);

    [Fact]
    public async Task Server_MutatedFrames_EndWithTheStatusOfTheProtocol()
    {
        await using var app = BuildServer(out var log);
        var run = new ServerRun(app);

        await MeasureAsync(run.CallAsync, Frames);

        output.WriteLine(run.Counts.ToString());
        Assert.Empty(log.Errors);
        run.Counts.AssertWide(Frames);
    }

    [Fact]
    public async Task Client_MutatedFrames_EndWithTheStatusOfTheProtocol()
    {
        var answers = new AnsweringHandler();
        using var channel = GrpcChannel.ForAddress(
            "http://localhost", new GrpcChannelOptions { HttpHandler = answers, MaxReceiveMessageSize = FrameMutator.ReceiveBytesMax });
        var run = new ClientRun(channel, answers);

        await MeasureAsync(run.CallAsync, Frames / 5);

        output.WriteLine(run.Counts.ToString());
        run.Counts.AssertWide(Frames / 5);
    }

    private static int Setting(string variable, int standard) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None, CultureInfo.InvariantCulture, out var value)
            ? value
            : standard;

    private static WebApplication BuildServer(out LogRecorder log)
    {
        log = new LogRecorder();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddProvider(log);
        builder.Services.AddSingleton(new EchoScript
        {
            Unary = (request, _) => Task.FromResult(Answer(request)),
            ClientStream = async (requests, _) =>
            {
                var count = 0;
                while (await requests.MoveNext())
                {
                    Answer(requests.Current);
                    count++;
                }

                return new EchoResponse { Count = count };
            },
        });
        builder.Services.AddSingleton<EchoServiceImpl>();
        builder.Services.AddGrpc(options => options.MaxReceiveMessageSize = FrameMutator.ReceiveBytesMax);
        var app = builder.Build();
        app.MapGrpcService<EchoServiceImpl>();
        return app;
    }

    // A request names the status it wants, so that every status passes through the server.
    private static EchoResponse Answer(EchoRequest request) =>
        request.Count is > 0 and <= (int)StatusCode.Unauthenticated
            ? throw new RpcException(new Status((StatusCode)request.Count, "as asked"))
            : EchoScript.Echo(request);

    private async Task MeasureAsync(Func<FrameMutator, Task<int>> call, int frames)
    {
        output.WriteLine($"{frames} frames, seed {Seed} ({FramesVariable}, {SeedVariable})");
        // What tests before this one left behind is theirs.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
        GC.WaitForPendingFinalizers();
        var unobserved = 0;
        void OnUnobserved(object? sender, UnobservedTaskExceptionEventArgs e)
        {
            // Calls that earlier tests abandoned end with a status or a lost connection; a fault of the runtime is anything else.
            if (!e.Exception.Flatten().InnerExceptions.All(inner => inner is RpcException or IOException or OperationCanceledException))
            {
                Interlocked.Increment(ref unobserved);
            }
        }

        TaskScheduler.UnobservedTaskException += OnUnobserved;
        try
        {
            await RunAsync(call, WarmUpFrames, Seed);
            var before = GC.GetTotalMemory(forceFullCollection: true);
            await RunAsync(call, frames, Seed + 1);
            var growth = GC.GetTotalMemory(forceFullCollection: true) - before;
            GC.WaitForPendingFinalizers();

            output.WriteLine($"heap growth {growth} bytes, unobserved exceptions {unobserved}");
            Assert.True(growth < GrowthBytesMax, $"The heap grew by {growth} bytes.");
            Assert.Equal(0, unobserved);
        }
        finally
        {
            TaskScheduler.UnobservedTaskException -= OnUnobserved;
        }
    }

    private static Task RunAsync(Func<FrameMutator, Task<int>> call, int frames, int seed) =>
        Task.WhenAll(Enumerable.Range(0, Environment.ProcessorCount).Select(worker => Task.Run(async () =>
        {
            var mutator = new FrameMutator(HashCode.Combine(seed, worker));
            for (var left = frames / Environment.ProcessorCount; left > 0;)
            {
                left -= await call(mutator);
            }
        })));

    /// <summary>What came of the frames.</summary>
    private sealed class Outcomes
    {
        private readonly ConcurrentDictionary<StatusCode, int> _statuses = new();
        private int _frames;
        private int _delivered;

        public void Add(StatusCode status, int frames, int delivered)
        {
            _statuses.AddOrUpdate(status, 1, static (_, count) => count + 1);
            Interlocked.Add(ref _frames, frames);
            Interlocked.Add(ref _delivered, delivered);
        }

        public void AssertWide(int frames)
        {
            Assert.True(_frames >= frames, ToString());
            Assert.True(_delivered >= 0.3 * _frames, ToString());
            Assert.All(Enum.GetValues<StatusCode>(), status => Assert.True(_statuses.ContainsKey(status), $"{status} never came up."));
        }

        public override string ToString() =>
            $"{_frames} frames, {100.0 * _delivered / _frames:F1} % delivered; calls by status: "
            + string.Join(", ", _statuses.OrderBy(entry => entry.Key).Select(entry => $"{entry.Key} {entry.Value}"));
    }

    /// <summary>Calls of the server's own request delegates.</summary>
    private sealed class ServerRun
    {
        private const int StreamFramesMax = 6;

        private static readonly FrameOracle<EchoRequest> Oracle = new(EchoRequest.Parser, StatusCode.Unimplemented);

        private readonly IServiceProvider _services;
        private readonly RequestDelegate _unary;
        private readonly RequestDelegate _clientStream;

        public ServerRun(WebApplication app)
        {
            _services = app.Services;
            RequestDelegate Find(string method) =>
                ((IEndpointRouteBuilder)app).DataSources.SelectMany(source => source.Endpoints).OfType<RouteEndpoint>()
                    .Single(endpoint => endpoint.RoutePattern.RawText == $"/grpcruntime.tests.v1.EchoService/{method}").RequestDelegate!;
            _unary = Find("Unary");
            _clientStream = Find("ClientStream");
        }

        public Outcomes Counts { get; } = new();

        public async Task<int> CallAsync(FrameMutator mutator)
        {
            var isUnary = mutator.Next(2) == 0;
            var frames = isUnary ? 1 : 1 + mutator.Next(StreamFramesMax);
            byte[] body = [.. Enumerable.Range(0, frames).SelectMany(_ => mutator.NextFrame())];
            var encoding = mutator.NextEncoding();
            var timeout = mutator.NextTimeout();
            var (expected, messages) = Expect(isUnary, body, encoding, timeout);

            var context = CreateContext(new ChunkedStream(body, mutator.Next(int.MaxValue)), encoding, timeout);
            await (isUnary ? _unary : _clientStream)(context);
            await context.Response.CompleteAsync();

            var trailers = context.Features.GetRequiredFeature<IHttpResponseTrailersFeature>().Trailers;
            var text = trailers.TryGetValue("grpc-status", out var late) ? late.ToString() : context.Response.Headers["grpc-status"].ToString();
            var status = (StatusCode)int.Parse(text, CultureInfo.InvariantCulture);
            if (status != expected)
            {
                Assert.Fail(
                    $"{(isUnary ? "unary" : "stream")}, encoding {encoding}, timeout {timeout}: {status} and not {expected} for {Convert.ToHexString(body)}");
            }

            if (status == StatusCode.OK)
            {
                var answer = isUnary ? EchoScript.Echo(messages[0]) : new EchoResponse { Count = messages.Count };
                Assert.Equal(RawHttp2.Frame(answer), ((MemoryStream)context.Response.Body).ToArray());
            }

            // What lies behind the frame that ended the call was never read and does not count.
            var read = Math.Clamp(messages.Count + (expected == StatusCode.OK ? 0 : 1), 1, frames);
            Counts.Add(status, read, messages.Count);
            return read;
        }

        private static (StatusCode Status, List<EchoRequest> Messages) Expect(bool isUnary, byte[] body, string? encoding, string? timeout)
        {
            switch (timeout)
            {
                case "0S":
                    return (StatusCode.DeadlineExceeded, []);
                case not (null or "1H" or "7M"):
                    return (StatusCode.Internal, []);
            }

            var (messages, bad) = Oracle.Read(body, encoding);
            if (!isUnary)
            {
                // The handler ends the call at the first message that asks for it, whatever comes behind.
                var end = messages.FindIndex(message => message.Count is > 0 and <= (int)StatusCode.Unauthenticated);
                return end < 0 ? (bad, messages) : ((StatusCode)messages[end].Count, messages[..(end + 1)]);
            }

            if (messages.Count == 0)
            {
                return (bad == StatusCode.OK ? StatusCode.Unimplemented : bad, []);
            }

            if (messages.Count > 1 || bad != StatusCode.OK)
            {
                return (StatusCode.Unimplemented, []);
            }

            var asked = messages[0].Count;
            return (asked is > 0 and <= (int)StatusCode.Unauthenticated ? (StatusCode)asked : StatusCode.OK, messages);
        }

        private DefaultHttpContext CreateContext(Stream body, string? encoding, string? timeout)
        {
            var headers = new HeaderDictionary { ["content-type"] = "application/grpc", ["te"] = "trailers" };
            if (encoding is not null)
            {
                headers["grpc-encoding"] = encoding;
            }

            if (timeout is not null)
            {
                headers["grpc-timeout"] = timeout;
            }

            var features = new FeatureCollection();
            features.Set<IHttpRequestFeature>(new HttpRequestFeature { Protocol = "HTTP/2", Method = "POST", Headers = headers, Body = body });
            features.Set<IHttpResponseFeature>(new HttpResponseFeature());
            features.Set<IHttpResponseBodyFeature>(new StreamResponseBodyFeature(new MemoryStream()));
            features.Set<IHttpResponseTrailersFeature>(new Trailers());
            return new DefaultHttpContext(features) { RequestServices = _services };
        }

        private sealed class Trailers : IHttpResponseTrailersFeature
        {
            IHeaderDictionary IHttpResponseTrailersFeature.Trailers { get; set; } = new HeaderDictionary();
        }
    }

    /// <summary>Calls of a client whose server answers with mutated frames.</summary>
    private sealed class ClientRun(GrpcChannel channel, AnsweringHandler answers)
    {
        private static readonly FrameOracle<EchoResponse> Oracle = new(EchoResponse.Parser, StatusCode.Internal);

        private readonly EchoService.EchoServiceClient _client = new(channel);

        public Outcomes Counts { get; } = new();

        public async Task<int> CallAsync(FrameMutator mutator)
        {
            var body = mutator.NextFrame();
            var encoding = mutator.NextEncoding();
            var sent = (StatusCode)mutator.Next((int)StatusCode.Unauthenticated + 1);
            var (messages, bad) = Oracle.Read(body, encoding);
            var expected = bad != StatusCode.OK ? bad : sent;

            using var call = answers.Call(
                new LaidOut(body, encoding, sent, mutator.Next(int.MaxValue)), () => _client.ServerStream(new EchoRequest()));
            var received = 0;
            var status = StatusCode.OK;
            try
            {
                while (await call.ResponseStream.MoveNext())
                {
                    Assert.Equal(messages[received], call.ResponseStream.Current);
                    received++;
                }
            }
            catch (RpcException exception)
            {
                status = exception.StatusCode;
            }

            if (status != expected || received != messages.Count)
            {
                Assert.Fail(
                    $"encoding {encoding}: {status} after {received} and not {expected} after {messages.Count} for {Convert.ToHexString(body)}");
            }

            Counts.Add(status, frames: 1, received);
            return 1;
        }
    }

    private sealed record LaidOut(byte[] Body, string? Encoding, StatusCode Status, int Seed);

    /// <summary>Answers each call with what its caller has laid out.</summary>
    private sealed class AnsweringHandler : HttpMessageHandler
    {
        // The call is sent on its caller's own flow, before the stub returns.
        private readonly AsyncLocal<LaidOut?> _next = new();

        public TCall Call<TCall>(LaidOut answer, Func<TCall> start)
        {
            _next.Value = answer;
            return start();
        }

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var answer = _next.Value!;
            var response = new HttpResponseMessage(HttpStatusCode.OK)
            {
                Content = new StreamContent(new ChunkedStream(answer.Body, answer.Seed)),
            };
            response.Content.Headers.TryAddWithoutValidation("content-type", "application/grpc");
            if (answer.Encoding is not null)
            {
                response.Headers.TryAddWithoutValidation("grpc-encoding", answer.Encoding);
            }

            response.TrailingHeaders.TryAddWithoutValidation("grpc-status", ((int)answer.Status).ToString(CultureInfo.InvariantCulture));
            return Task.FromResult(response);
        }
    }
}
