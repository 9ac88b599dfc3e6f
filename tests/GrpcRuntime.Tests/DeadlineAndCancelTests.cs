using Grpc.Core;
using Grpc.Net.Client;
using GrpcRuntime.Tests.V1;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

public sealed class DeadlineAndCancelTests
{
    private static readonly TimeSpan Minute = TimeSpan.FromMinutes(1);

    /// <summary>The time of both sides: deadlines pass when a test says so.</summary>
    private readonly ManualTimeProvider _time = new();

    private DateTime InAMinute => (_time.GetUtcNow() + Minute).UtcDateTime;

    [Fact]
    public async Task Server_DeadlinePassed_AnswersDeadlineExceeded()
    {
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var handlerEnded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            Unary = async (request, context) =>
            {
                running.TrySetResult();
                try
                {
                    await EchoScript.UntilCancelledAsync(context.CancellationToken);
                }
                finally
                {
                    handlerEnded.TrySetResult();
                }

                return EchoScript.Echo(request);
            },
        };
        await using var server = await EchoServer.StartAsync(script, time: _time);

        var answer = RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("grpc-timeout", "1M"));
        await running.Task.Within();
        _time.Advance(Minute);
        await handlerEnded.Task.Within();

        Assert.Equal("4", (await answer).GrpcStatus);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Server_HandlerThatIgnoresTheDeadline_DoesNotDelayTheAnswer()
    {
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var release = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            Unary = async (request, _) =>
            {
                running.TrySetResult();
                await release.Task;
                return EchoScript.Echo(request);
            },
        };
        await using var server = await EchoServer.StartAsync(script, time: _time);

        var answering = RawHttp2.PostAsync(
            server.Address, RawHttp2.UnaryPath, RawHttp2.Frame(new EchoRequest()), headers: ("grpc-timeout", "1M"));
        await running.Task.Within();
        _time.Advance(Minute);
        var answer = await answering;
        release.SetResult();

        Assert.Equal("4", answer.GrpcStatus);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Server_DeadlineWhileReading_EndsTheRead()
    {
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var readEnded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            Duplex = async (requests, _, _) =>
            {
                running.TrySetResult();
                try
                {
                    await requests.MoveNext();
                }
                finally
                {
                    readEnded.TrySetResult();
                }
            },
        };
        await using var server = await EchoServer.StartAsync(script, time: _time);

        using var call = server.Client.Duplex(deadline: InAMinute);
        await running.Task.Within();
        _time.Advance(Minute);
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext().Within());
        await readEnded.Task.Within();

        Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Server_DeadlineOfTheClient_IsSeenByTheHandler()
    {
        var left = TimeSpan.Zero;
        var script = new EchoScript
        {
            Unary = (request, context) =>
            {
                left = context.Deadline - TimeProvider.System.GetUtcNow().UtcDateTime;
                return Task.FromResult(EchoScript.Echo(request));
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        var deadline = TimeProvider.System.GetUtcNow().UtcDateTime.AddMinutes(10);
        await server.Client.UnaryAsync(new EchoRequest(), deadline: deadline).ResponseAsync.Within();

        Assert.InRange(left, TimeSpan.FromMinutes(9), TimeSpan.FromMinutes(10.1));
    }

    [Fact]
    public async Task Client_DeadlinePassed_FailsAndCancelsTheHandler()
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(WaitingScript(cancelled, running), time: _time);

        using var call = server.Client.UnaryAsync(new EchoRequest(), deadline: InAMinute);
        await running.Task.Within();
        _time.Advance(Minute);
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());
        await cancelled.Task.Within();

        Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Client_DeadlineInThePast_FailsWithoutACall()
    {
        await using var server = await EchoServer.StartAsync();

        var exception = await Assert.ThrowsAsync<RpcException>(
            () => server.Client.UnaryAsync(new EchoRequest(), deadline: DateTime.UnixEpoch).ResponseAsync.Within());

        Assert.Equal(StatusCode.DeadlineExceeded, exception.StatusCode);
    }

    [Fact]
    public async Task Client_TokenFires_CancelsBothSides()
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(WaitingScript(cancelled, running));
        using var source = new CancellationTokenSource();

        using var call = server.Client.UnaryAsync(new EchoRequest(), cancellationToken: source.Token);
        await running.Task.Within();
        await source.CancelAsync();
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());
        await cancelled.Task.Within();

        Assert.Equal(StatusCode.Cancelled, exception.StatusCode);
        Assert.Equal(StatusCode.Cancelled, call.GetStatus().StatusCode);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Client_Dispose_CancelsTheHandlerAndTheRead()
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var script = new EchoScript
        {
            Duplex = async (requests, responses, _) =>
            {
                try
                {
                    await requests.MoveNext();
                    await responses.WriteAsync(EchoScript.Echo(requests.Current));
                    await requests.MoveNext();
                }
                catch (Exception)
                {
                    cancelled.TrySetResult();
                    throw;
                }
            },
        };
        await using var server = await EchoServer.StartAsync(script);

        var call = server.Client.Duplex();
        await call.RequestStream.WriteAsync(new EchoRequest()).Within();
        Assert.True(await call.ResponseStream.MoveNext().Within());
        var reading = call.ResponseStream.MoveNext();
        call.Dispose();
        var exception = await Assert.ThrowsAsync<RpcException>(() => reading.Within());
        await cancelled.Task.Within();

        Assert.Equal(StatusCode.Cancelled, exception.StatusCode);
        Assert.True(server.Log.Errors.Count == 0, string.Join("\n", server.Log.Errors));
    }

    [Fact]
    public async Task Client_ChannelDisposed_CancelsItsCalls()
    {
        var cancelled = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(WaitingScript(cancelled, running));
        var channel = GrpcChannel.ForAddress(server.Address);

        var call = new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest());
        await running.Task.Within();
        channel.Dispose();
        var exception = await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());
        await cancelled.Task.Within();

        Assert.Equal(StatusCode.Cancelled, exception.StatusCode);
    }

    [Fact]
    public async Task Client_CancellationAsException_IsOperationCanceled()
    {
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await EchoServer.StartAsync(WaitingScript(new TaskCompletionSource(), running), time: _time);
        using var channel = GrpcChannel.ForAddress(
            server.Address, new GrpcChannelOptions { ThrowOperationCanceledOnCancellation = true, TimeProvider = _time });

        using var call = new EchoService.EchoServiceClient(channel).UnaryAsync(new EchoRequest(), deadline: InAMinute);
        await running.Task.Within();
        _time.Advance(Minute);
        await Assert.ThrowsAsync<OperationCanceledException>(() => call.ResponseAsync.Within());
    }

    [Fact]
    public async Task Client_CallOnBehalfOfAnother_EndsWithIt()
    {
        var inner = new TaskCompletionSource<StatusCode>(TaskCreationOptions.RunContinuationsAsynchronously);
        var running = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var far = await EchoServer.StartAsync(WaitingScript(new TaskCompletionSource(), running), time: _time);
        var script = new EchoScript
        {
            Unary = async (request, context) =>
            {
                var options = new CallOptions(propagationToken: context.CreatePropagationToken());
                try
                {
                    return await far.Client.UnaryAsync(request, options);
                }
                catch (RpcException exception)
                {
                    inner.TrySetResult(exception.StatusCode);
                    throw;
                }
            },
        };
        await using var near = await EchoServer.StartAsync(script, time: _time);

        using var call = near.Client.UnaryAsync(new EchoRequest(), deadline: InAMinute);
        await running.Task.Within();
        _time.Advance(Minute);
        await Assert.ThrowsAsync<RpcException>(() => call.ResponseAsync.Within());

        Assert.Contains(await inner.Task.Within(), new[] { StatusCode.DeadlineExceeded, StatusCode.Cancelled });
    }

    [Fact]
    public async Task Client_WaitForReady_SurvivesAServerThatComesLater()
    {
        var attempts = 0;
        await using var server = await EchoServer.StartAsync();
        var handler = new SocketsHttpHandler
        {
            ConnectCallback = async (context, cancellationToken) =>
            {
                if (Interlocked.Increment(ref attempts) < 3)
                {
                    throw new System.Net.Sockets.SocketException((int)System.Net.Sockets.SocketError.ConnectionRefused);
                }

                var socket = new System.Net.Sockets.Socket(System.Net.Sockets.SocketType.Stream, System.Net.Sockets.ProtocolType.Tcp);
                await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
                return new System.Net.Sockets.NetworkStream(socket, ownsSocket: true);
            },
        };
        using var channel = GrpcChannel.ForAddress(
            server.Address,
            new GrpcChannelOptions { HttpHandler = handler, DisposeHttpClient = true, InitialReconnectBackoff = TimeSpan.FromMilliseconds(10) });
        var client = new EchoService.EchoServiceClient(channel);

        var response = await client.UnaryAsync(new EchoRequest { Text = "late" }, new CallOptions().WithWaitForReady()).ResponseAsync.Within();

        Assert.Equal("late", response.Text);
        Assert.Equal(3, attempts);
    }

    private static EchoScript WaitingScript(TaskCompletionSource cancelled, TaskCompletionSource? running = null) => new()
    {
        Unary = async (request, context) =>
        {
            running?.TrySetResult();
            try
            {
                await EchoScript.UntilCancelledAsync(context.CancellationToken);
            }
            catch (OperationCanceledException)
            {
                cancelled.TrySetResult();
                throw;
            }

            return EchoScript.Echo(request);
        },
    };
}
