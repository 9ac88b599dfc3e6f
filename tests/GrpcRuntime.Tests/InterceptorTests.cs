using Grpc.AspNetCore.Server;
using Grpc.Core;
using Grpc.Core.Interceptors;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;

namespace Hub.GrpcRuntime.Tests;

public sealed class InterceptorTests
{
    [Fact]
    public async Task ServerInterceptors_AllKindsOfCalls_RunOutermostFirst()
    {
        await using var server = await EchoServer.StartAsync(
            options: options =>
            {
                options.Interceptors.Add<Marking>("outer");
                options.Interceptors.Add<Marking>("inner");
            });

        using var unary = server.Client.UnaryAsync(new EchoRequest());
        await unary.ResponseAsync.Within();
        using var down = server.Client.ServerStream(new EchoRequest());
        await down.ResponseStream.MoveNext().Within();
        using var up = server.Client.ClientStream();
        await up.RequestStream.CompleteAsync();
        await up.ResponseAsync.Within();
        using var duplex = server.Client.Duplex();
        await duplex.RequestStream.CompleteAsync();
        await duplex.ResponseStream.MoveNext().Within();

        foreach (var trailers in new[] { unary.GetTrailers(), down.GetTrailers(), up.GetTrailers(), duplex.GetTrailers() })
        {
            Assert.Equal(["outer", "inner"], trailers.GetAll("x-mark").Select(entry => entry.Value));
        }
    }

    [Fact]
    public async Task ServerInterceptor_OfOneService_RunsAfterTheGlobalOnes()
    {
        await using var server = await EchoServer.StartAsync(
            options: options => options.Interceptors.Add<Marking>("global"),
            services: services => services.Configure<GrpcServiceOptions<EchoServiceImpl>>(
                options => options.Interceptors.Add<Marking>("service")));

        using var call = server.Client.UnaryAsync(new EchoRequest());
        await call.ResponseAsync.Within();

        Assert.Equal(["global", "service"], call.GetTrailers().GetAll("x-mark").Select(entry => entry.Value));
    }

    [Fact]
    public async Task ServerInterceptor_ThatThrows_DecidesTheStatus()
    {
        await using var server = await EchoServer.StartAsync(options: options => options.Interceptors.Add<Refusing>());

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(StatusCode.PermissionDenied, exception.StatusCode);
    }

    [Fact]
    public async Task ClientInterceptors_Call_RunInTheOrderGiven()
    {
        string[] seen = [];
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                seen = [.. context.RequestHeaders.GetAll("x-mark").Select(entry => entry.Value)];
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);
        Func<Metadata, Metadata> Mark(string text) => metadata => [.. metadata, new Metadata.Entry("x-mark", text)];

        var client = new EchoService.EchoServiceClient(server.Channel.Intercept(Mark("second")).Intercept(Mark("first")));
        await client.UnaryAsync(new EchoRequest()).ResponseAsync.Within();

        Assert.Equal("first, second", string.Join(", ", seen));
    }

    [Fact]
    public async Task CallCredentials_OverPlainHttp_StayAtHomeUnlessAllowed()
    {
        var seen = new List<string?>();
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                seen.Add(context.RequestHeaders.GetValue("authorization"));
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);
        using var allowed = Grpc.Net.Client.GrpcChannel.ForAddress(
            server.Address, new Grpc.Net.Client.GrpcChannelOptions { UnsafeUseInsecureChannelCallCredentials = true });
        var credentials = CallCredentials.FromInterceptor((_, metadata) =>
        {
            metadata.Add("authorization", "Bearer token");
            return Task.CompletedTask;
        });
        var options = new CallOptions(credentials: credentials);

        await server.Client.UnaryAsync(new EchoRequest(), options).ResponseAsync.Within();
        await new EchoService.EchoServiceClient(allowed).UnaryAsync(new EchoRequest(), options).ResponseAsync.Within();

        Assert.Equal([null, "Bearer token"], seen);
    }

    [Fact]
    public async Task Endpoint_AttributesOfClassAndMethod_AreItsMetadata()
    {
        await using var server = await EchoServer.StartAsync(map: app => app.MapGrpcService<MarkedService>());

        var metadata = server.Services.GetRequiredService<EndpointDataSource>().Endpoints
            .Single(endpoint => endpoint.DisplayName == "gRPC - /grpc.health.v1.Health/Check").Metadata;

        Assert.Equal(typeof(MarkedService), metadata.GetMetadata<GrpcMethodMetadata>()?.ServiceType);
        Assert.Equal(["class", "method"], metadata.GetOrderedMetadata<MarkAttribute>().Select(mark => mark.Text));
    }

    [AttributeUsage(AttributeTargets.Class | AttributeTargets.Method)]
    private sealed class MarkAttribute(string text) : Attribute
    {
        public string Text { get; } = text;
    }

    [Mark("class")]
    private sealed class MarkedService : Grpc.Health.V1.Health.HealthBase
    {
        [Mark("method")]
        public override Task<Grpc.Health.V1.HealthCheckResponse> Check(
            Grpc.Health.V1.HealthCheckRequest request, ServerCallContext context) => base.Check(request, context);
    }

    private sealed class Refusing : Interceptor
    {
        public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
            TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation) =>
            throw new RpcException(new Status(StatusCode.PermissionDenied, "no"));
    }

    private sealed class Marking(string text) : Interceptor
    {
        public override Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
            TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
        {
            context.ResponseTrailers.Add("x-mark", text);
            return continuation(request, context);
        }

        public override Task<TResponse> ClientStreamingServerHandler<TRequest, TResponse>(
            IAsyncStreamReader<TRequest> requestStream,
            ServerCallContext context,
            ClientStreamingServerMethod<TRequest, TResponse> continuation)
        {
            context.ResponseTrailers.Add("x-mark", text);
            return continuation(requestStream, context);
        }

        public override Task ServerStreamingServerHandler<TRequest, TResponse>(
            TRequest request,
            IServerStreamWriter<TResponse> responseStream,
            ServerCallContext context,
            ServerStreamingServerMethod<TRequest, TResponse> continuation)
        {
            context.ResponseTrailers.Add("x-mark", text);
            return continuation(request, responseStream, context);
        }

        public override Task DuplexStreamingServerHandler<TRequest, TResponse>(
            IAsyncStreamReader<TRequest> requestStream,
            IServerStreamWriter<TResponse> responseStream,
            ServerCallContext context,
            DuplexStreamingServerMethod<TRequest, TResponse> continuation)
        {
            context.ResponseTrailers.Add("x-mark", text);
            return continuation(requestStream, responseStream, context);
        }
    }
}
