using System.Security.Cryptography;
using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Storage;

namespace Hub.Chat;

/// <summary>
/// The chat of hosts, both ways. What a node wrote is kept by its id; what goes to a node has a number of the host's own, which the link's
/// downstream lane uses and which belongs to no journal.
/// </summary>
internal static class ChatLog
{
    public const string FromNode = "from_node";
    public const string ToNode = "to_node";
    public const string ChannelDefault = "general";

    /// <summary>Largest text, in UTF-16 units; a message's whole size is bounded with it.</summary>
    public const int ContentMax = 64 * 1024;

    public const int ShortTextMax = 200;
    public const int AttachmentsMax = 50;

    /// <summary>
    /// A polling node reads the oldest 100 messages after its cursor and moves the cursor only on its own, so that 100 relayed ones in a row
    /// would silence it for ever (reflectt-node contract §6.9).
    /// </summary>
    private const int RelayedBetweenUploadsMax = 99;

    private const int HandOutMax = 50;

    /// <summary>A message handed to a poll whose answer got lost is handed out again after this.</summary>
    private const long HandOutLeaseMs = 90_000;

    private const string UpsertSql = """
        insert into chat_messages (team_id, host_id, message_id, direction, channel, sent_at, body, body_hash, received_at)
        values (@teamId, @hostId, @messageId, @direction, @channel, @sentAt, @body, @bodyHash, @now)
        on conflict (host_id, message_id) do update set channel = excluded.channel, sent_at = excluded.sent_at, body = excluded.body,
            body_hash = excluded.body_hash
            where chat_messages.direction = 'from_node' and chat_messages.body_hash <> excluded.body_hash
        """;

    private const string InsertDownSql = """
        insert into chat_messages (team_id, host_id, message_id, direction, channel, sent_at, body, body_hash, received_at, down_seq,
            idempotency_key, fingerprint)
        values (@teamId, @hostId, @messageId, 'to_node', @channel, @sentAt, @body, '', @sentAt, @downSeq, @idempotencyKey, @fingerprint)
        """;

    private const string HandOutSql = """
        select message_id, body, sent_at, delivered_at, direction from chat_messages
        where host_id = @hostId and direction = 'to_node' and delivered_at is null and (handed_out_at is null or handed_out_at <= @leaseEnd)
        order by down_seq limit @limit
        """;

    private const string KnownSql = "select message_id, body_hash from chat_messages where host_id = @hostId and direction = 'from_node'";

    private const string IsWaitingSql =
        "select message_id from chat_messages where host_id = @hostId and direction = 'to_node' and delivered_at is null limit 1";

    private const string NextDownSeqSql =
        "update links set chat_down_seq = chat_down_seq + 1 where host_id = @hostId returning chat_down_seq";

    private const string WaitingSql = """
        select message_id from chat_messages where host_id = @hostId and direction = 'to_node' and delivered_at is null order by down_seq
        """;

    // What is handed out in the answer to an upload has the upload's own time, and comes after it.
    private const string RelayedSinceUploadSql = """
        select count(*) from chat_messages where host_id = @hostId and handed_out_at >= coalesce(
            (select max(received_at) from chat_messages where host_id = @hostId and direction = 'from_node'), 0)
        """;

    /// <summary>The fault that makes a message of a node unacceptable for good, or null.</summary>
    public static HubException? Fault(ChatMessage message)
    {
        if (message.Id.Length is 0 or > ShortTextMax || message.From.Length > ShortTextMax || message.Channel.Length > ShortTextMax)
        {
            return new HubException(
                ErrorReason.RecordInvalid, $"A message has an id of 1 to {ShortTextMax} characters; sender and channel are as long at most.");
        }

        return message.Content.Length > ContentMax || message.Attachments.Count > AttachmentsMax || message.CalculateSize() > 4 * ContentMax
            ? new HubException(
                ErrorReason.RecordTooLarge, $"A message has at most {ContentMax} characters and {AttachmentsMax} attachments.",
                ("limit", $"{ContentMax}"))
            : null;
    }

    /// <summary>
    /// Whether something of this is not stored yet, or something waits for the node. A poll every 5 s mostly brings and takes nothing: it
    /// costs a read and no write.
    /// </summary>
    public static async Task<bool> HasWorkAsync(StoreReader reader, string hostId, IReadOnlyCollection<ChatMessage> messages, bool handOut)
    {
        if (handOut && await reader.QuerySingleOrDefaultAsync<string>(IsWaitingSql, new { hostId }) is not null)
        {
            return true;
        }

        if (messages.Count == 0)
        {
            return false;
        }

        var ids = reader.Dialect.InValue(messages.Select(message => message.Id).Distinct());
        var known = (await reader.QueryAsync<KnownRow>($"{KnownSql} and {reader.Dialect.In("message_id", "ids")}", new { hostId, ids }))
            .ToDictionary(row => row.MessageId, row => row.BodyHash, StringComparer.Ordinal);
        return messages.Any(message => known.GetValueOrDefault(message.Id) != HashOf(StoredBody(message)));
    }

    /// <summary>Stores a message a node wrote; a repeat of its id replaces it, an unchanged repeat costs no write.</summary>
    public static void Accept(StoreTransaction tx, string teamId, string hostId, ChatMessage message)
    {
        var body = StoredBody(message);
        var changed = tx.Execute(UpsertSql, new
        {
            teamId,
            hostId,
            messageId = message.Id,
            direction = FromNode,
            channel = ChannelOf(message),
            sentAt = message.Timestamp,
            body,
            bodyHash = HashOf(body),
            now = tx.NowMs,
        });
        if (changed > 0)
        {
            tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Chat), hostId, message.Id, 0);
        }
    }

    /// <summary>Queues a message to the node and gives it its downstream number; a repeat of the key answers with the first one.</summary>
    public static (ChatMessage Message, bool Created) Send(
        StoreTransaction tx, string teamId, string hostId, ChatMessage draft, string? idempotencyKey, string fingerprint)
    {
        if (idempotencyKey is not null && tx.QuerySingleOrDefault<SentRow>(
            """
            select message_id, body, sent_at, delivered_at, direction, fingerprint from chat_messages
            where team_id = @teamId and host_id = @hostId and idempotency_key = @idempotencyKey
            """,
            new { teamId, hostId, idempotencyKey }) is { } earlier)
        {
            return earlier.Fingerprint == fingerprint ? (ToMessage(earlier), false) : throw IdempotencyKeys.Reused();
        }

        var downSeq = tx.QuerySingle<long>(NextDownSeqSql, new { hostId });
        draft.Id = EntityId.New("msg", tx.NowMs);
        draft.Timestamp = tx.NowMs;
        draft.Channel = ChannelOf(draft);
        var row = new MessageRow { MessageId = draft.Id, Body = draft.ToByteArray(), SentAt = draft.Timestamp, Direction = ToNode };
        tx.Execute(InsertDownSql, new
        {
            teamId,
            hostId,
            messageId = draft.Id,
            channel = draft.Channel,
            sentAt = draft.Timestamp,
            body = row.Body,
            downSeq,
            idempotencyKey,
            fingerprint,
        });
        tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Chat), hostId, draft.Id, 0);
        return (ToMessage(row), true);
    }

    /// <summary>
    /// Takes the messages a poll answers with, oldest first. They count as delivered once the answer went out
    /// (<see cref="Delivered"/>); until then they are leased.
    /// </summary>
    public static IReadOnlyList<ChatMessage> HandOut(StoreTransaction tx, string hostId)
    {
        var room = RelayedBetweenUploadsMax - (int)tx.QuerySingle<long>(RelayedSinceUploadSql, new { hostId });
        if (room <= 0)
        {
            return [];
        }

        var rows = tx.Query<MessageRow>(
            HandOutSql, new { hostId, leaseEnd = tx.NowMs - HandOutLeaseMs, limit = Math.Min(room, HandOutMax) });
        foreach (var row in rows)
        {
            tx.Execute(
                "update chat_messages set handed_out_at = @now where host_id = @hostId and message_id = @MessageId",
                new { hostId, row.MessageId, now = tx.NowMs });
        }

        return [.. rows.Select(ToMessage)];
    }

    /// <summary>The answer with these messages reached the node.</summary>
    public static void Delivered(StoreTransaction tx, string teamId, string hostId, IReadOnlyList<string> messageIds)
    {
        foreach (var messageId in messageIds)
        {
            if (tx.Execute(
                "update chat_messages set delivered_at = @now where host_id = @hostId and message_id = @messageId and delivered_at is null",
                new { hostId, messageId, now = tx.NowMs }) == 1)
            {
                tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Chat), hostId, messageId, 0);
            }
        }
    }

    /// <summary>The node stored everything up to this number of its downstream lane.</summary>
    public static void DeliveredUpTo(StoreTransaction tx, string teamId, string hostId, long downSeq)
    {
        var delivered = tx.Query<string>(
            """
            update chat_messages set delivered_at = @now
            where host_id = @hostId and direction = 'to_node' and delivered_at is null and down_seq <= @downSeq returning message_id
            """,
            new { hostId, downSeq, now = tx.NowMs });
        tx.Execute(
            "update links set chat_down_acked = @downSeq where host_id = @hostId and chat_down_acked < @downSeq", new { hostId, downSeq });
        foreach (var messageId in delivered)
        {
            tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Chat), hostId, messageId, 0);
        }
    }

    /// <summary>
    /// A node says Hello with the number it stored last. Where that is ahead of the store (restored from a backup), what still waits
    /// gets numbers the node has not seen.
    /// </summary>
    public static void ConfirmOnHello(StoreTransaction tx, string teamId, string hostId, long nodeSeq, long storedSeq)
    {
        if (nodeSeq > storedSeq)
        {
            foreach (var messageId in tx.Query<string>(WaitingSql, new { hostId }))
            {
                var downSeq = tx.QuerySingle<long>(NextDownSeqSql, new { hostId });
                tx.Execute(
                    "update chat_messages set down_seq = @downSeq where host_id = @hostId and message_id = @messageId",
                    new { hostId, messageId, downSeq });
            }
        }

        DeliveredUpTo(tx, teamId, hostId, nodeSeq);
    }

    public static ChatMessage ToMessage(MessageRow row)
    {
        var message = ChatMessage.Parser.ParseFrom(row.Body);
        message.Direction = row.Direction == ToNode ? ChatDirection.ToNode : ChatDirection.FromNode;
        if (row.DeliveredAt is { } deliveredAt)
        {
            message.DeliveredAt = deliveredAt;
        }

        return message;
    }

    private static string ChannelOf(ChatMessage message) => message.Channel.Length == 0 ? ChannelDefault : message.Channel;

    private static byte[] StoredBody(ChatMessage message)
    {
        var stored = message.Clone();
        stored.Channel = ChannelOf(message);
        stored.Direction = ChatDirection.Unspecified;
        stored.ClearDeliveredAt();
        return stored.ToByteArray();
    }

    private static string HashOf(byte[] body) => Convert.ToHexStringLower(SHA256.HashData(body));

    private sealed record KnownRow(string MessageId, string BodyHash);

    internal record MessageRow
    {
        public required string MessageId { get; init; }
        public required byte[] Body { get; init; }
        public long SentAt { get; init; }
        public long? DeliveredAt { get; init; }
        public required string Direction { get; init; }
    }

    private sealed record SentRow : MessageRow
    {
        public required string Fingerprint { get; init; }
    }
}
