using System.Buffers;
using System.Text.Json;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;

namespace Hub.Transcoding.Calls;

/// <summary>All that is fixed about one HTTP rule of one method: how its request is made and how its answers are written.</summary>
internal sealed class RestBinding
{
    private readonly RestMethod _options;
    private readonly bool _hasEnvelope;
    private readonly FieldPath? _responseField;
    private readonly FieldPath? _successFlag;

    public RestBinding(MethodDescriptor method, HttpRule rule, string path, RestSurface surface, long defaultBytesMax)
    {
        Method = method;
        Surface = surface;
        _options = method.GetOptions()?.GetExtension(RestExtensions.Rest) ?? new RestMethod();
        _hasEnvelope = surface.Envelope == Envelope.SuccessData && !_options.NoEnvelope;
        Request = new RequestBinder(
            surface.Codec, method.InputType, HttpTemplate.Parse(path), rule.Body, _options.RequestBytesMax > 0 ? _options.RequestBytesMax : defaultBytesMax);

        // A rule's own response_body is the more particular of the two.
        _responseField = ResponseField(rule.ResponseBody.Length > 0 ? rule.ResponseBody : _options.ResponseField);
        _successFlag = ResponseField(_options.SuccessWhen?.Field);
        if (_successFlag is { Field.Descriptor.FieldType: not FieldType.Bool })
        {
            throw new InvalidOperationException($"{method.FullName}: success_when needs a boolean field.");
        }

        EventId = ResponseField(_options.Sse?.IdField);
        EventName = ResponseField(_options.Sse?.EventField);
        LastEventId = _options.Sse is { LastEventIdField.Length: > 0 } sse
            ? FieldPath.Require(surface.Codec, method.InputType, sse.LastEventIdField, method.FullName)
            : null;
    }

    public MethodDescriptor Method { get; }

    public RestSurface Surface { get; }

    public RequestBinder Request { get; }

    public FieldPath? EventId { get; }

    public FieldPath? EventName { get; }

    /// <summary>The request field that takes the Last-Event-ID header.</summary>
    public FieldPath? LastEventId { get; }

    public bool IsNeverStored => _options.NoStore;

    public int SuccessStatus(IMessage answer)
    {
        if (_successFlag?.Value(answer) is true)
        {
            return _options.SuccessWhen.Status;
        }

        return _options.SuccessStatus > 0 ? _options.SuccessStatus : 200;
    }

    /// <summary>The answer as raw bytes with a type of their own, if that is what the method returns.</summary>
    public HttpBody? RawBody(IMessage answer) => (_responseField is null ? answer : _responseField.Value(answer)) as HttpBody;

    /// <summary>Writes a whole answer, in its envelope if the surface has one.</summary>
    public void WriteAnswer(IMessage answer, PooledBuffer output)
    {
        if (!_hasEnvelope)
        {
            WriteMessage(answer, output);
            return;
        }

        output.Write("{\"success\":true,\"data\":"u8);
        var start = output.Length;
        WriteMessage(answer, output);
        if (output.Span[start..].SequenceEqual("{}"u8))
        {
            // Clients of this envelope ask for data: null when there is nothing to tell, never for an empty object.
            output.Truncate(start);
            output.Write("null"u8);
        }

        output.Write("}"u8);
    }

    /// <summary>Writes one message, or the one field that stands for it.</summary>
    public void WriteMessage(IMessage message, PooledBuffer output)
    {
        if (_responseField is null)
        {
            Surface.Codec.Write(message, output);
            return;
        }

        using var writer = new Utf8JsonWriter(output, JsonCodec.WriterOptions);
        _responseField.WriteValue(writer, message);
    }

    private FieldPath? ResponseField(string? path) =>
        string.IsNullOrEmpty(path) ? null : FieldPath.Require(Surface.Codec, Method.OutputType, path, Method.FullName);
}
