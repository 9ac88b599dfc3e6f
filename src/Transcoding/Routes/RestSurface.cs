using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;

namespace Hub.Transcoding.Routes;

/// <summary>A surface as the contract declares it, with the codec that speaks its JSON.</summary>
internal sealed class RestSurface(Surface options, TypeRegistry types)
{
    public JsonCodec Codec { get; } = new(JsonStyle.Of(options), types);

    public Envelope Envelope => options.Envelope;

    public ErrorShape ErrorShape => options.ErrorShape;

    public Surface Options => options;
}
