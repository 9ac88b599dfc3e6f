using Grpc.Core;
using Grpc.Core.Interceptors;
using Hub.Contracts.V1;
using Hub.Storage;

namespace Hub.Errors;

/// <summary>The one place where what a use case throws becomes a status: for gRPC calls and, through the same pipeline, for REST.</summary>
internal sealed partial class ErrorInterceptor(ILogger<ErrorInterceptor> log) : Interceptor
{
    // Most outages are over in seconds; one that needs a person takes longer.
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan RetryAfterRepair = TimeSpan.FromSeconds(30);

    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception e) when (e is not RpcException)
        {
            throw Translate(e, context);
        }
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responses, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responses, context);
        }
        catch (Exception e) when (e is not RpcException)
        {
            throw Translate(e, context);
        }
    }

    public override async Task DuplexStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requests, IServerStreamWriter<TResponse> responses, ServerCallContext context,
        DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(requests, responses, context);
        }
        catch (Exception e) when (e is not RpcException)
        {
            throw Translate(e, context);
        }
    }

    private RpcException Translate(Exception e, ServerCallContext context)
    {
        switch (e)
        {
            case HubException refusal:
                return ErrorStatuses.ToRpcException(refusal);
            case LinkFencedException:
                return ErrorStatuses.ToRpcException(new HubException(
                    ErrorReason.LinkFenced, "A newer link, a revocation or a deletion ended this link."));
            case StoreUnavailableException unavailable:
                LogStoreUnavailable(context.Method, e.Message);
                return ErrorStatuses.ToRpcException(new HubException(
                    ErrorReason.StoreUnavailable, "The Hub cannot use its store. Nothing was done; try again.",
                    ("fault", EnumText<StoreFault>.Of(unavailable.Fault)))
                { RetryAfter = unavailable.Fault.NeedsRepair() ? RetryAfterRepair : RetryAfter });
            case OperationCanceledException or IOException when context.CancellationToken.IsCancellationRequested:
                return new RpcException(new Status(StatusCode.Cancelled, "The call was cancelled."));
            default:
                var id = Guid.NewGuid().ToString("N");
                LogUnmapped(e, context.Method, id);
                return new RpcException(
                    new Status(StatusCode.Internal, $"The Hub failed. Quote this id to its operator: {id}"));
        }
    }

    [LoggerMessage(LogLevel.Error, "{Method} failed; error id {ErrorId}", EventName = "CallFailed")]
    private partial void LogUnmapped(Exception e, string method, string errorId);

    // The outage itself is one line of the store's; each call that meets it is not news.
    [LoggerMessage(LogLevel.Debug, "{Method} could not use the store: {Cause}", EventName = "StoreUnavailable")]
    private partial void LogStoreUnavailable(string method, string cause);
}
