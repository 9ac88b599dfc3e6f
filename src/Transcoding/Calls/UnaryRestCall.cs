using Google.Protobuf;
using Grpc.AspNetCore.Server.Model;
using Hub.Transcoding.Errors;
using Microsoft.AspNetCore.Http;

namespace Hub.Transcoding.Calls;

/// <summary>A unary method over REST: one JSON text in, one out.</summary>
internal sealed class UnaryRestCall<TService, TRequest, TResponse>(
    RestBinding binding, RestErrors errors, UnaryServerMethodInvoker<TService, TRequest, TResponse> invoker)
    : RestCall(binding, errors)
    where TService : class
    where TRequest : class
    where TResponse : class
{
    protected override async Task AnswerAsync(HttpContext http)
    {
        var request = await Binding.Request.BindAsync(http);
        var context = new RestCallContext(http, MethodName, static () => Task.CompletedTask);
        var answer = (IMessage)(object)await invoker.Invoke(http, context, (TRequest)request);
        context.ThrowIfFailed();

        if (Binding.RawBody(answer) is { } raw)
        {
            SetHead(http, Binding.SuccessStatus(answer), raw.ContentType);
            http.Response.ContentLength = raw.Data.Length;
            await http.Response.Body.WriteAsync(raw.Data.Memory, http.RequestAborted);
            return;
        }

        using var body = new PooledBuffer();
        Binding.WriteAnswer(answer, body);
        SetHead(http, Binding.SuccessStatus(answer), JsonContentType);
        http.Response.ContentLength = body.Length;
        await http.Response.Body.WriteAsync(body.Memory, http.RequestAborted);
    }
}
