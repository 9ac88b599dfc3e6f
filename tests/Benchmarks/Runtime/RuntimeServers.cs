using System.Buffers;
using System.Net;
using System.Net.Sockets;
using Grpc.Core;
using Hub.Benchmarks.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.Benchmarks.Runtime;

/// <summary>The servers under load, each in a process of its own: ours, and the floors it is measured against.</summary>
internal static class RuntimeServers
{
    /// <summary>Messages for each answer of Upload.</summary>
    public const int AckEvery = 64;

    // What a gRPC call has before and behind its message, for the floor of calls: they are of its bytes.
    public const string ContentType = "application/grpc";
    public const string AcceptEncoding = "grpc-accept-encoding";
    public const string Encodings = "identity,gzip";

    public const string EchoPath = "/floor/echo";
    public const string UploadPath = "/floor/upload";
    public const string HoldPath = "/floor/hold";
    public const string FanOutPath = "/floor/fan-out";

    /// <summary>The kind of server that writes events without end, over HTTP/1.1 on its first port and HTTP/2 on its second.</summary>
    public const string FanOut = "fan-out";

    /// <summary>Of an event of a task with 100 bytes of text, as server-sent event and as gRPC message.</summary>
    public const int SseBytes = 480;
    public const int MessageBytes = 330;

    /// <summary>Events written before the next flush.</summary>
    private const int EventsPerFlush = 8;

    /// <summary>Serves until the standard input ends; prints the port first.</summary>
    public static async Task<int> RunAsync(string kind)
    {
        if (kind == "tcp")
        {
            await ServeTcpAsync();
            return 0;
        }

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            if (kind == FanOut)
            {
                kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http1);
            }

            kestrel.Listen(IPAddress.Loopback, 0, listen => listen.Protocols = HttpProtocols.Http2);
            kestrel.AddServerHeader = false;
        });
        if (kind == "grpc")
        {
            builder.Services.AddGrpc(); // Not for the floors: it changes what Kestrel reads and writes with.
            builder.Services.AddSingleton<BenchServiceImpl>();
        }

        await using var app = builder.Build();
        if (kind == "grpc")
        {
            app.MapGrpcService<BenchServiceImpl>();
        }
        else
        {
            app.MapPost(EchoPath, EchoAsync);
            app.MapPost(UploadPath, UploadAsync);
            app.MapPost(HoldPath, HoldAsync);
            app.MapGet(FanOutPath, FanOutAsync);
        }

        await app.StartAsync();
        Console.WriteLine($"port {string.Join(' ', app.Urls.Select(url => new Uri(url).Port))}");
        await Console.In.ReadToEndAsync();
        await app.StopAsync();
        return 0;
    }

    private static async Task ServeTcpAsync()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen();
        Console.WriteLine($"port {((IPEndPoint)listener.LocalEndPoint!).Port}");
        using var connection = await listener.AcceptAsync();
        connection.NoDelay = true;
        var buffer = new byte[64 * 1024];
        for (int read; (read = await connection.ReceiveAsync(buffer)) > 0;)
        {
            await connection.SendAsync(buffer.AsMemory(0, read));
        }
    }

    /// <summary>Kestrel alone: the body comes back, with the headers and trailers of a gRPC call.</summary>
    private static async Task EchoAsync(HttpContext context)
    {
        context.Response.ContentType = ContentType;
        context.Response.Headers[AcceptEncoding] = Encodings;
        context.Response.AppendTrailer("grpc-status", "0");
        var reader = context.Request.BodyReader;
        while (true)
        {
            var result = await reader.ReadAsync();
            foreach (var part in result.Buffer)
            {
                context.Response.BodyWriter.Write(part.Span);
            }

            reader.AdvanceTo(result.Buffer.End);
            if (result.IsCompleted)
            {
                return;
            }
        }
    }

    /// <summary>Kestrel alone: bytes are counted, and an answer leaves for each 64 messages' worth.</summary>
    private static async Task UploadAsync(HttpContext context)
    {
        context.Features.GetRequiredFeature<IHttpMaxRequestBodySizeFeature>().MaxRequestBodySize = null;
        context.Features.GetRequiredFeature<IHttpMinRequestBodyDataRateFeature>().MinDataRate = null;
        var ackBytes = AckEvery * (RuntimeNotes.FrameHeaderBytes + RuntimeNotes.Make(0).CalculateSize());
        var ack = new byte[RuntimeNotes.FrameHeaderBytes + new Taken { Count = long.MaxValue }.CalculateSize()];
        long taken = 0;
        var reader = context.Request.BodyReader;
        while (true)
        {
            var result = await reader.ReadAsync();
            var acksBefore = taken / ackBytes;
            taken += result.Buffer.Length;
            reader.AdvanceTo(result.Buffer.End);
            for (var due = (taken / ackBytes) - acksBefore; due > 0; due--)
            {
                context.Response.BodyWriter.Write(ack);
            }

            await context.Response.BodyWriter.FlushAsync();
            if (result.IsCompleted)
            {
                return;
            }
        }
    }

    /// <summary>Kestrel alone: the stream is open until the other side ends it.</summary>
    private static async Task HoldAsync(HttpContext context)
    {
        context.Features.GetRequiredFeature<IHttpMaxRequestBodySizeFeature>().MaxRequestBodySize = null;
        context.Features.GetRequiredFeature<IHttpMinRequestBodyDataRateFeature>().MinDataRate = null;
        await context.Response.BodyWriter.FlushAsync(); // The headers; to start the response does not send them.
        await context.Request.BodyReader.CopyToAsync(Stream.Null, context.RequestAborted);
    }

    /// <summary>Kestrel alone: as many bytes as events have, as fast as the other side takes them.</summary>
    private static async Task FanOutAsync(HttpContext context)
    {
        var bytes = new byte[EventsPerFlush * (HttpProtocol.IsHttp2(context.Request.Protocol) ? MessageBytes : SseBytes)];
        while (!(await context.Response.BodyWriter.WriteAsync(bytes, context.RequestAborted)).IsCompleted)
        {
        }
    }

    private sealed class BenchServiceImpl : BenchService.BenchServiceBase
    {
        public override Task<Note> Unary(Note request, ServerCallContext context) => Task.FromResult(request);

        public override async Task Echo(IAsyncStreamReader<Note> requestStream, IServerStreamWriter<Note> responseStream, ServerCallContext context)
        {
            while (await requestStream.MoveNext())
            {
                await responseStream.WriteAsync(requestStream.Current);
            }
        }

        public override async Task Upload(IAsyncStreamReader<Note> requestStream, IServerStreamWriter<Taken> responseStream, ServerCallContext context)
        {
            for (var count = 1L; await requestStream.MoveNext(); count++)
            {
                if (count % AckEvery == 0)
                {
                    await responseStream.WriteAsync(new Taken { Count = count });
                }
            }
        }
    }
}
