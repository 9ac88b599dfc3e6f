using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;
using Hub.Text;

namespace Hub.Chat;

/// <summary>hub.v1.ChatService: chat of nodes without a link, and of people.</summary>
internal sealed partial class ChatGrpcService(
    Access access, Store store, NodeCalls calls, LinkRegistry links, ILogger<ChatGrpcService> log) : ChatService.ChatServiceBase
{
    private const int BatchMax = 1_000;

    private const string PageSql = """
        select message_id, body, sent_at, delivered_at, direction from chat_messages
        where host_id = @hostId and team_id = @teamId and (sent_at, message_id) < (@sentAt, @id)
            and (@channel = '' or channel = @channel)
        order by sent_at desc, message_id desc limit @limit
        """;

    public override async Task<SyncChatResponse> SyncChat(SyncChatRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        if (request.Messages.Count > BatchMax)
        {
            throw HubException.InvalidField("messages", $"Send at most {BatchMax} messages at once.");
        }

        var response = new SyncChatResponse();
        var messages = new List<ChatMessage>(request.Messages.Count);
        foreach (var message in request.Messages)
        {
            var clean = CleanText.Of(message);
            if (ChatLog.Fault(clean) is { } fault)
            {
                response.Rejected.Add(new RejectedItem { Id = clean.Id, Reason = EnumText<ErrorReason>.Of(fault.Reason), Detail = fault.Message });
            }
            else
            {
                messages.Add(clean);
            }
        }

        // A node with a live link gets its chat there; its poll must not take it a second time.
        var handOut = !links.IsLive(host.HostId);
        var hasWork = await store.ReadAsync(
            TeamScope.Of(host.TeamId), reader => ChatLog.HasWorkAsync(reader, host.HostId, messages, handOut), context.CancellationToken);
        var pending = !hasWork
            ? []
            : await store.WriteAsync(
                host.TeamId,
                tx =>
                {
                    messages.ForEach(message => ChatLog.Accept(tx, host.TeamId, host.HostId, message));
                    return handOut ? ChatLog.HandOut(tx, host.HostId) : [];
                },
                context.CancellationToken);
        response.Synced = messages.Count;
        response.Pending.AddRange(pending);
        if (pending.Count > 0)
        {
            MarkDeliveredOnceAnswered(context, host, [.. pending.Select(message => message.Id)]);
        }

        return response;
    }

    public override async Task<ListChatResponse> ListChat(ListChatRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var size = PageToken.Size(request.PageSize);
        var (sentAt, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var rows = await store.QueryAsync<ChatLog.MessageRow>(
            TeamScope.Of(host.TeamId),
            PageSql,
            new { hostId = host.HostId, teamId = host.TeamId, channel = request.Channel, sentAt, id, limit = size + 1 },
            context.CancellationToken);
        return new()
        {
            Messages = { rows.Take(size).Select(ChatLog.ToMessage) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].SentAt, rows[size - 1].MessageId) : "",
        };
    }

    public override async Task<SendChatResponse> SendChat(SendChatRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var key = IdempotencyKeys.Of(request.IdempotencyKey, context);
        var clean = CleanText.Of(request).Clone();
        clean.IdempotencyKey = "";
        if (clean.Content.Length is 0 or > ChatLog.ContentMax)
        {
            throw HubException.InvalidField("content", $"A message has 1 to {ChatLog.ContentMax} characters.");
        }

        if (clean.Channel.Length > ChatLog.ShortTextMax || clean.From.Length > ChatLog.ShortTextMax)
        {
            throw HubException.InvalidField("channel", $"Sender and channel have at most {ChatLog.ShortTextMax} characters.");
        }

        var fingerprint = IdempotencyKeys.Fingerprint(context.Method, host.HostId, clean);
        var draft = new ChatMessage
        {
            From = clean.From.Length > 0 ? clean.From : host.Caller.Name,
            Content = clean.Content,
            Channel = clean.Channel,
        };
        var (message, created) = await store.WriteAsync(
            host.TeamId, tx => ChatLog.Send(tx, host.TeamId, host.HostId, draft.Clone(), key, fingerprint), context.CancellationToken);
        if (created)
        {
            links.Find(host.HostId)?.WakeForChat();
        }

        return new() { Message = message, Created = created };
    }

    /// <summary>
    /// The poll has no acknowledgement of its own, so the answer leaving counts as one. Where it did not leave, the lease runs out and the
    /// messages are handed out again: at least once, as the contract can have it.
    /// </summary>
    private void MarkDeliveredOnceAnswered(ServerCallContext context, HostAccess host, IReadOnlyList<string> messageIds)
    {
        var http = context.GetHttpContext();
        http.Response.OnCompleted(async () =>
        {
            if (http.RequestAborted.IsCancellationRequested)
            {
                return;
            }

            try
            {
                await store.WriteAsync(host.TeamId, tx => ChatLog.Delivered(tx, host.TeamId, host.HostId, messageIds));
            }
            catch (StoreUnavailableException e)
            {
                LogNotMarked(host.HostId, messageIds.Count, e.Message);
            }
        });
    }

    [LoggerMessage(LogLevel.Warning, "{Count} chat messages handed to {HostId} will be handed out again: {Cause}", EventName = "ChatNotMarked")]
    private partial void LogNotMarked(string hostId, int count, string cause);
}
