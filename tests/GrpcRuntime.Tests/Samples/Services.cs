using System.Collections.Concurrent;
using Grpc.Core;
using Grpc.Core.Interceptors;
using Microsoft.Extensions.Logging;

namespace Samples;

// Written as the documentation of the official packages teaches it. Nothing here may know that the packages are not those: the file has
// to compile against them as it is.
public class GreeterService(ILogger<GreeterService> logger) : Greeter.GreeterBase
{
    public override Task<HelloReply> SayHello(HelloRequest request, ServerCallContext context)
    {
        logger.LogInformation("Saying hello to {Name}", request.Name);
        if (string.IsNullOrEmpty(request.Name))
        {
            throw new RpcException(new Status(StatusCode.InvalidArgument, "Name is required."));
        }

        return Task.FromResult(new HelloReply { Message = "Hello " + request.Name });
    }

    public override async Task SayHellos(HelloRequest request, IServerStreamWriter<HelloReply> responseStream, ServerCallContext context)
    {
        var i = 0;
        while (!context.CancellationToken.IsCancellationRequested)
        {
            await responseStream.WriteAsync(new HelloReply { Message = $"How are you {request.Name}? {++i}" }, context.CancellationToken);
        }
    }
}

public class UploaderService : Uploader.UploaderBase
{
    public override async Task<UploadFileResponse> UploadFile(
        IAsyncStreamReader<UploadFileRequest> requestStream, ServerCallContext context)
    {
        var response = new UploadFileResponse();
        await foreach (var message in requestStream.ReadAllAsync(context.CancellationToken))
        {
            switch (message.PartCase)
            {
                case UploadFileRequest.PartOneofCase.Description:
                    response.FileName = message.Description.FileName;
                    break;
                case UploadFileRequest.PartOneofCase.Data:
                    response.Size += message.Data.Length;
                    break;
            }
        }

        return response;
    }
}

public sealed class ChatRoom : IDisposable
{
    private readonly ConcurrentDictionary<string, IServerStreamWriter<ChatMessage>> _users = new();
    private readonly SemaphoreSlim _turn = new(1, 1);

    public void Join(string name, IServerStreamWriter<ChatMessage> response) => _users[name] = response;

    public void Leave(string name) => _users.TryRemove(name, out _);

    public void Dispose() => _turn.Dispose();

    public async Task BroadcastAsync(ChatMessage message)
    {
        await _turn.WaitAsync();
        try
        {
            foreach (var (_, stream) in _users)
            {
                await stream.WriteAsync(message);
            }
        }
        finally
        {
            _turn.Release();
        }
    }
}

public class ChatService(ChatRoom room) : Chat.ChatBase
{
    public override async Task Join(
        IAsyncStreamReader<ChatMessage> requestStream, IServerStreamWriter<ChatMessage> responseStream, ServerCallContext context)
    {
        if (!await requestStream.MoveNext(context.CancellationToken))
        {
            return;
        }

        var user = requestStream.Current.User;
        room.Join(user, responseStream);
        try
        {
            do
            {
                await room.BroadcastAsync(requestStream.Current);
            }
            while (await requestStream.MoveNext(context.CancellationToken));
        }
        finally
        {
            room.Leave(user);
        }
    }
}

public class ServerLoggerInterceptor(ILogger<ServerLoggerInterceptor> logger) : Interceptor
{
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        logger.LogInformation("Starting call. Type/Method: {Type} / {Method}", MethodType.Unary, context.Method);
        try
        {
            context.ResponseTrailers.Add("x-logged", context.RequestHeaders.GetValue("x-trace-id") ?? "none");
            return await continuation(request, context);
        }
        catch (Exception ex)
        {
            logger.LogWarning(ex, "Error thrown by {Method}.", context.Method);
            throw;
        }
    }
}

public class TracingInterceptor(string traceId, List<string> log) : Interceptor
{
    public override AsyncUnaryCall<TResponse> AsyncUnaryCall<TRequest, TResponse>(
        TRequest request,
        ClientInterceptorContext<TRequest, TResponse> context,
        AsyncUnaryCallContinuation<TRequest, TResponse> continuation)
    {
        var headers = new Metadata { { "x-trace-id", traceId } };
        var traced = new ClientInterceptorContext<TRequest, TResponse>(context.Method, context.Host, context.Options.WithHeaders(headers));
        var call = continuation(request, traced);
        return new AsyncUnaryCall<TResponse>(
            HandleResponse(context.Method.Name, call.ResponseAsync),
            call.ResponseHeadersAsync,
            call.GetStatus,
            call.GetTrailers,
            call.Dispose);
    }

    private async Task<TResponse> HandleResponse<TResponse>(string method, Task<TResponse> inner)
    {
        try
        {
            var response = await inner;
            log.Add($"{method}: {response}");
            return response;
        }
        catch (RpcException ex)
        {
            log.Add($"{method}: {ex.StatusCode}");
            throw;
        }
    }
}
