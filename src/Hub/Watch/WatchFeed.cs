using System.Globalization;
using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Feedback;
using Hub.Hosts;
using Hub.Records;
using Hub.Storage;
using Hub.Tasks;

namespace Hub.Watch;

/// <summary>What one watch asks for.</summary>
internal sealed record WatchFilter(string TeamId, IReadOnlySet<string> HostIds, IReadOnlySet<WatchKind> Kinds)
{
    /// <summary>The same for filters that want the same kinds.</summary>
    public string KindsKey { get; } = string.Join(',', Kinds.Order());

    public bool Wants(WatchKind kind) => Kinds.Count == 0 || Kinds.Contains(kind);

    public bool Wants(WatchKind kind, string hostId) => Wants(kind) && (HostIds.Count == 0 || HostIds.Contains(hostId));
}

/// <summary>
/// Reads what a watch shows: snapshot and tail (architecture.md D8). Events hold ids only, so a page of the tail reads each record as it is
/// now; a record that changed twice is shown twice in its latest form, and none can be missed, because commit order is number order.
/// </summary>
internal sealed class WatchFeed(Store store, Presence presence, ProgressBoard progress, TimeProvider time)
{
    public const int PageMax = 500;

    /// <summary>Chat messages, feedback and open conflicts of a snapshot, and records of each log: the latest of the team.</summary>
    private const int SnapshotLatestMax = 200;

    private const string CounterSql = "select event_seq from team_counters where team_id = @teamId";
    private const string OldestSql = "select min(seq) from events where team_id = @teamId";

    private const string TailSql = """
        select seq, kind, host_id, entity_id, version, at from events
        where team_id = @teamId and seq > @after and seq <= @through order by seq limit @limit
        """;

    private const string HostsSql = HostRow.SelectSql + "\nand h.team_id = @teamId and h.host_id > @after order by h.host_id limit @limit";

    private const string RecordsSql = $"""
        select host_id, collection, record_id, version, body from records r
        where team_id = @teamId and deleted_at is null and collection = @Name and (host_id, record_id) > (@afterHost, @afterRecord)
            and {HostRow.ExistsSql}
        order by host_id, record_id limit @limit
        """;

    internal const string LatestRecordsSql = $"""
        select host_id, collection, record_id, version, body from records r
        where team_id = @teamId and is_history = 1 and collection = @Name and {HostRow.ExistsSql}
        order by version desc, record_id desc limit @limit
        """;

    private const string OpenCommandsSql = $"""
        select {CommandRow.ListColumns} from commands c
        where c.team_id = @teamId and c.state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING') and c.command_id > @after
        order by c.command_id limit @limit
        """;

    internal const string LatestChatSql = $"""
        select host_id, message_id, body, sent_at, delivered_at, direction from chat_messages r
        where team_id = @teamId and {HostRow.ExistsSql} order by sent_at desc, message_id desc limit @limit
        """;

    private const string LatestFeedbackSql = $"""
        select {FeedbackBook.Columns} from feedback where team_id = @teamId order by created_at desc, feedback_id desc limit @limit
        """;

    internal const string OpenConflictsSql = $"""
        select {ConflictLedger.Columns} from sync_conflicts r
        where team_id = @teamId and resolved_at is null and {HostRow.ExistsSql} order by created_at desc, conflict_id desc limit @limit
        """;

    private static readonly RowsStatement<RecordId> RecordsOf = new(
        """
        select s.host_id, s.collection, s.record_id, s.version, s.body from {rows}
        join records s on s.host_id = r.host_id and s.collection = r.collection and s.record_id = r.entity_id
        where s.team_id = r.team_id and s.deleted_at is null
        """,
        Column<RecordId>.Of("team_id", id => id.TeamId),
        Column<RecordId>.Of("host_id", id => id.HostId),
        Column<RecordId>.Of("collection", id => id.Collection),
        Column<RecordId>.Of("entity_id", id => id.EntityId));

    private static readonly RowsStatement<RecordId> ChatOf = new(
        """
        select c.host_id, c.message_id, c.body, c.sent_at, c.delivered_at, c.direction from {rows}
        join chat_messages c on c.host_id = r.host_id and c.message_id = r.entity_id
        where c.team_id = r.team_id
        """,
        Column<RecordId>.Of("team_id", id => id.TeamId),
        Column<RecordId>.Of("host_id", id => id.HostId),
        Column<RecordId>.Of("entity_id", id => id.EntityId));

    private readonly TailPages _pages = new(time);

    /// <summary>The team's latest event number.</summary>
    public async Task<long> LatestAsync(string teamId, CancellationToken cancellation) =>
        await store.QuerySingleOrDefaultAsync<long?>(TeamScope.Of(teamId), CounterSql, new { teamId }, cancellation) ?? 0;

    /// <summary>Whether the tail after a number is still complete.</summary>
    public Task<bool> HoldsAsync(string teamId, long after, CancellationToken cancellation) =>
        store.ReadAsync(
            TeamScope.Of(teamId),
            async reader =>
            {
                var latest = await reader.QuerySingleOrDefaultAsync<long?>(CounterSql, new { teamId }) ?? 0;
                var oldest = await reader.QuerySingleOrDefaultAsync<long?>(OldestSql, new { teamId });
                return after <= latest && (after == latest || (oldest is { } first && after + 1 >= first));
            },
            cancellation);

    /// <summary>Everything as it is now, page by page. What changes meanwhile comes again in the tail.</summary>
    public async IAsyncEnumerable<WatchResponse> SnapshotAsync(
        WatchFilter filter, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        var teamId = filter.TeamId;
        var scope = TeamScope.Of(teamId);
        for (var after = ""; ;)
        {
            var rows = await store.QueryAsync<HostRow>(scope, HostsSql, new { teamId, after, limit = PageMax }, cancellation);
            foreach (var row in rows.Where(row => filter.Wants(WatchKind.Host, row.HostId)))
            {
                yield return Show(row);
            }

            if (rows.Count < PageMax)
            {
                break;
            }

            after = rows[^1].HostId;
        }

        foreach (var collection in RecordCollections.All.Where(collection => filter.Kinds.Count == 0 || filter.Kinds.Contains(collection.Changed)))
        {
            await foreach (var row in RecordsAsync(teamId, collection, cancellation))
            {
                if (filter.Wants(collection.Changed, row.HostId))
                {
                    yield return Show(row);
                }
            }
        }

        for (var after = ""; ;)
        {
            var rows = await store.QueryAsync<CommandRow>(scope, OpenCommandsSql, new { teamId, after, limit = PageMax }, cancellation);
            foreach (var row in rows.Where(row => filter.Wants(WatchKind.Command, row.HostId)))
            {
                yield return Show(row);
            }

            if (rows.Count < PageMax)
            {
                break;
            }

            after = rows[^1].CommandId;
        }

        var messages = await store.QueryAsync<ChatRow>(scope, LatestChatSql, new { teamId, limit = SnapshotLatestMax }, cancellation);
        foreach (var row in messages.Reverse().Where(row => filter.Wants(WatchKind.Chat, row.HostId)))
        {
            yield return Show(row);
        }

        var feedback = await store.QueryAsync<FeedbackBook.FeedbackRow>(
            scope, LatestFeedbackSql, new { teamId, limit = SnapshotLatestMax }, cancellation);
        foreach (var row in feedback.Reverse().Where(row => filter.Wants(WatchKind.Feedback, row.HostId)))
        {
            yield return Show(row);
        }

        var conflicts = await store.QueryAsync<ConflictLedger.Row>(
            scope, OpenConflictsSql, new { teamId, limit = SnapshotLatestMax }, cancellation);
        foreach (var row in conflicts.Reverse().Where(row => filter.Wants(WatchKind.Conflict, row.HostId)))
        {
            yield return Show(row);
        }
    }

    /// <summary>The next page of the tail: changes of the kinds that the filter wants, of all hosts.</summary>
    /// <param name="through">Number it ends at, at most: who is woken for the same number goes on at the same number.</param>
    public Task<TailPage> TailAsync(WatchFilter filter, long after, long through, CancellationToken cancellation) =>
        _pages.GetAsync(new TailPosition(filter.TeamId, filter.KindsKey, after), () => ReadPageAsync(filter, after, through), cancellation);

    public static string CursorOf(string teamId, long seq) => $"{teamId}.{seq.ToString(CultureInfo.InvariantCulture)}";

    /// <exception cref="HubException">CURSOR_INVALID.</exception>
    public static long ReadCursor(string teamId, string cursor)
    {
        var dot = cursor.LastIndexOf('.');
        return dot > 0 && cursor[..dot] == teamId && long.TryParse(cursor.AsSpan(dot + 1), NumberStyles.None, CultureInfo.InvariantCulture, out var seq)
            ? seq
            : throw new HubException(ErrorReason.CursorInvalid, "The cursor is not of this team; start again without one.");
    }

    /// <summary>For all watchers that share it, so none of them can call it off.</summary>
    private Task<TailPage> ReadPageAsync(WatchFilter filter, long after, long through) => store.ReadAsync(
        TeamScope.Of(filter.TeamId),
        async reader =>
        {
            var events = await reader.QueryAsync<EventRow>(TailSql, new { teamId = filter.TeamId, after, through, limit = PageMax });
            if (events.Count == 0)
            {
                return new TailPage([], after);
            }

            var wanted = events.Where(row => filter.Wants(row.KindValue)).ToArray();
            var bodies = await BodiesAsync(reader, filter.TeamId, wanted);
            var shown = new List<WatchResponse>(wanted.Length);
            foreach (var row in wanted)
            {
                var response = bodies.TryGetValue((row.KindValue, row.HostId ?? "", row.EntityId), out var body) ? body.Clone() : new WatchResponse();
                response.Kind = row.KindValue;
                response.Cursor = CursorOf(filter.TeamId, row.Seq);
                response.HostId = row.HostId ?? "";
                response.EntityId = row.EntityId;
                response.Version = row.Version;
                response.At = EpochMs.ToTimestamp(row.At);
                shown.Add(response);
            }

            return new TailPage(shown, events[^1].Seq);
        });

    private async Task<Dictionary<(WatchKind, string, string), WatchResponse>> BodiesAsync(
        StoreReader reader, string teamId, IReadOnlyList<EventRow> events)
    {
        var bodies = new Dictionary<(WatchKind, string, string), WatchResponse>();
        foreach (var kind in events.GroupBy(row => row.KindValue))
        {
            var collection = RecordCollections.Find(kind.Key);
            RecordId[] ids = [.. kind.Select(row => new RecordId(teamId, row.HostId ?? "", collection?.Name ?? "", row.EntityId)).Distinct()];
            var entityIds = reader.Dialect.InValue(ids.Select(id => id.EntityId));
            IEnumerable<WatchResponse> found = kind.Key switch
            {
                WatchKind.Host => (await reader.QueryAsync<HostRow>(
                    $"{HostRow.SelectSql} and h.team_id = @teamId and {reader.Dialect.In("h.host_id", "entityIds")}",
                    new { teamId, entityIds })).Select(Show),
                WatchKind.Command => (await reader.QueryAsync<CommandRow>(
                    $"select {CommandRow.ListColumns} from commands c where c.team_id = @teamId and {reader.Dialect.In("c.command_id", "entityIds")}",
                    new { teamId, entityIds })).Select(Show),
                WatchKind.Chat => (await reader.QueryAsync<RecordId, ChatRow>(ChatOf, ids)).Select(Show),
                WatchKind.Feedback => (await reader.QueryAsync<FeedbackBook.FeedbackRow>(
                    $"select {FeedbackBook.Columns} from feedback where team_id = @teamId and {reader.Dialect.In("feedback_id", "entityIds")}",
                    new { teamId, entityIds })).Select(Show),
                WatchKind.Conflict => (await reader.QueryAsync<ConflictLedger.Row>(
                    $"select {ConflictLedger.Columns} from sync_conflicts where team_id = @teamId and {reader.Dialect.In("conflict_id", "entityIds")}",
                    new { teamId, entityIds })).Select(Show),
                _ when collection is not null => (await reader.QueryAsync<RecordId, RecordRow>(RecordsOf, ids)).Select(Show),
                _ => [],
            };
            foreach (var body in found)
            {
                bodies[(kind.Key, body.HostId, body.EntityId)] = body;
            }
        }

        return bodies;
    }

    /// <summary>All records of a collection; the latest of one that only grows.</summary>
    private async IAsyncEnumerable<RecordRow> RecordsAsync(
        string teamId, RecordCollection collection, [System.Runtime.CompilerServices.EnumeratorCancellation] CancellationToken cancellation)
    {
        var scope = TeamScope.Of(teamId);
        if (collection.IsLog)
        {
            var latest = await store.QueryAsync<RecordRow>(
                scope, LatestRecordsSql, new { teamId, collection.Name, limit = SnapshotLatestMax }, cancellation);
            foreach (var row in latest.Reverse())
            {
                yield return row;
            }

            yield break;
        }

        for (var (afterHost, afterRecord) = ("", ""); ;)
        {
            var rows = await store.QueryAsync<RecordRow>(
                scope, RecordsSql, new { teamId, collection.Name, afterHost, afterRecord, limit = PageMax }, cancellation);
            foreach (var row in rows)
            {
                yield return row;
            }

            if (rows.Count < PageMax)
            {
                yield break;
            }

            (afterHost, afterRecord) = (rows[^1].HostId, rows[^1].RecordId);
        }
    }

    private WatchResponse Show(HostRow row) =>
        new() { Kind = WatchKind.Host, HostId = row.HostId, EntityId = row.HostId, Host = presence.Overlay(row).ToHost() };

    private WatchResponse Show(CommandRow row) =>
        new() { Kind = WatchKind.Command, HostId = row.HostId, EntityId = row.CommandId, Command = progress.Overlay(row.ToCommand()) };

    private static WatchResponse Show(RecordRow row) =>
        RecordCollections.Named(row.Collection).Show(row.HostId, row.RecordId, row.Version, row.Body);

    private static WatchResponse Show(ChatRow row) =>
        new() { Kind = WatchKind.Chat, HostId = row.HostId, EntityId = row.MessageId, Chat = ChatLog.ToMessage(row) };

    private static WatchResponse Show(ConflictLedger.Row row) =>
        new() { Kind = WatchKind.Conflict, HostId = row.HostId, EntityId = row.ConflictId, Conflict = row.ToConflict() };

    private static WatchResponse Show(FeedbackBook.FeedbackRow row) => new()
    {
        Kind = WatchKind.Feedback,
        HostId = row.HostId,
        EntityId = row.FeedbackId,
        Version = row.Version,
        Feedback = row.ToItem(),
    };

    private sealed record EventRow
    {
        public long Seq { get; init; }
        public required string Kind { get; init; }
        public string? HostId { get; init; }
        public required string EntityId { get; init; }
        public long Version { get; init; }
        public long At { get; init; }

        public WatchKind KindValue => EnumText<WatchKind>.Parse(Kind);
    }

    /// <param name="Collection">Empty for what is no record.</param>
    private sealed record RecordId(string TeamId, string HostId, string Collection, string EntityId);

    private sealed record RecordRow(string HostId, string Collection, string RecordId, long Version, byte[] Body);

    private sealed record ChatRow : ChatLog.MessageRow
    {
        public required string HostId { get; init; }
    }
}
