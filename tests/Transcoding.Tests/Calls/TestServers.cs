using Google.Api;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.AspNetCore.Server;
using Grpc.Core;
using Hub.TestKit;
using Hub.Transcoding.Tests.Protos;
using Status = Grpc.Core.Status;

namespace Hub.Transcoding.Tests.Calls;

/// <summary>Answers every request with itself, or does what its behaviour asks for.</summary>
internal static class Echo
{
    public static async Task<HostResponse> AnswerAsync(HostRequest request, ServerCallContext context)
    {
        switch (request.Behaviour)
        {
            case "gone":
                throw Refusal(StatusCode.NotFound, "the host is gone", "HOST_GONE");
            case "limit":
                throw Refusal(StatusCode.ResourceExhausted, "the plan allows no more", "PLAN_LIMIT", new RetryInfo { RetryDelay = Duration.FromTimeSpan(TimeSpan.FromMilliseconds(1500)) });
            case "plain":
                throw new RpcException(new Status(StatusCode.AlreadyExists, "it is there"));
            case "status":
                context.Status = new Status(StatusCode.Unavailable, "later");
                break;
            case "bug":
                throw new InvalidOperationException("secret of the server");
            case "headers":
                await context.WriteResponseHeadersAsync(new Metadata { { "x-extra", "1" }, { "etag", "\"7\"" } });
                break;
        }

        return new HostResponse
        {
            Request = request,
            Created = request.Flag,
            Big = 1L << 40,
            Authorization = context.RequestHeaders.GetValue("authorization") ?? "",
        };
    }

    public static RpcException Refusal(StatusCode code, string message, string reason, params IMessage[] details)
    {
        var info = new ErrorInfo { Reason = reason, Domain = "test", Metadata = { ["host_id"] = "h1" } };
        var status = new Google.Rpc.Status { Code = (int)code, Message = message, Details = { Any.Pack(info) } };
        status.Details.AddRange(details.Select(Any.Pack));
        return status.ToRpcException();
    }
}

public sealed class FleetServer(FleetBackend backend) : FleetService.FleetServiceBase
{
    public override Task<HostResponse> GetHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> CreateHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> ClaimHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> PutHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> PatchHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> DeleteHost(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HostResponse> ListNames(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<HttpBody> PutFile(FileRequest request, ServerCallContext context) => Task.FromResult(request.Raw);

    public override async Task Watch(WatchRequest request, IServerStreamWriter<WatchResponse> responseStream, ServerCallContext context)
    {
        backend.Watched = request;
        if (request.Behaviour == "refuse")
        {
            throw Echo.Refusal(StatusCode.NotFound, "no such team", "HOST_GONE");
        }

        if (request.Behaviour == "wait")
        {
            await backend.Continue.Task.WaitAsync(context.CancellationToken);
        }

        WatchResponse[] first = [.. Enumerable.Range(1, 3).Select(i => new WatchResponse { Cursor = $"c{i}", State = HostState.Online, Text = "a\nb" })];
        if (request.Behaviour == "batch")
        {
            await responseStream.WriteBatchAsync(new MessageBatch<WatchResponse>(first), context.CancellationToken);
        }
        else
        {
            await responseStream.WriteEachAsync(first, context.CancellationToken);
        }

        await responseStream.WriteAsync(new WatchResponse { Text = "no cursor" });
        switch (request.Behaviour)
        {
            case "fail":
                throw Echo.Refusal(StatusCode.NotFound, "the team is gone", "HOST_GONE");
            case "bug":
                throw new InvalidOperationException("secret of the server");
            case "unwritable":
                await responseStream.WriteAsync(new WatchResponse { Text = "half", Any = new Any { TypeUrl = "type.googleapis.com/no.Such" } });
                break;
            case "endless":
                try
                {
                    await context.CancellationToken.UntilCancelledAsync();
                }
                finally
                {
                    backend.Cancelled.TrySetResult();
                }

                break;
            case "flood":
                var large = new WatchResponse { Text = new string('x', 10_000) };
                for (var i = 0; i < 200; i++)
                {
                    await responseStream.WriteAsync(large);
                }

                break;
        }
    }
}

public sealed class AgentServer : AgentService.AgentServiceBase
{
    public override Task<HostResponse> GetAgent(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);

    public override Task<NextCommandResponse> NextCommand(HostRequest request, ServerCallContext context) => Task.FromResult(new NextCommandResponse());

    public override Task<NextCommandResponse> NextName(HostRequest request, ServerCallContext context) =>
        Task.FromResult(request.Flag ? new NextCommandResponse { Command = new HostRequest { HostId = "h1" } } : new NextCommandResponse());

    public override Task<NextCommandResponse> GetPlain(HostRequest request, ServerCallContext context) => Task.FromResult(new NextCommandResponse());
}

public sealed class ConversationServer : ConversationService.ConversationServiceBase
{
    public override Task<HostResponse> GetConversation(HostRequest request, ServerCallContext context) => Echo.AnswerAsync(request, context);
}
