using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Grpc.AspNetCore.Server;

internal static partial class ServerLog
{
    [LoggerMessage(EventName = "UnhandledException", Level = LogLevel.Error, Message = "Unhandled exception in {Method}.")]
    public static partial void UnhandledException(ILogger logger, string method, Exception exception);

    [LoggerMessage(EventName = "CallRefused", Level = LogLevel.Debug, Message = "{Method} ended with {StatusCode}.")]
    public static partial void CallRefused(ILogger logger, string method, StatusCode statusCode, Exception? exception);

    [LoggerMessage(EventName = "CallCancelled", Level = LogLevel.Debug, Message = "{Method} was cancelled by the client.")]
    public static partial void CallCancelled(ILogger logger, string method);

    [LoggerMessage(EventName = "DeadlineExceeded", Level = LogLevel.Debug, Message = "{Method} did not end within {Timeout}.")]
    public static partial void DeadlineExceeded(ILogger logger, string method, TimeSpan timeout);

    [LoggerMessage(EventName = "NotTaken", Level = LogLevel.Debug, Message = "The client did not take the end of {Method} within {Timeout}.")]
    public static partial void NotTaken(ILogger logger, string method, TimeSpan timeout);

    [LoggerMessage(EventName = "RequestRefused", Level = LogLevel.Debug, Message = "Not a gRPC request: {Reason}")]
    public static partial void RequestRefused(ILogger logger, string reason);
}
