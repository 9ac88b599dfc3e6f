using System.Buffers.Binary;
using System.Net;
using Google.Protobuf;
using Hub.TestKit;

namespace Hub.GrpcRuntime.Tests;

/// <summary>Plain HTTP/2 requests, for what no gRPC client would send.</summary>
internal static class RawHttp2
{
    public const string UnaryPath = "/grpcruntime.tests.v1.EchoService/Unary";
    public const string DuplexPath = "/grpcruntime.tests.v1.EchoService/Duplex";

    /// <summary>One frame: flag, length, message.</summary>
    public static byte[] Frame(IMessage message, byte flag = 0) => Frame(message.ToByteArray(), flag);

    public static byte[] Frame(byte[] payload, byte flag = 0)
    {
        var frame = new byte[5 + payload.Length];
        frame[0] = flag;
        BinaryPrimitives.WriteInt32BigEndian(frame.AsSpan(1), payload.Length);
        payload.CopyTo(frame, 5);
        return frame;
    }

    public static async Task<RawAnswer> PostAsync(
        string address,
        string path,
        byte[] body,
        string contentType = "application/grpc",
        params (string Name, string Value)[] headers)
    {
        using var http = new HttpMessageInvoker(new SocketsHttpHandler { UseProxy = false });
        using var request = new HttpRequestMessage(HttpMethod.Post, new Uri(new Uri(address), path))
        {
            Version = HttpVersion.Version20,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
            Content = new ByteArrayContent(body),
        };
        request.Content.Headers.TryAddWithoutValidation("content-type", contentType);
        request.Headers.TryAddWithoutValidation("te", "trailers");
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        using var response = await http.SendAsync(request, CancellationToken.None).Within();
        var answer = await response.Content.ReadAsByteArrayAsync().Within();
        return new RawAnswer(
            response.StatusCode,
            response.Headers.ToDictionary(header => header.Key, header => string.Join(",", header.Value)),
            answer,
            response.TrailingHeaders.ToDictionary(header => header.Key, header => string.Join(",", header.Value)));
    }
}

internal sealed record RawAnswer(
    HttpStatusCode HttpStatus, Dictionary<string, string> Headers, byte[] Body, Dictionary<string, string> Trailers)
{
    public string? GrpcStatus => Trailers.GetValueOrDefault("grpc-status") ?? Headers.GetValueOrDefault("grpc-status");
}
