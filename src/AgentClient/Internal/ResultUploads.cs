using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Microsoft.Extensions.Logging;

namespace Hub.AgentClient.Internal;

/// <summary>Uploads results that are too large for a link, oldest first, until the Hub has each.</summary>
internal sealed partial class ResultUploads(
    SharedSession session, HubChannel hub, NodeIdentity identity, Random random, TimeProvider time, ILogger logger)
{
    private static readonly TimeSpan UploadTimeout = TimeSpan.FromMinutes(2);

    private readonly BackOff _backOff = new(TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(64), random);

    public async Task RunAsync(CancellationToken stopping)
    {
        while (true)
        {
            // Before the first Welcome the node does not know its host id.
            while (identity is { HostId: { } hostId, Credential: { } credential } && session.Read(target => target.FirstUpload()) is { } upload)
            {
                if (await TryUploadAsync(hostId, credential, upload.Key, upload.Result, stopping))
                {
                    session.Change(target => target.UploadDone(upload.Key));
                    _backOff.Reset();
                }
                else
                {
                    await Task.Delay(_backOff.Next(), time, stopping);
                }
            }

            await session.Uploads.WaitAsync(stopping);
        }
    }

    // True when the result needs no further attempt.
    private async Task<bool> TryUploadAsync(string hostId, string credential, CommandKey key, byte[] result, CancellationToken stopping)
    {
        using var timeout = new CancellationTokenSource(UploadTimeout, time);
        using var either = CancellationTokenSource.CreateLinkedTokenSource(timeout.Token, stopping);
        using var channel = hub.Open();
        var request = new PutCommandResultRequest
        {
            HostId = hostId,
            CommandId = key.CommandId,
            Attempt = key.Attempt,
            Result = Value.Parser.ParseFrom(result),
        };
        try
        {
            await new CommandService.CommandServiceClient(channel)
                .PutCommandResultAsync(request, HubChannel.Authorization(credential), cancellationToken: either.Token);
            return true;
        }
        catch (RpcException error) when (error.StatusCode is StatusCode.InvalidArgument or StatusCode.NotFound or StatusCode.FailedPrecondition)
        {
            LogRefused(key, error.Status.Detail);
            return true;
        }
        catch (Exception error) when (!stopping.IsCancellationRequested && error is RpcException or OperationCanceledException or HttpRequestException)
        {
            LogRetry(key, error.Message);
            return false;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, EventName = "ResultRefused", Message = "The Hub does not take the result of command {Key}: {Detail}")]
    private partial void LogRefused(CommandKey key, string detail);

    [LoggerMessage(Level = LogLevel.Information, EventName = "ResultUploadFailed", Message = "The result of command {Key} could not be uploaded and is tried again: {Detail}")]
    private partial void LogRetry(CommandKey key, string detail);
}
