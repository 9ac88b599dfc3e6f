using Grpc.Framing;

namespace Hub.Transcoding.Routes;

/// <summary>Headers that mean the same on every surface.</summary>
internal static class RestHeaders
{
    /// <summary>The client's deadline; see <see cref="Calls.RestDeadline"/>.</summary>
    public const string Timeout = GrpcProtocol.TimeoutHeader;

    /// <summary>Fills the request field <c>idempotency_key</c>.</summary>
    public const string IdempotencyKey = "Idempotency-Key";

    /// <summary>Fills the field that <c>sse.last_event_id_field</c> names.</summary>
    public const string LastEventId = "Last-Event-ID";
}
