using Grpc.Core;
using Grpc.Health.V1;
using Grpc.HealthCheck;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
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

    private static Task<EchoServer> StartAsync() =>
        EchoServer.StartAsync(services: services => services.AddGrpcHealthChecks(), map: app => app.MapGrpcHealthChecksService());
}
