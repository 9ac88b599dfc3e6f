using System.IO.Compression;
using System.Net;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace Hub.GrpcRuntime.Tests;

/// <summary>What the client makes of answers that break the protocol.</summary>
public sealed class ClientProtocolTests
{
    private static readonly byte[] Good = RawHttp2.Frame(new EchoResponse { Text = "good" });

    [Theory]
    [InlineData(400, StatusCode.Internal)]
    [InlineData(401, StatusCode.Unauthenticated)]
    [InlineData(403, StatusCode.PermissionDenied)]
    [InlineData(404, StatusCode.Unimplemented)]
    [InlineData(429, StatusCode.Unavailable)]
    [InlineData(500, StatusCode.Unknown)]
    [InlineData(502, StatusCode.Unavailable)]
    [InlineData(503, StatusCode.Unavailable)]
    [InlineData(504, StatusCode.Unavailable)]
    public async Task Client_HttpStatusWithoutGrpcStatus_IsMapped(int httpStatus, StatusCode expected)
    {
        var status = await AnswerAsync(context =>
        {
            context.Response.StatusCode = httpStatus;
            return Task.CompletedTask;
        });

        Assert.Equal(expected, status.StatusCode);
    }

    [Fact]
    public async Task Client_OtherContentType_IsUnknown()
    {
        var status = await AnswerAsync(async context =>
        {
            context.Response.ContentType = "text/html";
            await context.Response.WriteAsync("<p>a proxy's page</p>");
        });

        Assert.Equal(StatusCode.Unknown, status.StatusCode);
    }

    [Theory]
    [InlineData("seventeen")]
    [InlineData("99")]
    [InlineData("-1")]
    [InlineData("")]
    public async Task Client_GrpcStatusThatMeansNothing_IsUnknown(string grpcStatus)
    {
        var status = await AnswerAsync(context => GrpcAsync(context, Good, grpcStatus));

        Assert.Equal(StatusCode.Unknown, status.StatusCode);
    }

    [Fact]
    public async Task Client_NoGrpcStatus_IsUnknown()
    {
        var status = await AnswerAsync(context => GrpcAsync(context, Good, grpcStatus: null));

        Assert.Equal(StatusCode.Unknown, status.StatusCode);
    }

    public static TheoryData<string, byte[], string?, StatusCode> BadBodies => new()
    {
        { "no message", [], null, StatusCode.Unimplemented },
        { "two messages", [.. Good, .. Good], null, StatusCode.Unimplemented },
        { "half a header", [0, 0], null, StatusCode.Internal },
        { "half a message", Good[..^1], null, StatusCode.Internal },
        { "unknown flag", [3, 0, 0, 0, 0], null, StatusCode.Internal },
        { "no protobuf", RawHttp2.Frame([255, 255, 255]), null, StatusCode.Internal },
        { "too long", [0, 255, 0, 0, 0], null, StatusCode.ResourceExhausted },
        { "compressed without an encoding", RawHttp2.Frame(new EchoResponse(), flag: 1), null, StatusCode.Internal },
        { "compressed as identity", RawHttp2.Frame(new EchoResponse(), flag: 1), "identity", StatusCode.Internal },
        { "compressed in an unknown encoding", RawHttp2.Frame(new EchoResponse(), flag: 1), "snappy", StatusCode.Internal },
        { "broken gzip", RawHttp2.Frame([1, 2, 3], flag: 1), "gzip", StatusCode.Internal },
        { "half a gzip", RawHttp2.Frame(Gzip(new byte[5000])[..^12], flag: 1), "gzip", StatusCode.Internal },
        { "gzip bomb", RawHttp2.Frame(Gzip(new byte[64 * 1024 * 1024]), flag: 1), "gzip", StatusCode.ResourceExhausted },
    };

    [Theory]
    [MemberData(nameof(BadBodies))]
    public async Task Client_BadBody_HasTheStatusOfTheProtocol(string what, byte[] body, string? encoding, StatusCode expected)
    {
        var status = await AnswerAsync(context =>
        {
            if (encoding is not null)
            {
                context.Response.Headers["grpc-encoding"] = encoding;
            }

            return GrpcAsync(context, body, "0");
        });

        Assert.True(expected == status.StatusCode, $"{what}: {status}");
    }

    [Theory]
    [InlineData(0x0, StatusCode.Internal)]
    [InlineData(0x1, StatusCode.Internal)]
    [InlineData(0x2, StatusCode.Internal)]
    [InlineData(0x3, StatusCode.Internal)]
    [InlineData(0x7, StatusCode.Unavailable)]
    [InlineData(0x8, StatusCode.Cancelled)]
    [InlineData(0xb, StatusCode.ResourceExhausted)]
    [InlineData(0xc, StatusCode.PermissionDenied)]
    public async Task Client_Reset_IsMappedByItsErrorCode(int errorCode, StatusCode expected)
    {
        var status = await AnswerAsync(async context =>
        {
            await GrpcHeadersAsync(context);
            context.Features.GetRequiredFeature<IHttpResetFeature>().Reset(errorCode);
        });

        Assert.Equal(expected, status.StatusCode);
    }

    [Fact]
    public async Task Client_BrokenPercentEncoding_KeepsTheText()
    {
        var status = await AnswerAsync(context =>
        {
            context.Response.ContentType = "application/grpc";
            context.Response.Headers["grpc-status"] = "9";
            context.Response.Headers["grpc-message"] = "50%% of %C3%A4 %zz";
            return Task.CompletedTask;
        });

        Assert.Equal(new Status(StatusCode.FailedPrecondition, "50%% of ä %zz"), status);
    }

    [Fact]
    public async Task Client_CancelledByTheServerAfterTheDeadline_IsDeadlineExceeded()
    {
        var time = new LateTime();
        await using var server = await StartAsync(async context =>
        {
            await GrpcHeadersAsync(context);
            time.Pass(TimeSpan.FromMinutes(2));
            context.Features.GetRequiredFeature<IHttpResetFeature>().Reset(8);
        });
        using var channel = GrpcChannel.ForAddress(server.Urls.Single(), new GrpcChannelOptions { TimeProvider = time });

        var exception = await Assert.ThrowsAsync<RpcException>(() => new EchoService.EchoServiceClient(channel)
            .UnaryAsync(new EchoRequest(), deadline: time.GetUtcNow().UtcDateTime.AddMinutes(1)).ResponseAsync.Within());

        Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(false, true)]
    public async Task Client_WritesAndNeverReads_IsToldThatTheCallEnded(bool byTrailers, bool windowIsFull)
    {
        await using var server = await StartAsync(async context =>
        {
            await GrpcHeadersAsync(context);
            await context.Response.BodyWriter.FlushAsync();
            var filled = windowIsFull ? FillAsync(context) : Task.CompletedTask;
            await context.Request.Body.ReadExactlyAsync(new byte[1]);
            if (byTrailers)
            {
                context.Response.AppendTrailer("grpc-status", "0");
            }
            else
            {
                context.Abort();
            }

            await filled;
        });
        using var channel = GrpcChannel.ForAddress(server.Urls.Single());
        using var call = new EchoService.EchoServiceClient(channel).Duplex();
        await call.ResponseHeadersAsync.Within();

        async Task WriteAsync()
        {
            while (true)
            {
                await call.RequestStream.WriteAsync(new EchoRequest { Text = "heard?" });
            }
        }

        await Assert.ThrowsAsync<RpcException>(() => WriteAsync().Within());
    }

    /// <summary>Writes until nothing more is taken.</summary>
    private static async Task FillAsync(HttpContext context)
    {
        try
        {
            while (!(await context.Response.BodyWriter.WriteAsync(new byte[16 * 1024])).IsCompleted)
            {
            }
        }
        catch (OperationCanceledException)
        {
            // Aborted.
        }
    }

    private static Task GrpcHeadersAsync(HttpContext context)
    {
        context.Response.ContentType = "application/grpc";
        return context.Response.StartAsync();
    }

    private static async Task GrpcAsync(HttpContext context, byte[] body, string? grpcStatus)
    {
        await GrpcHeadersAsync(context);
        await context.Response.Body.WriteAsync(body);
        if (grpcStatus is not null)
        {
            context.Response.AppendTrailer("grpc-status", grpcStatus);
        }
    }

    private static async Task<Status> AnswerAsync(RequestDelegate answer)
    {
        await using var server = await StartAsync(answer);
        using var channel = GrpcChannel.ForAddress(server.Urls.Single());
        var call = new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest());
        return (await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within())).Status;
    }

    private static async Task<WebApplication> StartAsync(RequestDelegate answer)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(server => server.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2));
        var app = builder.Build();
        app.Run(answer);
        await app.StartAsync();
        return app;
    }

    private static byte[] Gzip(byte[] plain)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest))
        {
            gzip.Write(plain);
        }

        return packed.ToArray();
    }

    /// <summary>A clock that can run ahead of its timers, as on a machine too busy to fire them.</summary>
    private sealed class LateTime : TimeProvider
    {
        private readonly ManualTimeProvider _timers = new();
        private long _ahead;

        public void Pass(TimeSpan span) => Interlocked.Add(ref _ahead, span.Ticks);

        public override DateTimeOffset GetUtcNow() => _timers.GetUtcNow() + new TimeSpan(Interlocked.Read(ref _ahead));

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period) =>
            _timers.CreateTimer(callback, state, dueTime, period);
    }
}
