using System.Threading.Channels;
using Grpc.Core;
using Grpc.Core.Interceptors;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.DependencyInjection;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Where services and interceptors come from.</summary>
public sealed class ActivationTests
{
    [Fact]
    public async Task Singletons_OfServiceAndInterceptor_NeedNoScope()
    {
        var scopes = Channel.CreateUnbounded<bool>();
        await using var server = await StartAsync(scopes, services => services.AddSingleton<EchoServiceImpl>().AddSingleton<Passing>());

        await server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();
        using var call = server.Client.Duplex();
        await call.RequestStream.CompleteAsync().Within();
        Assert.False(await call.ResponseStream.MoveNext().Within());

        Assert.False(await scopes.Reader.ReadAsync().AsTask().Within());
        Assert.False(await scopes.Reader.ReadAsync().AsTask().Within());
    }

    [Fact]
    public async Task ScopedService_IsOfTheScopeOfItsCall()
    {
        var scopes = Channel.CreateUnbounded<bool>();
        await using var server = await StartAsync(scopes, services => services.AddScoped<EchoServiceImpl>().AddSingleton<Passing>());

        await server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();

        Assert.True(await scopes.Reader.ReadAsync().AsTask().Within());
    }

    private static Task<EchoServer> StartAsync(Channel<bool> scopes, Action<IServiceCollection> services) => EchoServer.StartAsync(
        options: options => options.Interceptors.Add<Passing>(),
        services: services,
        map: app => app.Use(async (context, next) =>
        {
            await next();

            // The feature, and with it the scope, is made when somebody asks for the services of the request.
            scopes.Writer.TryWrite(context.Features.Get<IServiceProvidersFeature>() is not null);
        }));

    internal sealed class Passing : Interceptor;
}
