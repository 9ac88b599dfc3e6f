using System.Buffers;
using System.Buffers.Text;
using System.Text;
using System.Text.Unicode;

namespace Hub.Transcoding.Json;

/// <summary>
/// Replaces what no store and no protobuf string can hold: a lone UTF-16 surrogate and invalid UTF-8 become U+FFFD, U+0000 becomes
/// U+2400. Clients resend a refused body for ever, so such text is mended instead of refused.
/// </summary>
public static class TextCleaner
{
    private const int EscapeLength = 6; // \uXXXX
    private static readonly SearchValues<char> SuspectChars = SearchValues.Create([.. Enumerable.Range(0xD800, 0x800).Select(c => (char)c), '\0']);

    /// <summary>Mends JSON text, in place wherever the length stays the same, and cuts a leading byte order mark.</summary>
    internal static Span<byte> Clean(Span<byte> json)
    {
        if (json.StartsWith(Encoding.UTF8.Preamble))
        {
            json = json[Encoding.UTF8.Preamble.Length..];
        }

        if (!Utf8.IsValid(json))
        {
            // The decoder puts U+FFFD for every invalid sequence; at most three bytes for one, so the body limit bounds the result.
            json = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(json));
        }

        if (json.Contains((byte)0))
        {
            json = Encoding.UTF8.GetBytes(Encoding.UTF8.GetString(json).Replace('\0', '\u2400'));
        }

        CleanEscapes(json);
        return json;
    }

    /// <summary>Whether text can be held as it is.</summary>
    /// <param name="text">The text.</param>
    public static bool IsClean(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        var first = text.AsSpan().IndexOfAny(SuspectChars);
        if (first < 0)
        {
            return true;
        }

        for (var i = first; i < text.Length; i++)
        {
            if (char.IsHighSurrogate(text[i]) && i + 1 < text.Length && char.IsLowSurrogate(text[i + 1]))
            {
                i++;
            }
            else if (text[i] == '\0' || char.IsSurrogate(text[i]))
            {
                return false;
            }
        }

        return true;
    }

    /// <summary>Mends text that is not JSON: path variables, query parameters, headers, fields of messages.</summary>
    /// <param name="text">The text, which is returned as it is if it is clean.</param>
    public static string Clean(string text)
    {
        if (IsClean(text))
        {
            return text;
        }

        return string.Create(text.Length, text, static (target, source) =>
        {
            for (var i = 0; i < source.Length; i++)
            {
                if (char.IsHighSurrogate(source[i]) && i + 1 < source.Length && char.IsLowSurrogate(source[i + 1]))
                {
                    target[i] = source[i];
                    target[++i] = source[i];
                    continue;
                }

                target[i] = source[i] == '\0' ? '\u2400' : char.IsSurrogate(source[i]) ? '\uFFFD' : source[i];
            }
        });
    }

    // A backslash occurs only inside strings of valid JSON, so walking from one to the next needs no other state; in invalid JSON
    // the parser complains anyway.
    private static void CleanEscapes(Span<byte> json)
    {
        while (true)
        {
            var at = json.IndexOf((byte)'\\');
            if (at < 0 || at + 1 >= json.Length)
            {
                return;
            }

            json = json[at..];
            if (!TryReadEscape(json, out var unit))
            {
                json = json[2..];
                continue;
            }

            if (unit == 0)
            {
                "\\u2400"u8.CopyTo(json);
            }
            else if (char.IsSurrogate((char)unit))
            {
                if (char.IsHighSurrogate((char)unit) && TryReadEscape(json[EscapeLength..], out var next) && char.IsLowSurrogate((char)next))
                {
                    json = json[EscapeLength..];
                }
                else
                {
                    "\\ufffd"u8.CopyTo(json);
                }
            }

            json = json[EscapeLength..];
        }
    }

    private static bool TryReadEscape(ReadOnlySpan<byte> json, out ushort unit)
    {
        unit = 0;
        return json.Length >= EscapeLength && json[0] == '\\' && json[1] == 'u'
            && Utf8Parser.TryParse(json[2..EscapeLength], out unit, out var used, 'x') && used == 4;
    }
}
