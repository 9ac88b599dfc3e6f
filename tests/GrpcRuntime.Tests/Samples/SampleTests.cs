using System.Net;
using Google.Protobuf;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Grpc.Net.Client;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Samples;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Services and clients in the style of the official packages' documentation compile and run as they are.</summary>
public sealed class SampleTests
{
    [Fact]
    public async Task Greeter_Call_IsAnswered()
    {
        await using var app = await StartAsync();
        using var channel = GrpcChannel.ForAddress(app.Urls.Single());
        var client = new Greeter.GreeterClient(channel);

        var reply = await client.SayHelloAsync(new HelloRequest { Name = "GreeterClient" }).ResponseAsync.Within();

        Assert.Equal("Hello GreeterClient", reply.Message);
    }

    [Fact]
    public async Task Interceptors_BothSides_SeeTheCall()
    {
        await using var app = await StartAsync();
        using var channel = GrpcChannel.ForAddress(app.Urls.Single());
        var log = new List<string>();
        var client = new Greeter.GreeterClient(channel.Intercept(new TracingInterceptor("trace-1", log)));

        using var call = client.SayHelloAsync(new HelloRequest { Name = "you" });
        await call.ResponseAsync.Within();
        var refused = await Assert.ThrowsAsync<RpcException>(() => client.SayHelloAsync(new HelloRequest()).ResponseAsync.Within());

        Assert.Equal("trace-1", call.GetTrailers().GetValue("x-logged"));
        Assert.Equal("Name is required.", refused.Status.Detail);
        Assert.Equal(["SayHello: { \"message\": \"Hello you\" }", "SayHello: InvalidArgument"], log);
    }

    [Fact]
    public async Task Deadline_EndlessStream_EndsTheCall()
    {
        await using var app = await StartAsync();
        var time = new ManualTimeProvider();
        using var channel = GrpcChannel.ForAddress(app.Urls.Single(), new GrpcChannelOptions { TimeProvider = time });
        var client = new Greeter.GreeterClient(channel);
        var within = TimeSpan.FromHours(1);

        // The stream never ends by itself, so the deadline alone decides.
        using var call = client.SayHellos(new HelloRequest { Name = "you" }, deadline: time.GetUtcNow().UtcDateTime + within);
        Assert.True(await call.ResponseStream.MoveNext().Within());
        time.Advance(within);
        var exception = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await call.ResponseStream.MoveNext().Within())
            {
            }
        });

        Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
    }

    [Fact]
    public async Task Upload_InPieces_ArrivesWhole()
    {
        const int PieceBytes = 1024 * 32;
        await using var app = await StartAsync();
        using var channel = GrpcChannel.ForAddress(app.Urls.Single());
        var client = new Uploader.UploaderClient(channel);

        using var call = client.UploadFile();
        await call.RequestStream.WriteAsync(new UploadFileRequest { Description = new FileDescription { FileName = "pets.jpg" } }).Within();
        using var file = new MemoryStream(new byte[(10 * PieceBytes) + 17]);
        var buffer = new byte[PieceBytes];
        while (true)
        {
            var count = await file.ReadAsync(buffer);
            if (count == 0)
            {
                break;
            }

            await call.RequestStream.WriteAsync(new UploadFileRequest { Data = UnsafeByteOperations.UnsafeWrap(buffer.AsMemory(0, count)) }).Within();
        }

        await call.RequestStream.CompleteAsync().Within();
        var response = await call.ResponseAsync.Within();

        Assert.Equal("pets.jpg", response.FileName);
        Assert.Equal(file.Length, response.Size);
    }

    [Fact]
    public async Task Chat_TwoUsers_SeeEachOther()
    {
        await using var app = await StartAsync();
        using var channel = GrpcChannel.ForAddress(app.Urls.Single());
        var client = new Chat.ChatClient(channel);
        using var ann = client.Join();
        using var ben = client.Join();
        static async Task<string> HearAsync(AsyncDuplexStreamingCall<ChatMessage, ChatMessage> user)
        {
            Assert.True(await user.ResponseStream.MoveNext().Within());
            return $"{user.ResponseStream.Current.User}: {user.ResponseStream.Current.Text}";
        }

        await ann.RequestStream.WriteAsync(new ChatMessage { User = "ann", Text = "anyone?" }).Within();
        Assert.Equal("ann: anyone?", await HearAsync(ann));
        await ben.RequestStream.WriteAsync(new ChatMessage { User = "ben", Text = "me" }).Within();

        Assert.Equal("ben: me", await HearAsync(ann));
        Assert.Equal("ben: me", await HearAsync(ben));
        await ann.RequestStream.CompleteAsync().Within();
        await ben.RequestStream.CompleteAsync().Within();
        Assert.False(await ann.ResponseStream.MoveNext().Within());
        Assert.False(await ben.ResponseStream.MoveNext().Within());
    }

    private static async Task<WebApplication> StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options =>
            options.Listen(IPAddress.Loopback, 0, listenOptions => listenOptions.Protocols = HttpProtocols.Http2));
        builder.Services.AddSingleton<ChatRoom>();
        builder.Services.AddGrpc(options => options.Interceptors.Add<ServerLoggerInterceptor>());

        var app = builder.Build();
        app.MapGrpcService<GreeterService>();
        app.MapGrpcService<UploaderService>();
        app.MapGrpcService<ChatService>();
        await app.StartAsync();
        return app;
    }
}
