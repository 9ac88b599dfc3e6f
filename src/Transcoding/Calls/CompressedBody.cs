using System.IO.Compression;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>Sends a whole answer, in the coding its client prefers among Brotli, gzip and none.</summary>
internal static class CompressedBody
{
    /// <summary>Smaller bodies fit one packet anyway.</summary>
    public const int BytesMin = 1024;

    private const string Brotli = "br";
    private const string Gzip = "gzip";

    /// <param name="http">The request; status and content type of its response are set.</param>
    /// <param name="body">The answer.</param>
    /// <param name="isSecret">The length of compressed text tells about its content, so answers with secrets go out as they are.</param>
    public static async Task SendAsync(HttpContext http, ReadOnlyMemory<byte> body, bool isSecret = false)
    {
        var response = http.Response;
        if (body.Length >= BytesMin && !isSecret)
        {
            response.Headers.Append("Vary", "Accept-Encoding");
            if (Choose(http.Request) is { } coding)
            {
                using var compressed = Compress(coding, body.Span);
                response.Headers.ContentEncoding = coding;
                if (response.Headers.ETag is [{ } tag] && !tag.StartsWith("W/", StringComparison.Ordinal))
                {
                    response.Headers.ETag = $"W/{tag}"; // A strong tag would promise the same bytes as the plain form.
                }

                response.ContentLength = compressed.Length;
                await response.Body.WriteAsync(compressed.GetBuffer().AsMemory(0, (int)compressed.Length), http.RequestAborted);
                return;
            }
        }

        response.ContentLength = body.Length;
        await response.Body.WriteAsync(body, http.RequestAborted);
    }

    private static string? Choose(HttpRequest request)
    {
        var chosen = default(string);
        var best = 0.0;
        foreach (var accepted in request.GetTypedHeaders().AcceptEncoding)
        {
            var coding = accepted.Value.Equals(Brotli, StringComparison.OrdinalIgnoreCase) ? Brotli
                : accepted.Value.Equals(Gzip, StringComparison.OrdinalIgnoreCase) ? Gzip
                : null;
            var quality = accepted.Quality ?? 1;
            if (coding is not null && (quality > best || (quality == best && best > 0 && coding == Brotli)))
            {
                (chosen, best) = (coding, quality);
            }
        }

        return chosen;
    }

    private static MemoryStream Compress(string coding, ReadOnlySpan<byte> body)
    {
        var compressed = new MemoryStream();
        using (Stream encoder = coding == Brotli
            ? new BrotliStream(compressed, CompressionLevel.Fastest, leaveOpen: true)
            : new GZipStream(compressed, CompressionLevel.Fastest, leaveOpen: true))
        {
            encoder.Write(body);
        }

        return compressed;
    }
}
