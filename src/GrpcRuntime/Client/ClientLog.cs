using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Grpc.Net.Client;

internal static partial class ClientLog
{
    [LoggerMessage(EventName = "CallEnded", Level = LogLevel.Debug, Message = "{Method} ended with {StatusCode}.")]
    public static partial void CallEnded(ILogger logger, string method, StatusCode statusCode, Exception? exception);

    [LoggerMessage(EventName = "WaitingForServer", Level = LogLevel.Debug, Message = "{Method} waits {Delay} for its server.")]
    public static partial void WaitingForServer(ILogger logger, string method, TimeSpan delay, Exception? exception);

    [LoggerMessage(EventName = "CallCredentialsNotSent", Level = LogLevel.Warning, Message = "Call credentials are not sent over http://.")]
    public static partial void CallCredentialsNotSent(ILogger logger);
}
