using Grpc.Core;
using Grpc.Health.V1;
using Grpc.HealthCheck;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using ServingStatus = Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus;

namespace Hub.GrpcRuntime.Tests;

public sealed class HealthTests
{
    [Fact]
    public async Task Check_WholeServer_IsServing()
    {
        await using var server = await StartAsync();
        var client = new Health.HealthClient(server.Channel);

        Assert.Equal(ServingStatus.Serving, (await client.CheckAsync(new HealthCheckRequest()).ResponseAsync.Within()).Status);
    }

    [Fact]
    public async Task Check_UnknownService_IsNotFound()
    {
        await using var server = await StartAsync();
        var client = new Health.HealthClient(server.Channel);

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => client.CheckAsync(new HealthCheckRequest { Service = "nobody" }).ResponseAsync.Within());

        Assert.Equal(StatusCode.NotFound, exception.StatusCode);
    }

    [Fact]
    public async Task Watch_StatusChanges_AreSeen()
    {
        await using var server = await StartAsync();
        var health = server.Services.GetRequiredService<HealthServiceImpl>();
        var client = new Health.HealthClient(server.Channel);

        using var call = client.Watch(new HealthCheckRequest { Service = "one" });
        var seen = new List<ServingStatus>();
        foreach (var next in new[] { ServingStatus.Serving, ServingStatus.NotServing })
        {
            Assert.True(await call.ResponseStream.MoveNext().Within());
            seen.Add(call.ResponseStream.Current.Status);
            health.SetStatus("one", next);
        }

        Assert.True(await call.ResponseStream.MoveNext().Within());
        seen.Add(call.ResponseStream.Current.Status);
        Assert.Equal([ServingStatus.ServiceUnknown, ServingStatus.Serving, ServingStatus.NotServing], seen);
    }

    [Fact]
    public async Task Watch_OneMoreThanTheBound_IsRefused()
    {
        const int watchersMax = 1_024;
        await using var server = await StartAsync(kestrel => kestrel.Limits.Http2.MaxStreamsPerConnection = watchersMax + 1);
        var client = new Health.HealthClient(server.Channel);
        var watches = new List<AsyncServerStreamingCall<HealthCheckResponse>>();
        async Task OpenAsync()
        {
            watches.Add(client.Watch(new HealthCheckRequest()));
            await watches[^1].ResponseStream.MoveNext().Within();
        }

        for (var i = 0; i < watchersMax; i++)
        {
            await OpenAsync();
        }

        Assert.Equal(StatusCode.ResourceExhausted, (await Assert.ThrowsAsync<RpcException>(OpenAsync)).StatusCode);
        watches.ForEach(watch => watch.Dispose());
    }

    private static Task<EchoServer> StartAsync(Action<KestrelServerOptions>? kestrel = null) => EchoServer.StartAsync(
        services: services => services.AddGrpcHealthChecks(), map: app => app.MapGrpcHealthChecksService(), kestrel: kestrel);
}
