using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using Grpc.Core;
using Grpc.Framing;

namespace Grpc.Net.Client;

/// <summary>What HTTP tells about the outcome of a call.</summary>
internal static class ClientStatus
{
    /// <summary>Status by grpc-status and grpc-message; null if there is no grpc-status.</summary>
    public static Status? FromHeaders(HttpResponseHeaders headers)
    {
        if (!headers.NonValidated.TryGetValues(GrpcProtocol.StatusHeader, out var codes))
        {
            return null;
        }

        // Numbers that no version of the protocol has given a meaning count as UNKNOWN.
        var code = int.TryParse(codes.ToString(), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            && number <= (int)StatusCode.Unauthenticated ? (StatusCode)number : StatusCode.Unknown;
        var message = headers.NonValidated.TryGetValues(GrpcProtocol.MessageHeader, out var messages)
            ? GrpcProtocol.DecodeMessage(messages.ToString())
            : "";
        return new Status(code, message);
    }

    /// <summary>Status of an answer that is not gRPC, by the HTTP status (doc/http-grpc-status-mapping.md of the protocol).</summary>
    public static Status FromHttpStatus(HttpStatusCode httpStatus) =>
        new(
            httpStatus switch
            {
                HttpStatusCode.BadRequest => StatusCode.Internal,
                HttpStatusCode.Unauthorized => StatusCode.Unauthenticated,
                HttpStatusCode.Forbidden => StatusCode.PermissionDenied,
                HttpStatusCode.NotFound => StatusCode.Unimplemented,
                HttpStatusCode.TooManyRequests or HttpStatusCode.BadGateway
                    or HttpStatusCode.ServiceUnavailable or HttpStatusCode.GatewayTimeout => StatusCode.Unavailable,
                _ => StatusCode.Unknown,
            },
            $"Bad gRPC response. HTTP status code: {(int)httpStatus}");

    /// <summary>Status of a call that failed below gRPC.</summary>
    public static Status FromException(Exception exception)
    {
        switch (exception)
        {
            case RpcException rpc:
                return rpc.Status;
            case OperationCanceledException:
                return new Status(StatusCode.Cancelled, "Call canceled by the client.", exception);
        }

        for (var cause = exception; cause is not null; cause = cause.InnerException)
        {
            // Connections end by the same type of exception (unanswered pings, GOAWAY with an error) but by no fault of the call, and only
            // the text tells which of both it was.
            if (cause is HttpProtocolException protocol && protocol.Message.Contains("reset the stream", StringComparison.Ordinal))
            {
                return new Status(FromHttp2Error(protocol.ErrorCode), $"The stream was reset by HTTP/2 error {protocol.ErrorCode}.", exception);
            }
        }

        // A write that meets the end of its connection finds HttpClient's flow control disposed already.
        return exception is HttpRequestException or IOException or ObjectDisposedException
            ? new Status(StatusCode.Unavailable, $"The server is not reachable. {exception.GetType().Name}: {exception.Message}", exception)
            : new Status(StatusCode.Internal, $"The call could not be made. {exception.GetType().Name}: {exception.Message}", exception);
    }

    /// <summary>Headers or trailers as metadata of the call.</summary>
    public static Metadata ToMetadata(HttpResponseHeaders headers)
    {
        var metadata = new Metadata();
        foreach (var (name, values) in headers.NonValidated)
        {
            if (!GrpcProtocol.IsProtocolHeader(name))
            {
                foreach (var value in values)
                {
                    GrpcProtocol.AddWireEntry(metadata, name, value);
                }
            }
        }

        return metadata;
    }

    // RFC 9113, section 7, and "Errors" of the gRPC over HTTP/2 protocol.
    private static StatusCode FromHttp2Error(long code) => code switch
    {
        0x7 => StatusCode.Unavailable,
        0x8 => StatusCode.Cancelled,
        0xb => StatusCode.ResourceExhausted,
        0xc => StatusCode.PermissionDenied,
        _ => StatusCode.Internal,
    };
}
