using System.Text.Json;
using Google.Rpc;
using Grpc.Core;
using Hub.Options.V1;
using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.WebUtilities;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Hub.Transcoding.Errors;

/// <summary>Turns whatever ended a call into the answer its client gets.</summary>
internal sealed partial class RestErrors(IOptions<JsonTranscodingOptions> options, ILogger<RestErrors> logger)
{
    private const string JsonContentType = "application/json";

    private readonly ErrorReasonTable _reasons = new(options.Value.ErrorReasons);

    /// <summary>Describes an exception; one that nobody meant for the client is logged here, once, with the id the client gets.</summary>
    public RestError Describe(Exception exception, string method)
    {
        switch (exception)
        {
            case RpcException rpc:
                return Describe(rpc.Status, rpc.GetRpcStatus(ignoreParseError: true));
            case JsonInputException input:
                return new RestError(400, StatusCode.InvalidArgument, input.Message)
                {
                    Details = input.Path.Length == 0 ? new Dictionary<string, string>() : new Dictionary<string, string> { ["field"] = input.Path },
                };
            case BadHttpRequestException request:
                return new RestError(request.StatusCode, StatusCodes.FromHttp(request.StatusCode), request.Message);
            case OperationCanceledException:
                return new RestError(StatusCodes.ToHttp(StatusCode.Cancelled), StatusCode.Cancelled, "the call was cancelled");
            default:
                var id = Guid.NewGuid().ToString("N");
                LogUnhandled(logger, method, id, exception);
                return new RestError(500, StatusCode.Internal, "internal error") { Details = new Dictionary<string, string> { ["error_id"] = id } };
        }
    }

    /// <summary>Describes a status with what google.rpc details say about it.</summary>
    public RestError Describe(Grpc.Core.Status status, Google.Rpc.Status? details)
    {
        var info = details?.GetDetail<ErrorInfo>();
        var reason = string.IsNullOrEmpty(info?.Reason) ? null : info.Reason;
        return new RestError(
            _reasons.HttpStatus(status.StatusCode, reason),
            status.StatusCode,
            status.Detail.Length > 0 ? status.Detail : StatusCodes.Name(status.StatusCode))
        {
            Reason = reason,
            Details = info is null ? new Dictionary<string, string>() : info.Metadata.AsReadOnly(),
            RetryAfter = details?.GetDetail<RetryInfo>()?.RetryDelay?.ToTimeSpan(),
        };
    }

    /// <summary>Describes a status that routing or a middleware set without a body.</summary>
    public static RestError Describe(int httpStatus) =>
        new(httpStatus, StatusCodes.FromHttp(httpStatus), ReasonPhrases.GetReasonPhrase(httpStatus).ToLowerInvariant());

    public static async Task WriteAsync(HttpContext http, RestError error, ErrorShape shape)
    {
        var response = http.Response;
        response.StatusCode = error.HttpStatus;
        response.ContentType = JsonContentType;
        response.Headers.CacheControl = "no-store";
        response.Headers.RetryAfter = error.RetryAfterSeconds;
        using var body = new PooledBuffer();
        using (var writer = new Utf8JsonWriter(body, JsonCodec.WriterOptions))
        {
            error.Write(writer, shape);
        }

        response.ContentLength = body.Length;
        await response.Body.WriteAsync(body.Memory, http.RequestAborted);
    }

    [LoggerMessage(EventName = "UnhandledRestException", Level = LogLevel.Error, Message = "Unhandled exception in {Method}, shown to the client as {ErrorId}.")]
    private static partial void LogUnhandled(ILogger logger, string method, string errorId, Exception exception);
}
