using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Storage;
using Hub.Text;
using Hub.Watch;

namespace Hub.Canvas;

/// <summary>
/// hub.v1.CanvasService: what agents show. Values live on the <see cref="EphemeralBoard"/>, where nodes with a link put theirs under the same
/// kinds; nothing is ever refused for its size or shape, since a node would send it again every 5 s.
/// </summary>
internal sealed class CanvasGrpcService(Access access, NodeCalls calls, EphemeralBoard board, CanvasQueries queries, TimeProvider time)
    : CanvasService.CanvasServiceBase
{
    private const string SlotKind = "canvas.slot";
    private const string AgentKind = "canvas.agent";
    private const string EventKind = "canvas.event";
    private const string CardKind = "canvas.card";
    private const string CallKind = "call";

    private const int SlotsMax = 200;
    private const int AgentsMax = 500;
    private const int EventsMax = 100;
    private const int CardsMax = 100;
    private const int QueryIdsMax = 1_000;
    private const int QueryLengthMax = 4_000;
    private const int ShortTextMax = 200;

    /// <summary>Largest value, in bytes of its message.</summary>
    private const int ValueBytesMax = 64 * 1024;

    /// <summary>A node's slots fade after 60 s and an idle node pushes every 60 s; agents and the rest stay 5 min, the board's default.</summary>
    private static readonly Duration SlotLifetime = Duration.FromTimeSpan(TimeSpan.FromSeconds(90));

    /// <summary>The clear of a node's old life may arrive after the first canvas of its new one (reflectt-node contract §6.12).</summary>
    private static readonly TimeSpan ClearSpares = TimeSpan.FromSeconds(2);

    public override async Task<PushCanvasResponse> PushCanvas(PushCanvasRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var clean = CleanText.Of(request);

        // Both shapes name what they know: one that says agents:{} does not take away what the other said a moment ago.
        foreach (var slot in clean.Slots.Concat(clean.State?.Slots ?? []).Take(SlotsMax))
        {
            Put(host, SlotKind, TextOf(slot, "slot"), slot, SlotLifetime);
        }

        foreach (var (name, value) in (clean.Agents?.Fields ?? []).Concat(clean.State?.Agents?.Fields ?? []).Take(AgentsMax))
        {
            Put(host, AgentKind, name, value);
        }

        foreach (var pushed in clean.PushEvents.TakeLast(EventsMax))
        {
            Put(host, EventKind, $"{TextOf(pushed, "agentId")}/{TextOf(pushed, "type")}", pushed);
        }

        return new() { Ok = true, SlotCount = board.Read(host.TeamId, host.HostId, SlotKind).Count };
    }

    public override async Task<GetCanvasResponse> GetCanvas(GetCanvasRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        var slots = board.Read(host.TeamId, host.HostId, SlotKind);
        var agents = board.Read(host.TeamId, host.HostId, AgentKind);
        var shown = new Struct();
        foreach (var agent in agents)
        {
            shown.Fields[agent.Key] = agent.Value;
        }

        return new()
        {
            Slots = { slots.Select(StructOf) },
            Agents = shown,
            PushEvents = { board.Read(host.TeamId, host.HostId, EventKind).Select(StructOf) },
            Cards = { board.Read(host.TeamId, host.HostId, CardKind).Select(StructOf) },
            UpdatedAt = slots.Concat(agents).Select(entry => entry.SetAt.ToUnixTimeMilliseconds()).DefaultIfEmpty().Max(),
        };
    }

    public override async Task<ClearCanvasResponse> ClearCanvas(ClearCanvasRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var before = time.GetUtcNow() - ClearSpares;
        foreach (var kind in new[] { SlotKind, AgentKind, EventKind, CardKind })
        {
            board.Remove(host.TeamId, host.HostId, kind, before);
        }

        return new() { Ok = true };
    }

    public override async Task<ShowCanvasCardResponse> ShowCanvasCard(ShowCanvasCardRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        if (CleanText.Of(request).Card is { } card)
        {
            Put(host, CardKind, CardKey(card), card);
        }

        return new() { Ok = true };
    }

    public override async Task<CreateCanvasQueryResponse> CreateCanvasQuery(CreateCanvasQueryRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        var clean = CleanText.Of(request);
        if (clean.Query.Length is 0 or > QueryLengthMax)
        {
            throw HubException.InvalidField("query", $"A query has 1 to {QueryLengthMax} characters.");
        }

        if (clean.SessionId.Length > ShortTextMax)
        {
            throw HubException.InvalidField("session_id", $"A session id has at most {ShortTextMax} characters.");
        }

        var query = new CanvasQuery { QueryId = EntityId.New("query", time), Query = clean.Query };
        if (clean.HasSessionId)
        {
            query.SessionId = clean.SessionId;
        }

        return new() { Query = queries.Add(host.HostId, query, IdempotencyKeys.Of(request.IdempotencyKey, context)) };
    }

    public override async Task<ListPendingCanvasQueriesResponse> ListPendingCanvasQueries(
        ListPendingCanvasQueriesRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer, node: true);
        return new() { Queries = { host.IsNode ? queries.Lease(host.HostId) : queries.Read(host.HostId) } };
    }

    public override async Task<AckCanvasQueriesResponse> AckCanvasQueries(AckCanvasQueriesRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var clean = CleanText.Of(request);
        var acked = queries.Take(host.HostId, clean.QueryIds.Take(QueryIdsMax).ToHashSet(StringComparer.Ordinal));
        for (var i = 0; i < Math.Min(clean.Cards.Count, CardsMax); i++)
        {
            // One card per query, in their order, unless the node says otherwise.
            Put(host, CardKind, clean.Cards.Count == clean.QueryIds.Count ? clean.QueryIds[i] : CardKey(clean.Cards[i]), clean.Cards[i]);
        }

        return new() { Ok = true, Acked = acked };
    }

    public override async Task<CallPersonResponse> CallPerson(CallPersonRequest request, ServerCallContext context)
    {
        var host = await calls.HeardAsync(context, request.HostId);
        var clean = CleanText.Of(request);
        var call = new Struct
        {
            Fields =
            {
                ["agentId"] = Value.ForString(clean.AgentId),
                ["agentName"] = Value.ForString(clean.AgentName),
                ["taskTitle"] = clean.HasTaskTitle ? Value.ForString(clean.TaskTitle) : Value.ForNull(),
                ["at"] = Value.ForNumber(time.NowMs()),
            },
        };
        Put(host, CallKind, clean.AgentId, call);
        return new() { Ok = true };
    }

    private void Put(HostAccess host, string kind, string key, Struct value, Duration? lifetime = null) =>
        Put(host, kind, key, Value.ForStruct(value), lifetime);

    private void Put(HostAccess host, string kind, string key, Value value, Duration? lifetime = null)
    {
        if (value.CalculateSize() <= ValueBytesMax)
        {
            board.Set(host.TeamId, host.HostId, new Ephemeral { Kind = kind, Key = key, Value = value, Ttl = lifetime });
        }
    }

    private static string CardKey(Struct card) => $"{TextOf(card, "agentId")}/{TextOf(card, "type")}";

    private static string TextOf(Struct value, string field) => value.Fields.TryGetValue(field, out var text) ? text.StringValue : "";

    /// <summary>A node with a link may have put anything under the kind.</summary>
    private static Struct StructOf(EphemeralBoard.EphemeralEntry entry) =>
        entry.Value.StructValue ?? new Struct { Fields = { ["value"] = entry.Value } };
}
