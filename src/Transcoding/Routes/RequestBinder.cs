using System.IO.Compression;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Hub.Transcoding.Json;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Net.Http.Headers;

namespace Hub.Transcoding.Routes;

/// <summary>Makes the request message of one HTTP rule: the body first, then the query, and the path last, so that the path wins.</summary>
internal sealed class RequestBinder
{
    private const string WholeBody = "*";
    private const string MaskField = "update_mask";
    private const string Gzip = "gzip";
    private const int FirstRentMax = 64 * 1024; // What a client only announces is not reserved for it.
    private const int PieceBytesMax = 64 * 1024;

    private readonly JsonCodec _codec;
    private readonly MessageDescriptor _type;
    private readonly PathBinding _path;
    private readonly (TemplateVariable Variable, FieldPath Field)[] _variables;
    private readonly bool _takesWhole;
    private readonly FieldPath? _bodyField;
    private readonly FieldDescriptor? _mask;
    private readonly long _bytesMax;

    public RequestBinder(JsonCodec codec, MessageDescriptor type, HttpTemplate template, HttpRule rule, long bytesMax)
    {
        _codec = codec;
        _type = type;
        _path = new PathBinding(template);
        _variables = [.. template.Variables.Select(v => (v, Variable(FieldPath.Require(codec, type, v.FieldPath, template.Text), template)))];
        _takesWhole = rule.Body == WholeBody;
        _bodyField = rule.Body.Length == 0 || _takesWhole ? null : FieldPath.Require(codec, type, rule.Body, template.Text);
        var bodyType = _takesWhole ? type : _bodyField?.Field.Descriptor is { FieldType: FieldType.Message } field ? field.MessageType : null;
        TakesRaw = bodyType == HttpBody.Descriptor;
        _mask = rule.PatternCase == HttpRule.PatternOneofCase.Patch && _bodyField is { Field.Message: IObjectCodec }
            && type.FindFieldByName(MaskField) is { FieldType: FieldType.Message, IsRepeated: false } mask && mask.MessageType == FieldMask.Descriptor
                ? mask
                : null;
        _bytesMax = bytesMax;
    }

    public Microsoft.AspNetCore.Routing.Patterns.RoutePattern Pattern => _path.Pattern;

    /// <summary>The body goes into a google.api.HttpBody as it is.</summary>
    public bool TakesRaw { get; }

    /// <exception cref="JsonInputException">Body, query or path do not fit the message.</exception>
    /// <exception cref="BadHttpRequestException">The body is too large or of a foreign type.</exception>
    public async ValueTask<IMessage> BindAsync(HttpContext http)
    {
        var message = _codec.For(_type).Create();
        if (_takesWhole || _bodyField is not null)
        {
            await ReadBodyAsync(http, message);
        }

        ReadAddress(http, message);
        return message;
    }

    /// <summary>Makes the message from the query and the path alone.</summary>
    public IMessage BindWithoutBody(HttpContext http)
    {
        var message = _codec.For(_type).Create();
        ReadAddress(http, message);
        return message;
    }

    /// <summary>Reads the next piece of a raw body into the message; the first piece says its type.</summary>
    /// <param name="http">The request.</param>
    /// <param name="body">The request's content from <see cref="OpenBody"/>.</param>
    /// <param name="message">Takes the piece.</param>
    /// <param name="isFirst">An empty body still is one, empty, piece.</param>
    /// <param name="taken">Bytes of the pieces before.</param>
    /// <param name="cancellation">Ends the wait for the client.</param>
    /// <returns>The length of the piece; 0 at the end.</returns>
    public async ValueTask<int> ReadPieceAsync(
        HttpContext http, Stream body, IMessage message, bool isFirst, long taken, CancellationToken cancellation)
    {
        using var piece = new PooledBuffer(PieceBytesMax);
        var length = await ReadSomeAsync(body, piece, cancellation);
        if (taken + length > _bytesMax)
        {
            throw TooLarge();
        }

        if (length > 0 || isFirst)
        {
            SetRaw(message, isFirst ? http.Request.ContentType : null, piece.Span);
        }

        return length;
    }

    /// <summary>The request's content with its coding undone.</summary>
    public Stream OpenBody(HttpContext http)
    {
        // The server's own limit is lifted to ours where ours is larger, and never lowered: after a refusal it drains so much, and a
        // client that could not send all of its body would not see the answer.
        if (http.Features.Get<IHttpMaxRequestBodySizeFeature>() is { IsReadOnly: false } limit && limit.MaxRequestBodySize < _bytesMax)
        {
            limit.MaxRequestBodySize = _bytesMax;
        }

        if (http.Request.ContentLength > _bytesMax)
        {
            throw TooLarge();
        }

        var coding = http.Request.Headers.ContentEncoding.ToString();
        if (coding.Equals(Gzip, StringComparison.OrdinalIgnoreCase))
        {
            return new GZipStream(http.Request.Body, CompressionMode.Decompress, leaveOpen: true);
        }

        if (coding.Length > 0 && !coding.Equals("identity", StringComparison.OrdinalIgnoreCase))
        {
            http.Response.Headers.AcceptEncoding = Gzip;
            throw new BadHttpRequestException($"expected a body without a coding or in {Gzip}", 415);
        }

        return http.Request.Body;
    }

    /// <summary>Sets a field from a header. It wins over the query: a browser that comes back repeats the address it first opened.</summary>
    public static void BindHeader(HttpContext http, FieldPath? field, string header, IMessage message)
    {
        // Structured headers write text in quotes, most clients leave them out.
        if (field is not null && http.Request.Headers[header] is [{ Length: > 0 } value])
        {
            field.ReadText(value is ['"', .. var inner, '"'] ? inner : value, message);
        }
    }

    private static FieldPath Variable(FieldPath path, HttpTemplate template) =>
        path.Field.Descriptor is { IsRepeated: false, FieldType: not FieldType.Message }
            ? path
            : throw new InvalidOperationException($"{template.Text}: {path.Field.Descriptor.FullName} is no single value, so it cannot stand in a path.");

    private void ReadAddress(HttpContext http, IMessage message)
    {
        if (!_takesWhole)
        {
            ReadQuery(http.Request.Query, message);
        }

        foreach (var (variable, field) in _variables)
        {
            field.ReadText(_path.Value(variable, http), message);
        }
    }

    private void ReadQuery(IQueryCollection query, IMessage message)
    {
        foreach (var (name, values) in query)
        {
            // What the body holds is no parameter.
            if (FieldPath.Find(_codec, _type, name) is not { } field || (_bodyField is not null && field.IsWithin(_bodyField)))
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
        var canHaveBody = http.Features.Get<IHttpRequestBodyDetectionFeature>()?.CanHaveBody != false;
        if (canHaveBody && !TakesRaw && !IsJson(http.Request.ContentType))
        {
            throw new BadHttpRequestException("expected a body of type application/json in UTF-8", 415);
        }

        using var body = canHaveBody ? await ReadAllAsync(http) : new PooledBuffer();
        if (TakesRaw)
        {
            SetRaw(message, http.Request.ContentType, body.Span);
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
                ReadMask(http.Request.Query, body.Span, message);
            }
        }
    }

    // A PATCH that names no fields means those of its body.
    private void ReadMask(IQueryCollection query, Span<byte> body, IMessage message)
    {
        if (_mask is null || query.ContainsKey(_mask.Name) || query.ContainsKey(_mask.JsonName))
        {
            return;
        }

        var mask = new FieldMask();
        var type = _bodyField!.Field.Message!;
        JsonCodec.ReadDocument(body, (ref reader) => ImpliedMask.Read(ref reader, type, mask));
        _mask.Accessor.SetValue(message, mask);
    }

    private void SetRaw(IMessage message, string? contentType, ReadOnlySpan<byte> data)
    {
        var raw = message as HttpBody;
        if (raw is null)
        {
            raw = new HttpBody();
            _bodyField!.Field.Descriptor.Accessor.SetValue(_bodyField.Owner(message), raw);
        }

        raw.ContentType = TextCleaner.Clean(contentType ?? "");
        raw.Data = ByteString.CopyFrom(data);
    }

    private async ValueTask<PooledBuffer> ReadAllAsync(HttpContext http)
    {
        var stream = OpenBody(http);
        var body = new PooledBuffer((int)Math.Clamp(http.Request.ContentLength ?? 0, 1, FirstRentMax));
        try
        {
            // Checked after every read, so that a small archive never unpacks further than one buffer beyond the bound.
            while (await ReadSomeAsync(stream, body, http.RequestAborted) > 0)
            {
                if (body.Length > _bytesMax)
                {
                    throw TooLarge();
                }
            }

            return body;
        }
        catch
        {
            body.Dispose();
            throw;
        }
        finally
        {
            if (stream != http.Request.Body)
            {
                await stream.DisposeAsync();
            }
        }
    }

    private static async ValueTask<int> ReadSomeAsync(Stream stream, PooledBuffer target, CancellationToken cancellation)
    {
        try
        {
            var length = await stream.ReadAsync(target.GetMemory(), cancellation);
            target.Advance(length);
            return length;
        }
        catch (InvalidDataException error)
        {
            throw new BadHttpRequestException($"the body is not valid {Gzip}", error);
        }
        catch (IOException error) when (error is not BadHttpRequestException)
        {
            throw new OperationCanceledException("The client hung up in the middle of the body.", error);
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
