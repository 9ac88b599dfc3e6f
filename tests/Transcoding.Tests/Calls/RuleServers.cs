using System.Runtime.CompilerServices;
using System.Text;
using Google.Api;
using Google.Protobuf;
using Grpc.Core;
using Hub.TestKit;
using Hub.Transcoding.Tests.Protos;

namespace Hub.Transcoding.Tests.Calls;

public sealed class MessagingServer : MessagingService.MessagingServiceBase
{
    public override Task<RuleResponse> GetByName(RuleRequest request, ServerCallContext context) => RuleServer.Answer(request);

    public override Task<RuleResponse> GetMessage(RuleRequest request, ServerCallContext context) => RuleServer.Answer(request);

    public override Task<RuleResponse> UpdateMessage(RuleRequest request, ServerCallContext context) => RuleServer.Answer(request);

    public override Task<RuleResponse> UpdateWhole(RuleRequest request, ServerCallContext context) => RuleServer.Answer(request);

    public override Task<RuleResponse> GetNested(RuleRequest request, ServerCallContext context) => RuleServer.Answer(request);
}

public sealed class RuleServer : RuleService.RuleServiceBase
{
    /// <summary>What the versioned document is at.</summary>
    public const int CurrentVersion = 7;

    public override Task<RuleResponse> Any(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Query(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Rest(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Literal(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Variable(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Tail(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> LaterLiteral(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> LaterVariable(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Cancel(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> GetJob(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Custom(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Head(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Get(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Whole(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Part(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Secret(RuleRequest request, ServerCallContext context) => Answer(request);

    public override Task<RuleResponse> Node(RuleRequest request, ServerCallContext context) => Answer(new RuleRequest { Revision = request.Name.Length });

    public override Task<VersionedResponse> Versioned(VersionedRequest request, ServerCallContext context)
    {
        if (request.ExpectedVersion is not 0 and not CurrentVersion)
        {
            throw new RpcException(new Status(StatusCode.Aborted, "the document has changed"));
        }

        return Task.FromResult(request.Id == "none"
            ? new VersionedResponse()
            : new VersionedResponse { Document = new VersionedDocument { Id = request.Id, Version = CurrentVersion } });
    }

    public override async Task<RuleResponse> Slow(RuleRequest request, ServerCallContext context)
    {
        await context.CancellationToken.UntilCancelledAsync();
        return new RuleResponse();
    }

    public override async Task SlowStream(RuleRequest request, IServerStreamWriter<RuleResponse> responseStream, ServerCallContext context)
    {
        await responseStream.WriteAsync(new RuleResponse { Method = "SlowStream" });
        await context.CancellationToken.UntilCancelledAsync();
    }

    public override Task<Everything> Echo(Everything request, ServerCallContext context) => Task.FromResult(request);

    public override async Task Download(RuleRequest request, IServerStreamWriter<HttpBody> responseStream, ServerCallContext context)
    {
        if (request.Name == "missing")
        {
            throw new RpcException(new Status(StatusCode.NotFound, "no such file"));
        }

        for (var i = 0; i < 3; i++)
        {
            await responseStream.WriteAsync(new HttpBody { ContentType = i == 0 ? "text/csv" : "", Data = ByteString.CopyFromUtf8($"{request.Name},{i}\n") });
        }

        if (request.Name == "broken")
        {
            throw new RpcException(new Status(StatusCode.DataLoss, "the rest is gone"));
        }
    }

    public override async Task<RuleResponse> Upload(IAsyncStreamReader<UploadRequest> requestStream, ServerCallContext context)
    {
        var got = new RuleRequest();
        var content = new StringBuilder();
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            var piece = requestStream.Current;
            got.Names.Add($"{piece.Name}|{piece.Title}|{piece.Raw.ContentType}");
            content.Append(piece.Raw.Data.ToStringUtf8());
        }

        got.Name = content.Length < 100 ? content.ToString() : $"{content.Length}";
        return await Answer(got);
    }

    public override async Task Mirror(IAsyncStreamReader<HttpBody> requestStream, IServerStreamWriter<HttpBody> responseStream, ServerCallContext context)
    {
        while (await requestStream.MoveNext(context.CancellationToken))
        {
            await responseStream.WriteAsync(requestStream.Current);
        }
    }

    public static Task<RuleResponse> Answer(RuleRequest request, [CallerMemberName] string method = "") =>
        Task.FromResult(new RuleResponse { Method = method, Got = request, Items = { "a", "b" } });
}
