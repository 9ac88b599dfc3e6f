using System.Buffers;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace Hub.Transcoding.Routes;

/// <summary>Makes the request message of one HTTP rule: the body first, then the query, and the path last, so that the path wins.</summary>
internal sealed class RequestBinder
{
    private const string WholeBody = "*";

    private readonly JsonCodec _codec;
    private readonly MessageDescriptor _type;
    private readonly PathBinding _path;
    private readonly (TemplateVariable Variable, FieldPath Field)[] _variables;
    private readonly bool _takesWhole;
    private readonly FieldPath? _bodyField;
    private readonly bool _takesRaw;
    private readonly long _bytesMax;

    public RequestBinder(JsonCodec codec, MessageDescriptor type, HttpTemplate template, string body, long bytesMax)
    {
        _codec = codec;
        _type = type;
        _path = new PathBinding(template);
        _variables = [.. template.Variables.Select(v => (v, FieldPath.Require(codec, type, v.FieldPath, template.Text)))];
        _takesWhole = body == WholeBody;
        _bodyField = body.Length == 0 || _takesWhole ? null : FieldPath.Require(codec, type, body, template.Text);
        _takesRaw = (_takesWhole ? type : _bodyField?.Field.Descriptor is { FieldType: FieldType.Message } field ? field.MessageType : null)
            == HttpBody.Descriptor;
        _bytesMax = bytesMax;
    }

    public Microsoft.AspNetCore.Routing.Patterns.RoutePattern Pattern => _path.Pattern;

    /// <exception cref="JsonInputException">Body, query or path do not fit the message.</exception>
    /// <exception cref="BadHttpRequestException">The body is too large or of a foreign type.</exception>
    public async ValueTask<IMessage> BindAsync(HttpContext http)
    {
        var message = _codec.For(_type).Create();
        if (_takesWhole || _bodyField is not null)
        {
            await ReadBodyAsync(http, message);
        }

        if (!_takesWhole)
        {
            ReadQuery(http.Request.Query, message);
        }

        foreach (var (variable, field) in _variables)
        {
            field.ReadText(_path.Value(variable, http.Request.RouteValues), message);
        }

        return message;
    }

    /// <summary>Sets a field from a header. It wins over the query: a browser that comes back repeats the address it first opened.</summary>
    public static void BindHeader(HttpContext http, FieldPath field, string header, IMessage message)
    {
        if (http.Request.Headers[header] is [{ Length: > 0 } value])
        {
            field.ReadText(value, message);
        }
    }

    private void ReadQuery(IQueryCollection query, IMessage message)
    {
        foreach (var (name, values) in query)
        {
            if (FieldPath.Find(_codec, _type, name) is not { } field)
            {
                continue;
            }

            foreach (var value in values)
            {
                field.ReadText(value ?? "", message);
            }
        }
    }

    private async ValueTask ReadBodyAsync(HttpContext http, IMessage message)
    {
        var request = http.Request;
        if (request.ContentLength > _bytesMax)
        {
            throw TooLarge();
        }

        var canHaveBody = http.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody != false;
        if (canHaveBody && !_takesRaw && !IsJson(request.ContentType))
        {
            throw new BadHttpRequestException("expected a body of type application/json in UTF-8", 415);
        }

        using var body = canHaveBody ? await ReadAllAsync(http) : new PooledBuffer();
        if (_takesRaw)
        {
            var raw = (HttpBody)(_bodyField is null ? message : MakeBody(_bodyField, message));
            raw.ContentType = TextCleaner.Clean(request.ContentType ?? "");
            raw.Data = ByteString.CopyFrom(body.Span);
        }
        else if (body.Length > 0)
        {
            if (_bodyField is null)
            {
                _codec.Merge(body.Span, message);
            }
            else
            {
                var owner = _bodyField.Owner(message);
                JsonCodec.ReadDocument(body.Span, (ref reader) => _bodyField.Field.Read(ref reader, owner));
            }
        }
    }

    private static HttpBody MakeBody(FieldPath field, IMessage message)
    {
        var body = new HttpBody();
        field.Field.Descriptor.Accessor.SetValue(field.Owner(message), body);
        return body;
    }

    private async ValueTask<PooledBuffer> ReadAllAsync(HttpContext http)
    {
        // The server's own limit is lifted or lowered to ours, so that it also bounds what is drained after a refusal.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit)
        {
            limit.MaxRequestBodySize = _bytesMax;
        }

        var body = http.Request.ContentLength is > 0 and { } length ? new PooledBuffer((int)length) : new PooledBuffer();
        try
        {
            var reader = http.Request.BodyReader;
            while (true)
            {
                var result = await reader.ReadAsync(http.RequestAborted);
                if (body.Length + result.Buffer.Length > _bytesMax)
                {
                    throw TooLarge();
                }

                foreach (var segment in result.Buffer)
                {
                    body.Write(segment.Span);
                }

                reader.AdvanceTo(result.Buffer.End);
                if (result.IsCompleted)
                {
                    return body;
                }
            }
        }
        catch (Exception error)
        {
            body.Dispose();
            if (error is IOException and not BadHttpRequestException)
            {
                throw new OperationCanceledException("The client hung up in the middle of the body.", error);
            }

            throw;
        }
    }

    // Clients that forget the type are trusted to mean JSON.
    private static bool IsJson(string? contentType)
    {
        if (string.IsNullOrEmpty(contentType))
        {
            return true;
        }

        return MediaTypeHeaderValue.TryParse(contentType, out var type)
            && (type.MatchesMediaType("application/json") || type.Suffix.Equals("json", StringComparison.OrdinalIgnoreCase))
            && (!type.Charset.HasValue || type.Charset.Equals("utf-8", StringComparison.OrdinalIgnoreCase)
                || type.Charset.Equals("\"utf-8\"", StringComparison.OrdinalIgnoreCase)
                || type.Charset.Equals("us-ascii", StringComparison.OrdinalIgnoreCase));
    }

    private BadHttpRequestException TooLarge() => new($"the request body is larger than {_bytesMax} bytes", 413);
}
