using System.Text;
using Grpc.Core;

namespace Hub.Transcoding.Errors;

/// <summary>The usual correspondence of gRPC and HTTP statuses.</summary>
internal static class StatusCodes
{
    public static int ToHttp(StatusCode code) => code switch
    {
        StatusCode.OK => 200,
        StatusCode.Cancelled => 499,
        StatusCode.InvalidArgument or StatusCode.FailedPrecondition or StatusCode.OutOfRange => 400,
        StatusCode.DeadlineExceeded => 504,
        StatusCode.NotFound => 404,
        StatusCode.AlreadyExists or StatusCode.Aborted => 409,
        StatusCode.PermissionDenied => 403,
        StatusCode.Unauthenticated => 401,
        StatusCode.ResourceExhausted => 429,
        StatusCode.Unimplemented => 501,
        StatusCode.Unavailable => 503,
        _ => 500,
    };

    /// <summary>For refusals that no method made: routing, limits, broken requests.</summary>
    public static StatusCode FromHttp(int status) => status switch
    {
        401 => StatusCode.Unauthenticated,
        403 => StatusCode.PermissionDenied,
        404 => StatusCode.NotFound,
        405 => StatusCode.Unimplemented,
        408 => StatusCode.DeadlineExceeded,
        409 => StatusCode.Aborted,
        413 or 429 or 431 => StatusCode.ResourceExhausted,
        503 => StatusCode.Unavailable,
        >= 500 => StatusCode.Internal,
        _ => StatusCode.InvalidArgument,
    };

    /// <summary>The status as the gRPC specification writes it: NOT_FOUND.</summary>
    public static string Name(StatusCode code)
    {
        if (code == StatusCode.OK)
        {
            return "OK";
        }

        var name = new StringBuilder();
        foreach (var c in code.ToString())
        {
            name.Append(name.Length > 0 && char.IsAsciiLetterUpper(c) ? "_" : "").Append(char.ToUpperInvariant(c));
        }

        return name.ToString();
    }
}
