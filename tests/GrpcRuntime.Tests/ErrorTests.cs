using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;
using Status = Grpc.Core.Status;

namespace Hub.GrpcRuntime.Tests;

public sealed class ErrorTests
{
    [Fact]
    public async Task Handler_RpcException_ReachesTheClientWithTrailers()
    {
        var script = new EchoScript
        {
            Unary = (_, _) => throw new RpcException(new Status(StatusCode.NotFound, "no such thing"), new Metadata { { "x-why", "gone" } }),
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.UnaryAsync(new EchoRequest());
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());

        Assert.Equal(new Status(StatusCode.NotFound, "no such thing"), exception.Status);
        Assert.Equal("gone", exception.Trailers.GetValue("x-why"));
        Assert.Equal("gone", call.GetTrailers().GetValue("x-why"));
        Assert.Empty(server.Log.Errors);
    }

    [Fact]
    public async Task Handler_RpcExceptionWithTheTrailersOfTheCall_SendsThemOnce()
    {
        var script = new EchoScript
        {
            Unary = (_, context) =>
            {
                context.ResponseTrailers.Add("x-why", "own");
                throw new RpcException(new Status(StatusCode.NotFound, ""), context.ResponseTrailers);
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(["own"], exception.Trailers.GetAll("x-why").Select(entry => entry.Value));
    }

    [Fact]
    public async Task Handler_RpcExceptionAfterMessages_ComesAfterThem()
    {
        var script = new EchoScript
        {
            ServerStream = async (_, responses, _) =>
            {
                await responses.WriteAsync(new EchoResponse { Text = "first" });
                throw new RpcException(new Status(StatusCode.Aborted, "then this"));
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.ServerStream(new EchoRequest());
        Assert.True(await call.ResponseStream.MoveNext().Within());
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());

        Assert.Equal(StatusCode.Aborted, exception.StatusCode);
    }

    [Fact]
    public async Task Handler_StatusSetOnTheContext_EndsTheCall()
    {
        var script = new EchoScript
        {
            ServerStream = (_, _, context) =>
            {
                context.Status = new Status(StatusCode.OutOfRange, "set");
                return Task.CompletedTask;
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        using var call = server.Client.ServerStream(new EchoRequest());
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());

        Assert.Equal(new Status(StatusCode.OutOfRange, "set"), exception.Status);
    }

    [Fact]
    public async Task Handler_OtherException_TellsNothing()
    {
        var script = new EchoScript { Unary = (_, _) => throw new InvalidDataException("secret") };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(new Status(StatusCode.Unknown, "Exception was thrown by handler."), exception.Status);
        Assert.Single(server.Log.Errors);
    }

    [Fact]
    public async Task Handler_OtherExceptionWithDetailedErrors_TellsItsText()
    {
        var script = new EchoScript { Unary = (_, _) => throw new InvalidDataException("cause") };
        await using var server = await EchoServer.StartAsync(script, options => options.EnableDetailedErrors = true);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal("Exception was thrown by handler. InvalidDataException: cause", exception.Status.Detail);
    }

    [Theory]
    [InlineData("100 % grün 🙂\r\n\tend")]
    [InlineData("%41%zz%")]
    public async Task Handler_StatusText_SurvivesTheWire(string text)
    {
        var script = new EchoScript { Unary = (_, _) => throw new RpcException(new Status(StatusCode.Internal, text)) };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(text, exception.Status.Detail);
    }

    [Fact]
    public async Task Handler_RichStatus_ReachesTheClient()
    {
        var info = new ErrorInfo { Reason = "TOO_EARLY", Domain = "tests", Metadata = { ["retry"] = "later" } };
        var script = new EchoScript
        {
            Unary = (_, _) => throw new Google.Rpc.Status
            {
                Code = (int)Code.FailedPrecondition,
                Message = "too early",
                Details = { Any.Pack(info) },
            }.ToRpcException(),
        };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(new Status(StatusCode.FailedPrecondition, "too early"), exception.Status);
        Assert.Equal(info, exception.GetRpcStatus()?.GetDetail<ErrorInfo>());
    }

    [Fact]
    public async Task Handler_NullResponse_IsCancelled()
    {
        var script = new EchoScript { Unary = (_, _) => Task.FromResult<EchoResponse>(null!) };
        await using var server = await EchoServer.StartAsync(script);

        var exception = await Assert.ThrowsAsync<RpcException>(() => server.Client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(StatusCode.Cancelled, exception.StatusCode);
    }

    [Fact]
    public async Task Client_NoServer_IsUnavailable()
    {
        string address;
        await using (var server = await EchoServer.StartAsync())
        {
            address = server.Address;
        }

        using var channel = Grpc.Net.Client.GrpcChannel.ForAddress(address);
        var client = new EchoService.EchoServiceClient(channel);
        var exception = await Assert.ThrowsAsync<RpcException>(() => client.UnaryAsync(new EchoRequest()).ResponseAsync.Within());

        Assert.Equal(StatusCode.Unavailable, exception.StatusCode);
    }

    [Fact]
    public async Task Client_StatusBeforeTheEnd_IsRefused()
    {
        await using var server = await EchoServer.StartAsync();

        using var call = server.Client.Duplex();

        Assert.Throws<InvalidOperationException>(() => call.GetStatus());
        Assert.Throws<InvalidOperationException>(() => call.GetTrailers());
    }

    [Fact]
    public void Client_WriteIntoAConnectionThatEnded_IsUnavailable()
    {
        // HttpClient ends the flow control of a connection before the writes that wait in it.
        var status = ClientStatus.FromException(new ObjectDisposedException("System.Net.Http.CreditManager"));

        Assert.Equal(StatusCode.Unavailable, status.StatusCode);
    }
}
