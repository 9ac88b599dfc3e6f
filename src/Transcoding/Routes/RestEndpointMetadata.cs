using Google.Api;
using Google.Protobuf.Reflection;

namespace Hub.Transcoding.Routes;

/// <summary>Endpoint metadata that names the method and the HTTP rule behind a REST endpoint.</summary>
/// <param name="method">The method.</param>
/// <param name="httpRule">The rule.</param>
public sealed class RestEndpointMetadata(MethodDescriptor method, HttpRule httpRule)
{
    /// <summary>The method that answers.</summary>
    public MethodDescriptor Method { get; } = method;

    /// <summary>The rule that leads to it; a method may have several.</summary>
    public HttpRule HttpRule { get; } = httpRule;
}
