using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Hub.Transcoding.Calls;
using Hub.Transcoding.Routes;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.Options;

namespace Hub.Transcoding.OpenApi;

/// <summary>Answers /openapi.json and the page that reads it.</summary>
internal sealed class DocumentationEndpoints(SurfaceTable surfaces, EndpointDataSource endpoints, IOptions<JsonTranscodingOptions> options)
{
    // Indented and unescaped, because the text is committed and read by people.
    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true, NewLine = "\n", Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    // Made at the first request: all services are mapped by then.
    private readonly Lazy<byte[]> _document = new(() => Encoding.UTF8.GetBytes(
        new OpenApiDocument(surfaces, ProtoComments.Read(options.Value.OpenDescriptorSet), options.Value.Title)
            .Build(endpoints.Endpoints.Select(endpoint => endpoint.Metadata.GetMetadata<RestEndpointMetadata>()).OfType<RestEndpointMetadata>())
            .ToJsonString(Indented) + "\n"));

    public Task SendDocumentAsync(HttpContext http) => SendAsync(http, "application/json", _document.Value);

    public static RequestDelegate Page(string resource, string contentType)
    {
        using var stream = typeof(DocumentationEndpoints).Assembly.GetManifestResourceStream(resource)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return http => SendAsync(http, contentType, content);
    }

    private static Task SendAsync(HttpContext http, string contentType, byte[] content)
    {
        http.Response.ContentType = contentType;
        // The page loads nothing from elsewhere, and nothing that its texts say can make it.
        http.Response.Headers.ContentSecurityPolicy = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'";
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.CacheControl = "no-cache";
        return CompressedBody.SendAsync(http, content);
    }
}
