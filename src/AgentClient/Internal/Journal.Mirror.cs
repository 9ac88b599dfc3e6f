using Google.Protobuf;
using Hub.Contracts.V1;

namespace Hub.AgentClient.Internal;

/// <content>The mirror of what was last published, re-sync marks, and the chat inbox.</content>
internal sealed partial class Journal
{
    /// <summary>Chat messages kept for a handler that does not come to them; more stay with the Hub.</summary>
    public const int InboxMax = 10_000;

    public void MirrorChange(Delta delta)
    {
        var key = Records.Key(delta);
        if (delta.Op is DeltaOp.Delete)
        {
            Execute("delete from mirror where collection = $1 and record_key = $2", (int)delta.Collection, key);
        }
        else
        {
            var plain = delta.Clone();
            plain.ClearBaseVersion();
            Execute(
                "insert or replace into mirror(collection, record_key, entry) values($1, $2, $3)",
                (int)delta.Collection,
                key,
                Records.Entry(plain).ToByteArray());
        }
    }

    public Delta? FindMirrored(Collection collection, string key) =>
        Scalar<byte[]>("select entry from mirror where collection = $1 and record_key = $2", (int)collection, key) is { } entry
            ? Entry.Parser.ParseFrom(entry).Delta
            : null;

    public bool IsMirrorEmpty(Collection collection) =>
        Scalar<long>("select exists(select 1 from mirror where collection = $1)", (int)collection) == 0;

    /// <summary>Records with ids behind <paramref name="after"/> up to <paramref name="through"/>, both without bound if empty; by id.</summary>
    public IReadOnlyList<Delta> MirrorRange(Collection collection, string after, string through, int limit)
    {
        var records = new List<Delta>();
        using var rows = through.Length == 0
            ? Query(
                "select entry from mirror where collection = $1 and record_key > $2 order by record_key limit $3",
                (int)collection, Records.Key(collection, after), limit)
            : Query(
                "select entry from mirror where collection = $1 and record_key > $2 and record_key <= $3 order by record_key limit $4",
                (int)collection, Records.Key(collection, after), Records.Key(collection, through), limit);
        while (rows.Read())
        {
            records.Add(Entry.Parser.ParseFrom(Blob(rows, 0)).Delta);
        }

        return records;
    }

    /// <summary>Puts every mirrored record that does not wait already into the outbox once more.</summary>
    public void RequeueMirror(Collection collection)
    {
        Execute("""
            insert into outbox(lane, record_key, entry) select 3, record_key, entry from mirror
            where collection = $1 and not exists(select 1 from outbox where lane = 3 and outbox.record_key = mirror.record_key)
            """, (int)collection);
        _outboxRows = null;
    }

    /// <summary>Whether the mirror holds every record the Hub can have of this node.</summary>
    public bool IsWhole(Collection collection) => Scalar<long>("select whole from collections where collection = $1", (int)collection) == 1;

    public void SetWhole(Collection collection) => Execute("update collections set whole = 1 where collection = $1", (int)collection);

    /// <summary>Whether a re-sync is due. Durable, since the Hub says so once and the link may end in the middle.</summary>
    public bool IsSnapshotPending(Collection collection) =>
        Scalar<long>("select snapshot_pending from collections where collection = $1", (int)collection) == 1;

    public void SetSnapshotPending(Collection collection, bool pending) =>
        Execute("update collections set snapshot_pending = $2 where collection = $1", (int)collection, pending ? 1 : 0);

    public void ClearStaging(Collection collection) => Execute("delete from staging where collection = $1", (int)collection);

    /// <summary>Stages what the application's source says, unless a change came in while it was being read: the change is newer.</summary>
    public void StageSourced(Delta delta) => Execute(
        "insert into staging(collection, record_key, entry) values($1, $2, $3) on conflict do nothing",
        (int)delta.Collection,
        Records.Key(delta),
        Records.Entry(delta).ToByteArray());

    /// <summary>Stages a change made while the source is being read; a deletion is remembered, or the source would bring the record back.</summary>
    public void StageChange(Delta delta) => Execute(
        "insert or replace into staging(collection, record_key, entry) values($1, $2, $3)",
        (int)delta.Collection,
        Records.Key(delta),
        delta.Op is DeltaOp.Delete ? null : Records.Entry(delta).ToByteArray());

    /// <summary>The staged records become the mirror.</summary>
    public void CommitStaging(Collection collection)
    {
        Execute("delete from mirror where collection = $1", (int)collection);
        Execute(
            "insert into mirror(collection, record_key, entry) select collection, record_key, entry from staging where collection = $1 and entry is not null",
            (int)collection);
        ClearStaging(collection);
    }

    public void StoreChatDown(long seq, ChatMessage message) =>
        Execute("insert into inbox(seq, message) values($1, $2)", seq, message.ToByteArray());

    public void SetChatDownSeq(long seq) => SetMeta("chat_down_seq", seq);

    public long CountInbox() => Scalar<long>("select count(*) from inbox");

    public InboxMessage? FirstInInbox()
    {
        using var rows = Query("select seq, message from inbox order by seq limit 1");
        return rows.Read() ? new InboxMessage(rows.GetInt64(0), ChatMessage.Parser.ParseFrom(Blob(rows, 1))) : null;
    }

    public void RemoveFromInbox(long seq) => Execute("delete from inbox where seq = $1", seq);
}

/// <summary>A chat message from the Hub that waits for the handler.</summary>
internal sealed record InboxMessage(long Seq, ChatMessage Message);
