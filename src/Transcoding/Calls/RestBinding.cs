using System.Buffers;
using System.Globalization;
using System.Text.Json;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Options.V1;
using Hub.Transcoding.Json;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Enum = System.Enum;

namespace Hub.Transcoding.Calls;

/// <summary>All that is fixed about one HTTP rule of one method: how its request is made and how its answers are written.</summary>
internal sealed class RestBinding
{
    private const string IdempotencyKeyField = "idempotency_key"; // The word for repeats in every contract.

    private readonly RestMethod _options;
    private readonly bool _hasEnvelope;
    private readonly FieldPath? _responseField;
    private readonly FieldPath? _successFlag;
    private readonly FieldPath? _lastEventId;
    private readonly FieldPath? _idempotencyKey;

    public RestBinding(MethodDescriptor method, HttpRule rule, string path, RestSurface surface, long defaultBytesMax)
    {
        Method = method;
        Surface = surface;
        _options = method.GetOptions()?.GetExtension(RestExtensions.Rest) ?? new RestMethod();
        _hasEnvelope = surface.Envelope == Envelope.SuccessData && !_options.NoEnvelope;
        Request = new RequestBinder(
            surface.Codec, method.InputType, HttpTemplate.Parse(path), rule, _options.RequestBytesMax > 0 ? _options.RequestBytesMax : defaultBytesMax);

        // A rule's own response_body is the more particular of the two.
        _responseField = ResponseField(rule.ResponseBody.Length > 0 ? rule.ResponseBody : _options.ResponseField);
        _idempotencyKey = method.InputType.FindFieldByName(IdempotencyKeyField) is { FieldType: FieldType.String, IsRepeated: false }
            ? RequestField(IdempotencyKeyField)
            : null;
        _successFlag = ResponseField(_options.SuccessWhen?.Field);
        if (_successFlag is { Field.Descriptor.FieldType: not FieldType.Bool })
        {
            throw new InvalidOperationException($"{method.FullName}: success_when needs a boolean field.");
        }

        _lastEventId = RequestField(_options.Sse?.LastEventIdField);
        Version = _options.Version is { } version
            ? new EntityVersion(ResponseField(version.EtagField), RequestField(version.IfMatchField), Text)
            : null;
        EventId = ResponseField(_options.Sse?.IdField);
        EventName = ResponseField(_options.Sse?.EventField);
    }

    public MethodDescriptor Method { get; }

    public RestSurface Surface { get; }

    public RequestBinder Request { get; }

    public FieldPath? EventId { get; }

    public FieldPath? EventName { get; }

    /// <summary>How the resource's version shows in headers; null for methods without one.</summary>
    public EntityVersion? Version { get; }

    public bool IsNeverStored => _options.NoStore;

    /// <summary>What names no version of its own and may be stored is told apart by its bytes.</summary>
    public bool IsTaggedByContent => Version is null && !IsNeverStored;

    /// <summary>Makes the request message: what the rule binds, then what headers add.</summary>
    public async ValueTask<IMessage> BindAsync(HttpContext http)
    {
        var request = await Request.BindAsync(http);
        BindHeaders(http, request);
        return request;
    }

    /// <summary>Makes the first of a stream of requests; the body is left to its reader.</summary>
    public IMessage BindWithoutBody(HttpContext http)
    {
        var request = Request.BindWithoutBody(http);
        BindHeaders(http, request);
        return request;
    }

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

    /// <summary>A field's value as text outside JSON; empty for messages, lists and what is unset.</summary>
    public string Text(FieldPath? field, IMessage message) => field?.Value(message) switch
    {
        null => "",
        string text => text,
        Enum value => EnumText(field, value),
        bool flag => flag ? "true" : "false",
        IFormattable value => value.ToString(null, CultureInfo.InvariantCulture),
        _ => "",
    };

    private string EnumText(FieldPath field, Enum value)
    {
        var number = Convert.ToInt32(value, CultureInfo.InvariantCulture);
        var known = field.Field.Descriptor.EnumType.FindValueByNumber(number);
        return known is null ? number.ToString(CultureInfo.InvariantCulture)
            : Surface.Options.ShortEnumValues ? EnumNames.Short(known) : known.Name;
    }

    private void BindHeaders(HttpContext http, IMessage request)
    {
        RequestBinder.BindHeader(http, _lastEventId, RestHeaders.LastEventId, request);
        if (_idempotencyKey?.Value(request) is null or "")
        {
            // A key in the body stays: whether the two agree is for the method to say, which sees the header as well.
            RequestBinder.BindHeader(http, _idempotencyKey, RestHeaders.IdempotencyKey, request);
        }

        Version?.BindIfMatch(http, request);
    }

    private FieldPath? RequestField(string? path) =>
        string.IsNullOrEmpty(path) ? null : FieldPath.Require(Surface.Codec, Method.InputType, path, Method.FullName);

    private FieldPath? ResponseField(string? path) =>
        string.IsNullOrEmpty(path) ? null : FieldPath.Require(Surface.Codec, Method.OutputType, path, Method.FullName);
}
