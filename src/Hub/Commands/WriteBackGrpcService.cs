using Google.Protobuf.Collections;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Commands;

/// <summary>
/// hub.v1.WriteBackService: what is the node's own is changed by the node. Each call is a command; nothing is written here, and what the
/// node did shows in its next sync.
/// </summary>
internal sealed class WriteBackGrpcService(Access access, Store store, CommandCreation creation)
    : WriteBackService.WriteBackServiceBase
{
    private const string TaskCreate = "task_create";
    private const string TaskReview = "task_review";
    private const string InsightPromote = "insight_promote";
    private const string RunApprove = "run_approve";
    private const string ContextSync = "context_sync";

    private const string Requested = "requested";
    private const string Done = "done";
    private const string Failed = "failed";

    private const int TitleLengthMax = 2_000;
    private const int TextLengthMax = 2_000;
    private const int DescriptionLengthMax = 64 * 1024;
    private const int NameLengthMax = 200;
    private const int TagLengthMax = 100;
    private const int ListMax = 50;

    private static readonly string[] Kinds = [TaskCreate, TaskReview, InsightPromote, RunApprove, ContextSync];
    private static readonly string[] Priorities = ["", "P0", "P1", "P2", "P3"];
    private static readonly string[] ReviewDecisions = ["approve", "reject"];
    private static readonly string[] RunDecisions = ["approve", "reject", "defer"];

    /// <summary>The field of a payload that says what a command is about.</summary>
    private static readonly Dictionary<string, string> TargetFields = new(StringComparer.Ordinal)
    {
        [TaskReview] = "taskId",
        [InsightPromote] = "insightId",
        [RunApprove] = "eventId",
        [ContextSync] = "agent",
    };

    public override async Task<RequestTaskCreationResponse> RequestTaskCreation(RequestTaskCreationRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        Require(request.Title.Length is > 0 and <= TitleLengthMax, "title", $"A title has 1 to {TitleLengthMax} characters.");
        Require(request.Description.Length <= DescriptionLengthMax, "description", $"A description has at most {DescriptionLengthMax} characters.");
        Require(
            request.Assignee.Length <= NameLengthMax && request.Reviewer.Length <= NameLengthMax, "assignee",
            $"A name has at most {NameLengthMax} characters.");
        RequirePriority(request.Priority);
        RequireList("done_criteria", request.DoneCriteria, TextLengthMax);
        RequireList("tags", request.Tags, TagLengthMax);
        var payload = new Struct { Fields = { ["title"] = Value.ForString(request.Title), ["createdBy"] = Value.ForString(host.Caller.Name) } };
        SetText(payload, "description", request.Description);
        SetText(payload, "assignee", request.Assignee);
        SetText(payload, "reviewer", request.Reviewer);
        SetText(payload, "priority", request.Priority);
        SetList(payload, "done_criteria", request.DoneCriteria);
        SetList(payload, "tags", request.Tags);
        if (request.Metadata is not null)
        {
            payload.Fields["metadata"] = Value.ForStruct(request.Metadata);
        }

        var (asked, created) = await AskAsync(host, TaskCreate, payload, request.IdempotencyKey, context);
        return new() { WriteBack = asked, Created = created };
    }

    public override async Task<RequestTaskReviewResponse> RequestTaskReview(RequestTaskReviewRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        RequireTarget("task_id", request.TaskId);
        RequireOneOf("decision", request.Decision, ReviewDecisions);
        Require(request.Comment.Length <= TextLengthMax, "comment", $"A comment has at most {TextLengthMax} characters.");
        var payload = PayloadOf(TaskReview, request.TaskId, host);
        SetText(payload, "decision", request.Decision);
        SetText(payload, "comment", request.Comment);
        var (asked, created) = await AskAsync(host, TaskReview, payload, request.IdempotencyKey, context);
        return new() { WriteBack = asked, Created = created };
    }

    public override async Task<RequestInsightPromotionResponse> RequestInsightPromotion(
        RequestInsightPromotionRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        RequireTarget("insight_id", request.InsightId);
        RequirePriority(request.Priority);
        Require(request.Reason.Length <= TextLengthMax, "reason", $"A reason has at most {TextLengthMax} characters.");
        var payload = PayloadOf(InsightPromote, request.InsightId, host);
        SetText(payload, "priority", request.Priority);
        SetText(payload, "reason", request.Reason);
        var (asked, created) = await AskAsync(host, InsightPromote, payload, request.IdempotencyKey, context);
        return new() { WriteBack = asked, Created = created };
    }

    public override async Task<RequestRunDecisionResponse> RequestRunDecision(RequestRunDecisionRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        RequireTarget("event_id", request.EventId);
        RequireOneOf("decision", request.Decision, RunDecisions);
        var payload = PayloadOf(RunApprove, request.EventId, host);
        SetText(payload, "decision", request.Decision);
        payload.Fields["rationale"] = Value.ForStruct(RationaleOf(request.Decision, request.Rationale));
        var (asked, created) = await AskAsync(host, RunApprove, payload, request.IdempotencyKey, context);
        return new() { WriteBack = asked, Created = created };
    }

    public override async Task<RequestContextSyncResponse> RequestContextSync(RequestContextSyncRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Member);
        RequireTarget("agent", request.Agent);
        var payload = new Struct { Fields = { [TargetFields[ContextSync]] = Value.ForString(request.Agent) } };
        var (asked, created) = await AskAsync(host, ContextSync, payload, request.IdempotencyKey, context);
        return new() { WriteBack = asked, Created = created };
    }

    public override async Task<ListWriteBacksResponse> ListWriteBacks(ListWriteBacksRequest request, ServerCallContext context)
    {
        var host = await access.HostAsync(context, request.HostId, TeamRole.Viewer);
        Require(request.Kind.Length == 0 || Kinds.Contains(request.Kind), "kind", $"A kind is one of {string.Join(", ", Kinds)}.");
        Require(request.Status is "" or Requested or Done or Failed, "status", $"A status is {Requested}, {Done} or {Failed}.");
        var kinds = Kinds.Where(kind => request.Kind.Length == 0 || kind == request.Kind).ToArray();
        string[] states =
        [
            .. System.Enum.GetValues<CommandState>()
                .Where(state => state != CommandState.Unspecified && StatusOf(state) == request.Status)
                .Select(EnumText<CommandState>.Of),
        ];
        var size = PageToken.Size(request.PageSize);
        var (createdAt, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var rows = await store.QueryAsync<CommandRow>(
            TeamScope.Of(host.TeamId),
            $"""
            select {CommandRow.ListColumns} from commands c
            where c.host_id = @hostId and c.team_id = @teamId and (c.created_at, c.command_id) < (@createdAt, @id)
                and {store.Dialect.In("c.type", "kinds")}
                {(states.Length == 0 ? "" : $"and {store.Dialect.In("c.state", "states")}")}
            order by c.created_at desc, c.command_id desc limit @limit
            """,
            new
            {
                hostId = host.HostId,
                teamId = host.TeamId,
                createdAt,
                id,
                kinds = store.Dialect.InValue(kinds),
                states = store.Dialect.InValue(states),
                limit = size + 1,
            },
            context.CancellationToken);
        return new()
        {
            WriteBacks = { rows.Take(size).Select(Show) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].CreatedAt, rows[size - 1].CommandId) : "",
        };
    }

    private async Task<(WriteBack Asked, bool Created)> AskAsync(
        HostAccess host, string kind, Struct payload, string idempotencyKey, ServerCallContext context)
    {
        var request = new CreateCommandRequest { HostId = host.HostId, Type = kind, Payload = payload };
        var traceparent = context.RequestHeaders.GetValue("traceparent") ?? "";
        var (command, created) = await creation.CreateAsync(
            host, request, IdempotencyKeys.Of(idempotencyKey, context), traceparent, context.CancellationToken);
        return (Show(command), created);
    }

    private static WriteBack Show(CommandRow row)
    {
        var command = row.ToCommand();
        return new WriteBack
        {
            Id = command.Id,
            Kind = command.Type,
            TargetId = TargetFields.TryGetValue(command.Type, out var field) && command.Payload.Fields.TryGetValue(field, out var target)
                ? target.StringValue
                : "",
            Status = StatusOf(command.State),
            Command = command,
        };
    }

    private static string StatusOf(CommandState state) =>
        state == CommandState.Succeeded ? Done : CommandStates.IsTerminal(state) ? Failed : Requested;

    private static Struct PayloadOf(string kind, string target, HostAccess host) => new()
    {
        Fields = { [TargetFields[kind]] = Value.ForString(target), ["actor"] = Value.ForString(host.Caller.Name) },
    };

    /// <summary>A node takes nothing but {choice, considered[], constraint}; a text becomes the constraint.</summary>
    private static Struct RationaleOf(string decision, Value? given)
    {
        Require(
            given is null || given.KindCase is Value.KindOneofCase.NullValue or Value.KindOneofCase.StringValue or Value.KindOneofCase.StructValue,
            "rationale", "rationale is an object {choice, considered[], constraint}, or a text.");
        var rationale = given?.StructValue?.Clone() ?? new Struct();
        var said = given?.StringValue is { Length: > 0 } text ? text : "decided by a person";
        rationale.Fields.TryAdd("choice", Value.ForString(decision));
        rationale.Fields.TryAdd("considered", Value.ForList([.. RunDecisions.Select(Value.ForString)]));
        rationale.Fields.TryAdd("constraint", Value.ForString(said));
        Require(
            rationale.Fields["choice"].KindCase == Value.KindOneofCase.StringValue
                && rationale.Fields["considered"].KindCase == Value.KindOneofCase.ListValue
                && rationale.Fields["constraint"].KindCase == Value.KindOneofCase.StringValue,
            "rationale", "In a rationale choice and constraint are texts and considered is a list.");
        return rationale;
    }

    private static void SetText(Struct payload, string name, string text)
    {
        if (text.Length > 0)
        {
            payload.Fields[name] = Value.ForString(text);
        }
    }

    private static void SetList(Struct payload, string name, RepeatedField<string> texts)
    {
        if (texts.Count > 0)
        {
            payload.Fields[name] = Value.ForList([.. texts.Select(Value.ForString)]);
        }
    }

    private static void RequireTarget(string field, string id) =>
        Require(id.Length is > 0 and <= NameLengthMax, field, $"{field} has 1 to {NameLengthMax} characters.");

    private static void RequirePriority(string priority) => Require(Priorities.Contains(priority), "priority", "priority is P0 to P3.");

    private static void RequireOneOf(string field, string word, string[] words) =>
        Require(words.Contains(word), field, $"{field} is one of {string.Join(", ", words)}.");

    private static void RequireList(string field, RepeatedField<string> texts, int lengthMax) => Require(
        texts.Count <= ListMax && texts.All(text => text.Length <= lengthMax), field,
        $"{field} has at most {ListMax} texts of {lengthMax} characters each.");

    private static void Require(bool holds, string field, string message)
    {
        if (!holds)
        {
            throw HubException.InvalidField(field, message);
        }
    }
}
