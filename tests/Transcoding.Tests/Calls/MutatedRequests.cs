using System.Globalization;
using System.IO.Compression;
using System.Text;
using Hub.Transcoding.Json;
using Hub.Transcoding.Tests.Json;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>Requests that were good once: seeded, so that a failing one comes back.</summary>
internal sealed class MutatedRequests(int seed)
{
    // What parsers trip over: bounds of numbers, halves of characters, odd escapes, other people's syntax.
    private static readonly string[] Words =
    [
        "null", "true", "-0", "1e400", "-1e-400", "9223372036854775808", "18446744073709551616", "2147483648", "0.1e1", "\"NaN\"", "\"-Infinity\"",
        "\\ud83d", "\\udc00\\ud83d", "\\u0000", "\\uD83D\\uDE00", "\\x", "\"", "\\", "{", "}", "[", "]", ",", ":", "{}", "[[]]", "\"\"",
        "\"@type\":\"type.googleapis.com/hub.transcoding.tests.Everything\",", "\"@type\":\"type.googleapis.com/google.protobuf.Duration\",", "\"@type\":1,",
        "\"1s\"", "\"315576000001s\"", "\"9999-12-31T23:59:59.999999999Z\"", "\"0000-01-01T00:00:00Z\"", "\"a..b,,c\"", "\"====\"", "//", "/*", "\u0001",
        "HOST_STATE_ONLINE", "any", "self", "freeObject", "inner", "chosenText", "%2F", "%252F", "%00", "%zz", "%", "..", "/", "//", ":", ":cancel", "?", "&", "=", "#", "**", "*",
    ];

    private static readonly (string Name, string[] Values)[] Headers =
    [
        ("Content-Type", ["application/json", "application/json; charset=utf-16", "text/plain", "application/grpc", ";;", "a/b+json", ""]),
        ("Content-Encoding", ["gzip", "identity", "br", "gzip, gzip", ""]),
        ("Accept-Encoding", ["gzip", "br;q=0.1, gzip;q=x", "*", ";;;"]),
        ("Accept", ["text/event-stream", "*/*;q=0", ",", "text/event-stream;q=nonsense"]),
        ("If-Match", ["\"7\"", "*", "\"", "W/\"%\"", "\"%ff\"", "\"a\", \"b\""]),
        ("If-None-Match", ["\"7\"", "*", "nonsense", "W/"]),
        ("grpc-timeout", ["99999999H", "1H", "", "x", "-1S", "5Ž"]),
        ("Idempotency-Key", ["k", "\"", "\"\"", "\"k\""]),
        ("Last-Event-ID", ["c", "\ud83d"]),
        ("Origin", ["https://hub.example.com", "null", "x"]),
        ("x-data-bin", ["AQID", "!", "=", "AA=="]),
        ("X-Ž", ["ž\u0001"]),
    ];

    private static readonly string[] Methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "REPORT", "FOO", "get"];

    private static readonly string[] Seeds =
    [
        // Slow methods end only when their client goes.
        .. RuleTableTests.Cases.Select(row => row.Data.Split(" => ")[0]).Where(request => !request.Contains("slow", StringComparison.Ordinal)),
        "GET /v1/versioned/a", "PUT /v1/versioned/a {}", "GET /v1/download/f", "PUT /v1/upload/n?title=t text", "POST /v1/mirror bytes",
        "GET /v1/part/list", "GET /api/v1/agents/h?tags=a", "GET /api/v1/conversations/h", "GET /api/hosts/h", "PUT /api/raw/x bytes", "GET /nothing",
    ];

    private static readonly JsonCodec Codec = new(JsonStyle.Default, Google.Protobuf.Reflection.TypeRegistry.FromFiles(
        JsonCasesReflection.Descriptor, Google.Protobuf.WellKnownTypes.DurationReflection.Descriptor));

    private readonly Random _random = new(seed);
    private readonly RandomMessages _messages = new(seed);

    public Mutant Next()
    {
        var (method, target, body) = _random.Next(2) == 0 ? Known() : ("POST", "/v1/everything", Encoding.UTF8.GetBytes(Codec.Format(_messages.Next<Everything>())));
        for (var i = _random.Next(4); i > 0; i--)
        {
            body = Mutate(body);
        }

        if (_random.Next(3) == 0)
        {
            target = Encoding.Latin1.GetString(Mutate(Encoding.Latin1.GetBytes(target)));
        }

        if (_random.Next(10) == 0)
        {
            method = Methods[_random.Next(Methods.Length)];
        }

        var headers = new List<(string, string)>();
        for (var i = _random.Next(4); i > 0; i--)
        {
            var (name, values) = Headers[_random.Next(Headers.Length)];
            headers.Add((name, values[_random.Next(values.Length)]));
            if (name == "Content-Encoding" && _random.Next(2) == 0)
            {
                body = Mutate(Pack(body), _random.Next(3));
            }
        }

        return new Mutant(method, target, headers, body);
    }

    /// <summary>A whole request as bytes, some of them wrong.</summary>
    public byte[] NextBytes()
    {
        var mutant = Next();
        var head = new StringBuilder().Append(CultureInfo.InvariantCulture, $"{mutant.Method} {mutant.Target} HTTP/1.1\r\nHost: x\r\n");
        foreach (var (name, value) in mutant.Headers)
        {
            head.Append(CultureInfo.InvariantCulture, $"{name}: {value}\r\n");
        }

        head.Append(CultureInfo.InvariantCulture, $"Connection: close\r\nContent-Length: {mutant.Body.Length}\r\n\r\n");
        byte[] bytes = [.. Encoding.UTF8.GetBytes(head.ToString()), .. mutant.Body];
        return Mutate(bytes, _random.Next(3));
    }

    private (string Method, string Target, byte[] Body) Known()
    {
        var parts = Seeds[_random.Next(Seeds.Length)].Split(' ', 3);
        return (parts[0], parts[1], Encoding.UTF8.GetBytes(parts.ElementAtOrDefault(2) ?? ""));
    }

    private byte[] Mutate(byte[] bytes, int times)
    {
        for (; times > 0; times--)
        {
            bytes = Mutate(bytes);
        }

        return bytes;
    }

    private byte[] Mutate(byte[] bytes)
    {
        var at = _random.Next(bytes.Length + 1);
        var end = Math.Min(bytes.Length, at + _random.Next(1, 9));
        switch (_random.Next(7))
        {
            case 0: // Other bytes.
                var other = bytes.ToArray();
                for (var i = at; i < end; i++)
                {
                    other[i] = (byte)_random.Next(256);
                }

                return other;
            case 1: // A piece less.
                return [.. bytes[..at], .. bytes[end..]];
            case 2: // A piece twice.
                return [.. bytes[..end], .. bytes[at..]];
            case 3: // A piece very often.
                return [.. bytes[..at], .. Enumerable.Repeat(bytes[at..end], _random.Next(200)).SelectMany(piece => piece), .. bytes[at..]];
            case 4: // The end is missing.
                return bytes[..at];
            case 5 when bytes.Length > 0: // One bit.
                var flipped = bytes.ToArray();
                flipped[Math.Min(at, bytes.Length - 1)] ^= (byte)(1 << _random.Next(8));
                return flipped;
            default:
                return [.. bytes[..at], .. Encoding.UTF8.GetBytes(Words[_random.Next(Words.Length)]), .. bytes[(_random.Next(2) == 0 ? at : end)..]];
        }
    }

    private static byte[] Pack(byte[] body)
    {
        using var packed = new MemoryStream();
        using (var gzip = new GZipStream(packed, CompressionLevel.Fastest, leaveOpen: true))
        {
            gzip.Write(body);
        }

        return packed.ToArray();
    }
}

internal sealed record Mutant(string Method, string Target, IReadOnlyList<(string Name, string Value)> Headers, byte[] Body)
{
    public override string ToString() =>
        $"{Method} {Target} [{string.Join(", ", Headers)}] {Convert.ToBase64String(Body)}";
}
