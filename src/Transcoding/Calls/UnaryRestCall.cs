using Google.Protobuf;
using Grpc.Core;
using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>A method with one answer over REST.</summary>
internal sealed class UnaryRestCall<TResponse>(
    RestBinding binding, RestErrors errors, TimeProvider time, Func<HttpContext, ServerCallContext, Task<TResponse>> invoke)
    : RestCall(binding, errors, time)
    where TResponse : class
{
    private const string JsonContentType = "application/json";

    protected override async Task AnswerAsync(HttpContext http, RestCallContext context)
    {
        var answer = (IMessage)(object)await invoke(http, context);
        context.ThrowIfFailed();
        var status = Binding.SuccessStatus(answer);
        if (Binding.Version is { } version && version.SetETag(http, answer))
        {
            http.Response.StatusCode = 304;
            return;
        }

        if (status is 204)
        {
            http.Response.StatusCode = status; // No content, whatever the method has to say.
            return;
        }

        if (Binding.RawBody(answer) is { } raw)
        {
            if (Binding.IsTaggedByContent && EntityVersion.SetETagOf(http, raw.Data.Span))
            {
                http.Response.StatusCode = 304;
                return;
            }

            SetHead(http, status, raw.ContentType);
            http.Response.ContentLength = raw.Data.Length;
            await http.Response.Body.WriteAsync(raw.Data.Memory, http.RequestAborted);
            return;
        }

        using var body = new PooledBuffer();
        Binding.WriteAnswer(answer, body);
        if (Binding.IsTaggedByContent && EntityVersion.SetETagOf(http, body.Span))
        {
            http.Response.StatusCode = 304;
            return;
        }

        SetHead(http, status, JsonContentType);
        await CompressedBody.SendAsync(http, body.Memory, isSecret: Binding.IsNeverStored);
    }
}
