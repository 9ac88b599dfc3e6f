using Google.Protobuf.Reflection;

namespace Hub.Transcoding;

/// <summary>Options of REST transcoding.</summary>
public sealed class JsonTranscodingOptions
{
    /// <summary>Default of <see cref="RequestBytesMax"/>: 1 MiB.</summary>
    public const long DefaultRequestBytesMax = 1024 * 1024;

    /// <summary>Largest request body in bytes; larger ones get 413. A method's <c>rest.request_bytes_max</c> wins. Default 1 MiB.</summary>
    public long RequestBytesMax { get; set; } = DefaultRequestBytesMax;

    /// <summary>
    /// Origins whose pages may read answers, exactly as browsers send them: scheme, host and port, such as <c>https://hub.example.com</c>.
    /// Default none. Credentials travel in the Authorization header, never in cookies.
    /// </summary>
    public IList<string> CorsOrigins { get; } = [];

    /// <summary>Whether a text is an origin as browsers send it; any other would never match one.</summary>
    public static bool IsOrigin(string text) =>
        Uri.TryCreate(text, UriKind.Absolute, out var url) && url.Scheme is ("http" or "https") && url.GetLeftPart(UriPartial.Authority) == text;

    /// <summary>The messages that may travel in a google.protobuf.Any. Default none.</summary>
    public TypeRegistry TypeRegistry { get; set; } = TypeRegistry.Empty;

    /// <summary>Title of the API's description. Default "API".</summary>
    public string Title { get; set; } = "API";

    /// <summary>
    /// Opens a FileDescriptorSet that protoc wrote with <c>--include_imports --include_source_info</c>; the comments of the API's
    /// description come from it. Default none: no comments.
    /// </summary>
    public Func<Stream>? OpenDescriptorSet { get; set; }

    /// <summary>
    /// The enum of error reasons. A google.rpc.ErrorInfo with reason <c>HOST_NOT_FOUND</c> gets the HTTP status that the value
    /// <c>ERROR_REASON_HOST_NOT_FOUND</c> carries in its option <c>hub.options.v1.error_status</c>. Default none: the gRPC status alone decides.
    /// </summary>
    public EnumDescriptor? ErrorReasons { get; set; }
}
