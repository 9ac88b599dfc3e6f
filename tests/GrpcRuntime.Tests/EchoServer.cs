using System.Net;
using Grpc.AspNetCore.Server;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.GrpcRuntime.Tests;

/// <summary>A real server on a free port with the scripted echo service, and a channel to it.</summary>
internal sealed class EchoServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private EchoServer(WebApplication app, LogRecorder log, TimeProvider time)
    {
        _app = app;
        Log = log;
        Address = app.Urls.Single();
        Channel = GrpcChannel.ForAddress(Address, new GrpcChannelOptions { TimeProvider = time });
        Client = new EchoService.EchoServiceClient(Channel);
    }

    public string Address { get; }

    public LogRecorder Log { get; }

    public GrpcChannel Channel { get; }

    public EchoService.EchoServiceClient Client { get; }

    public IServiceProvider Services => _app.Services;

    public static async Task<EchoServer> StartAsync(
        EchoScript? script = null,
        Action<GrpcServiceOptions>? options = null,
        Action<IServiceCollection>? services = null,
        Action<WebApplication>? map = null,
        Action<KestrelServerOptions>? kestrel = null,
        Action<ListenOptions>? listen = null,
        int port = 0,
        TimeProvider? time = null)
    {
        var log = new LogRecorder();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders().AddProvider(log);
        builder.WebHost.ConfigureKestrel(server =>
        {
            kestrel?.Invoke(server);
            server.Listen(IPAddress.Loopback, port, listener =>
            {
                listener.Protocols = HttpProtocols.Http2;
                listen?.Invoke(listener);
            });
        });
        builder.Services.AddSingleton(script ?? new EchoScript());
        builder.Services.AddGrpc(options ?? (_ => { }));
        builder.Services.AddSingleton(time ?? TimeProvider.System);
        services?.Invoke(builder.Services);
        var app = builder.Build();
        app.MapGrpcService<EchoServiceImpl>();
        map?.Invoke(app);
        await app.StartAsync();
        return new EchoServer(app, log, time ?? TimeProvider.System);
    }

    /// <summary>Stops gracefully: open calls may go on for the time the host allows.</summary>
    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        Channel.Dispose();
        await _app.DisposeAsync();
    }
}
