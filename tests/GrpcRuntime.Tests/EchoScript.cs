using Grpc.Core;
using GrpcRuntime.Tests.V1;

namespace Hub.GrpcRuntime.Tests;

/// <summary>What the handlers of a test do; each echoes unless the test says otherwise.</summary>
internal sealed class EchoScript
{
    public UnaryServerMethod<EchoRequest, EchoResponse> Unary { get; init; } = (request, _) => Task.FromResult(Echo(request));

    public ServerStreamingServerMethod<EchoRequest, EchoResponse> ServerStream { get; init; } = async (request, responses, _) =>
    {
        for (var i = 0; i < request.Count; i++)
        {
            await responses.WriteAsync(new EchoResponse { Text = request.Text, Count = i });
        }
    };

    public ClientStreamingServerMethod<EchoRequest, EchoResponse> ClientStream { get; init; } = async (requests, _) =>
    {
        var response = new EchoResponse();
        await foreach (var request in requests.ReadAllAsync())
        {
            response.Text += request.Text;
            response.Count++;
        }

        return response;
    };

    public DuplexStreamingServerMethod<EchoRequest, EchoResponse> Duplex { get; init; } = async (requests, responses, _) =>
    {
        await foreach (var request in requests.ReadAllAsync())
        {
            await responses.WriteAsync(Echo(request));
        }
    };

    public static EchoResponse Echo(EchoRequest request) =>
        new() { Text = request.Text, Payload = request.Payload, Count = request.Count };

    /// <summary>Never completes; ends as cancelled when the token fires.</summary>
    public static async Task UntilCancelledAsync(CancellationToken cancellationToken)
    {
        var end = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var registration = cancellationToken.Register(() => end.TrySetCanceled(cancellationToken));
        await end.Task;
    }
}

internal sealed class EchoServiceImpl(EchoScript script) : EchoService.EchoServiceBase
{
    public override Task<EchoResponse> Unary(EchoRequest request, ServerCallContext context) => script.Unary(request, context);

    public override Task ServerStream(EchoRequest request, IServerStreamWriter<EchoResponse> responseStream, ServerCallContext context) =>
        script.ServerStream(request, responseStream, context);

    public override Task<EchoResponse> ClientStream(IAsyncStreamReader<EchoRequest> requestStream, ServerCallContext context) =>
        script.ClientStream(requestStream, context);

    public override Task Duplex(
        IAsyncStreamReader<EchoRequest> requestStream, IServerStreamWriter<EchoResponse> responseStream, ServerCallContext context) =>
        script.Duplex(requestStream, responseStream, context);
}
