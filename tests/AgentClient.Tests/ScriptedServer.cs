using System.Collections.Concurrent;
using System.Net;
using System.Threading.Channels;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.TestKit;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Tests;

/// <summary>A scripted Hub behind a real server on a free port. Tests take each link as it comes and speak on it.</summary>
internal sealed class ScriptedServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly Channel<ScriptedLink> _links = Channel.CreateBounded<ScriptedLink>(100);
    private readonly Channel<PutCommandResultRequest> _results = Channel.CreateBounded<PutCommandResultRequest>(100);
    private int _claims;

    private ScriptedServer()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0, listener => listener.Protocols = HttpProtocols.Http2));
        builder.Services.AddGrpc();
        builder.Services.AddSingleton(this);
        _app = builder.Build();
        _app.MapGrpcService<LinkServiceImpl>();
        _app.MapGrpcService<HostServiceImpl>();
        _app.MapGrpcService<CommandServiceImpl>();
    }

    public Uri Address => new(_app.Urls.Single());

    public ScriptedHub Hub { get; } = new();

    public ConcurrentDictionary<string, bool> ValidCredentials { get; } = new();

    /// <summary>Fails the next claims with this status.</summary>
    public ConcurrentQueue<StatusCode> ClaimFailures { get; } = new();

    public int Claims => Volatile.Read(ref _claims);

    public static async Task<ScriptedServer> StartAsync()
    {
        var server = new ScriptedServer();
        await server._app.StartAsync();
        return server;
    }

    /// <summary>The next link a node opens, after its Welcome.</summary>
    public Task<ScriptedLink> NextLinkAsync() => _links.Reader.ReadAsync().AsTask().Within();

    /// <summary>The next result a node uploads.</summary>
    public Task<PutCommandResultRequest> NextResultAsync() => _results.Reader.ReadAsync().AsTask().Within();

    public async ValueTask DisposeAsync()
    {
        _links.Writer.Complete();
        await _app.StopAsync(new CancellationToken(canceled: true));
        await _app.DisposeAsync();
    }

    private void Authenticate(ServerCallContext context)
    {
        if (!ValidCredentials.ContainsKey(context.RequestHeaders.GetValue("authorization") ?? ""))
        {
            throw new RpcException(new Status(StatusCode.Unauthenticated, "The credential is not valid."));
        }
    }

    private sealed class LinkServiceImpl(ScriptedServer server) : LinkService.LinkServiceBase
    {
        public override async Task Connect(
            IAsyncStreamReader<ConnectRequest> requestStream, IServerStreamWriter<ConnectResponse> responseStream, ServerCallContext context)
        {
            server.Authenticate(context);
            await requestStream.MoveNext(context.CancellationToken);
            var link = new ScriptedLink(server.Hub, requestStream.Current.Hello);
            lock (server.Hub)
            {
                link.Send(server.Hub.Welcome(link.Hello));
            }

            await server._links.Writer.WriteAsync(link);
            await link.RunAsync(requestStream, responseStream, context.CancellationToken);
        }
    }

    private sealed class HostServiceImpl(ScriptedServer server) : HostService.HostServiceBase
    {
        public override Task<ClaimHostResponse> ClaimHost(ClaimHostRequest request, ServerCallContext context)
        {
            if (server.ClaimFailures.TryDequeue(out var failure))
            {
                throw new RpcException(new Status(failure, "Not now."));
            }

            if (request.JoinToken != "hjoin_good")
            {
                throw new RpcException(new Status(StatusCode.Unauthenticated, "The join token is not valid."));
            }

            var token = $"hcred_{Interlocked.Increment(ref server._claims)}";
            server.ValidCredentials[$"Bearer {token}"] = true;
            return Task.FromResult(new ClaimHostResponse { Host = new Contracts.V1.Host { Id = "host-1" }, Credential = new IssuedCredential { Token = token } });
        }
    }

    private sealed class CommandServiceImpl(ScriptedServer server) : CommandService.CommandServiceBase
    {
        public override Task<PutCommandResultResponse> PutCommandResult(PutCommandResultRequest request, ServerCallContext context)
        {
            server.Authenticate(context);
            Assert.True(server._results.Writer.TryWrite(request));
            return Task.FromResult(new PutCommandResultResponse());
        }
    }
}

/// <summary>The Hub's end of one link.</summary>
internal sealed class ScriptedLink(ScriptedHub hub, Hello hello)
{
    private readonly Channel<ConnectResponse> _outgoing = Channel.CreateBounded<ConnectResponse>(1_000);
    private readonly Channel<ConnectRequest> _incoming = Channel.CreateBounded<ConnectRequest>(10_000);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Hello Hello => hello;

    /// <summary>Ends when the node has left the link.</summary>
    public Task Ended => _ended.Task;

    /// <summary>Whether entries are answered.</summary>
    public bool Answers { get; set; } = true;

    public void Send(ConnectResponse frame) => Assert.True(_outgoing.Writer.TryWrite(frame));

    public void Offer(string commandId, string type, Struct? payload = null) =>
        Send(new ConnectResponse { Offer = new CommandOffer { CommandId = commandId, Attempt = 1, Type = type, Payload = payload ?? new Struct() } });

    /// <summary>Ends the call without a word.</summary>
    public void Break() => _outgoing.Writer.Complete();

    /// <summary>The next frame of the node that fits.</summary>
    public async Task<ConnectRequest> NextAsync(Func<ConnectRequest, bool> fits)
    {
        while (true)
        {
            var frame = await _incoming.Reader.ReadAsync().AsTask().Within();
            if (fits(frame))
            {
                return frame;
            }
        }
    }

    public async Task<CommandOutcome> NextOutcomeAsync()
    {
        while (true)
        {
            var frame = await NextAsync(frame => frame.Batch?.Lane is Lane.Commands);
            if (frame.Batch.Entries.Select(entry => entry.CommandOutcome).FirstOrDefault(outcome => outcome is not null) is { } found)
            {
                return found;
            }
        }
    }

    public async Task RunAsync(IAsyncStreamReader<ConnectRequest> requests, IServerStreamWriter<ConnectResponse> responses, CancellationToken ending)
    {
        using var closing = CancellationTokenSource.CreateLinkedTokenSource(ending);
        var reading = ReadAsync(requests, closing.Token);
        var writing = WriteAsync(responses, closing.Token);
        await Task.WhenAny(reading, writing);
        await closing.CancelAsync();
        await Task.WhenAll(reading, writing);
        _ended.TrySetResult();
    }

    private async Task ReadAsync(IAsyncStreamReader<ConnectRequest> requests, CancellationToken closing)
    {
        try
        {
            while (await requests.MoveNext(closing))
            {
                var frame = requests.Current;
                if (Answers)
                {
                    lock (hub)
                    {
                        foreach (var answer in hub.Receive(frame))
                        {
                            _outgoing.Writer.TryWrite(answer);
                        }
                    }
                }

                _incoming.Writer.TryWrite(frame);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or RpcException)
        {
            // The node or the test ended the link.
        }
    }

    private async Task WriteAsync(IServerStreamWriter<ConnectResponse> responses, CancellationToken closing)
    {
        try
        {
            await foreach (var frame in _outgoing.Reader.ReadAllAsync(closing))
            {
                await responses.WriteAsync(frame, closing);
            }
        }
        catch (Exception error) when (error is OperationCanceledException or IOException or RpcException or InvalidOperationException)
        {
            // The node or the test ended the link.
        }
    }
}
