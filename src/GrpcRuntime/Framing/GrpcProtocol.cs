using System.Buffers;
using System.Globalization;
using System.Text;
using Grpc.Core;

namespace Grpc.Framing;

/// <summary>Names and encodings of gRPC over HTTP/2 that client and server share.</summary>
internal static class GrpcProtocol
{
    public const string ContentType = "application/grpc";
    public const string StatusHeader = "grpc-status";
    public const string MessageHeader = "grpc-message";
    public const string TimeoutHeader = "grpc-timeout";
    public const string EncodingHeader = "grpc-encoding";
    public const string AcceptEncodingHeader = "grpc-accept-encoding";

    /// <summary>Asks our own client to compress the requests of one call; never sent (the official name).</summary>
    public const string RequestEncodingHeader = "grpc-internal-encoding-request";

    public const string IdentityEncoding = "identity";
    public const string GzipEncoding = "gzip";
    public const string AcceptedEncodings = "identity,gzip";

    /// <summary>Flag and length, in bytes.</summary>
    public const int HeaderBytes = 5;

    /// <summary>Largest message taken unless options say otherwise, in bytes.</summary>
    public const int DefaultReceiveBytesMax = 4 * 1024 * 1024;

    /// <summary>
    /// Longest grpc-message sent, in characters as they travel. Peers limit all trailers together, many to 8 KiB, and drop the whole answer
    /// if they are larger: a shorter text is better than no status.
    /// </summary>
    public const int MessageCharsMax = 4 * 1024;

    /// <summary>Timers cannot wait longer; later deadlines are watched up to here.</summary>
    public static readonly TimeSpan TimeoutMax = TimeSpan.FromDays(24);

    private const string HexDigits = "0123456789ABCDEF";

    private static readonly SearchValues<char> MessageSafe =
        SearchValues.Create(string.Create(94, 0, (span, _) =>
        {
            // Printable ASCII without '%', which starts an escape.
            var i = 0;
            for (var c = ' '; c <= '~'; c++)
            {
                if (c != '%')
                {
                    span[i++] = c;
                }
            }
        }));

    /// <summary>Whether a content type is application/grpc, alone or with a +format or parameters.</summary>
    public static bool IsGrpcContentType(string? contentType) =>
        contentType is not null
        && contentType.StartsWith(ContentType, StringComparison.OrdinalIgnoreCase)
        && (contentType.Length == ContentType.Length || contentType[ContentType.Length] is '+' or ';');

    /// <summary>Parses grpc-timeout: 1 to 8 digits and a unit.</summary>
    public static bool TryParseTimeout(string? text, out TimeSpan timeout)
    {
        timeout = default;
        if (text is null || text.Length is < 2 or > 9
            || !long.TryParse(text.AsSpan(0, text.Length - 1), NumberStyles.None, CultureInfo.InvariantCulture, out var value))
        {
            return false;
        }

        // 99999999 hours still fit into TimeSpan's ticks; nanoseconds round up, so that 1n is not "already over".
        switch (text[^1])
        {
            case 'H': timeout = TimeSpan.FromTicks(value * TimeSpan.TicksPerHour); break;
            case 'M': timeout = TimeSpan.FromTicks(value * TimeSpan.TicksPerMinute); break;
            case 'S': timeout = TimeSpan.FromTicks(value * TimeSpan.TicksPerSecond); break;
            case 'm': timeout = TimeSpan.FromTicks(value * TimeSpan.TicksPerMillisecond); break;
            case 'u': timeout = TimeSpan.FromTicks(value * TimeSpan.TicksPerMicrosecond); break;
            case 'n': timeout = TimeSpan.FromTicks((value + TimeSpan.NanosecondsPerTick - 1) / TimeSpan.NanosecondsPerTick); break;
            default: return false;
        }

        return true;
    }

    /// <summary>Formats a timeout in the finest unit whose number has at most 8 digits.</summary>
    public static string FormatTimeout(TimeSpan timeout)
    {
        const long NumberMax = 99_999_999;
        var ticks = Math.Max(timeout.Ticks, 1);
        foreach (var (unit, unitTicks) in
            (ReadOnlySpan<(char, long)>)[
                ('u', TimeSpan.TicksPerMicrosecond),
                ('m', TimeSpan.TicksPerMillisecond),
                ('S', TimeSpan.TicksPerSecond),
                ('M', TimeSpan.TicksPerMinute)])
        {
            // Rounded up: the server must not give up before the client does.
            var number = (ticks + unitTicks - 1) / unitTicks;
            if (number <= NumberMax)
            {
                return string.Create(CultureInfo.InvariantCulture, $"{number}{unit}");
            }
        }

        return string.Create(CultureInfo.InvariantCulture, $"{Math.Min(ticks / TimeSpan.TicksPerHour, NumberMax)}H");
    }

    /// <summary>Percent-encodes grpc-message; what does not fit into <see cref="MessageCharsMax"/> is cut off between characters.</summary>
    public static string EncodeMessage(string message)
    {
        if (message.Length <= MessageCharsMax && !message.AsSpan().ContainsAnyExcept(MessageSafe))
        {
            return message;
        }

        var encoded = new StringBuilder(Math.Min(message.Length + 16, MessageCharsMax));
        Span<byte> bytes = stackalloc byte[4];
        foreach (var rune in message.EnumerateRunes())
        {
            var isSafe = rune.Value is >= ' ' and <= '~' and not '%';
            if (encoded.Length + (isSafe ? 1 : 3 * rune.Utf8SequenceLength) > MessageCharsMax)
            {
                break;
            }

            if (isSafe)
            {
                encoded.Append((char)rune.Value);
                continue;
            }

            foreach (var b in bytes[..rune.EncodeToUtf8(bytes)])
            {
                encoded.Append('%').Append(HexDigits[b >> 4]).Append(HexDigits[b & 0xF]);
            }
        }

        return encoded.ToString();
    }

    /// <summary>Decodes grpc-message; what is no valid escape is kept as it is, so that no text is lost.</summary>
    public static string DecodeMessage(string encoded)
    {
        if (!encoded.Contains('%', StringComparison.Ordinal))
        {
            return encoded;
        }

        var source = Encoding.UTF8.GetBytes(encoded);
        var length = 0;
        for (var i = 0; i < source.Length; i++)
        {
            if (source[i] == '%' && i + 2 < source.Length
                && char.IsAsciiHexDigit((char)source[i + 1]) && char.IsAsciiHexDigit((char)source[i + 2]))
            {
                source[length++] = byte.Parse(source.AsSpan(i + 1, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
                i += 2;
            }
            else
            {
                source[length++] = source[i];
            }
        }

        return Encoding.UTF8.GetString(source, 0, length);
    }

    /// <summary>Adds one wire header to metadata. Binary values may be padded or not, and joined by commas.</summary>
    public static void AddWireEntry(Metadata metadata, string name, string value)
    {
        var key = name.ToLowerInvariant();
        if (!key.EndsWith(Metadata.BinaryHeaderSuffix, StringComparison.Ordinal))
        {
            metadata.Add(Metadata.Entry.FromWire(key, value));
            return;
        }

        foreach (var range in value.AsSpan().Split(','))
        {
            metadata.Add(Metadata.Entry.FromWire(key, DecodeBinary(value.AsSpan()[range].Trim())));
        }
    }

    /// <summary>Whether a header belongs to the protocol and not to the metadata of the call.</summary>
    public static bool IsProtocolHeader(string name) =>
        name.Length == 0
        || name[0] == ':'
        || name.Equals("content-type", StringComparison.OrdinalIgnoreCase)
        || name.Equals("content-length", StringComparison.OrdinalIgnoreCase)
        || name.Equals("te", StringComparison.OrdinalIgnoreCase)
        || name.Equals("host", StringComparison.OrdinalIgnoreCase)
        || name.Equals("accept-encoding", StringComparison.OrdinalIgnoreCase)
        || name.Equals(StatusHeader, StringComparison.OrdinalIgnoreCase)
        || name.Equals(MessageHeader, StringComparison.OrdinalIgnoreCase)
        || name.Equals(TimeoutHeader, StringComparison.OrdinalIgnoreCase)
        || name.Equals(EncodingHeader, StringComparison.OrdinalIgnoreCase)
        || name.Equals(AcceptEncodingHeader, StringComparison.OrdinalIgnoreCase);

    private static byte[] DecodeBinary(ReadOnlySpan<char> text)
    {
        text = text.TrimEnd('=');
        var bytes = new byte[(text.Length * 3 / 4) + 3];
        Span<char> padded = text.Length <= 512 ? stackalloc char[text.Length + 3] : new char[text.Length + 3];
        text.CopyTo(padded);
        padded[text.Length..].Fill('=');
        if (!Convert.TryFromBase64Chars(padded[..((text.Length + 3) / 4 * 4)], bytes, out var written))
        {
            throw new RpcException(new Status(StatusCode.Internal, "Binary metadata is not base64."));
        }

        return bytes[..written];
    }
}
