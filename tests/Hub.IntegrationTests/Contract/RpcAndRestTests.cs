using System.Net.Http.Headers;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.Reflection;
using Google.Protobuf.WellKnownTypes;
using Google.Rpc;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Identity;
using Hub.IntegrationTests.Relays;
using Hub.Options.V1;
using Hub.Telemetry;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>Every unary RPC by gRPC and by REST: the same answer, and the same refusal.</summary>
public abstract partial class RpcAndRestTests(StoreFixture fixture)
{
    /// <summary>How each RPC is called: with success, and in a way it refuses.</summary>
    private static readonly Row[] Rows =
    [
        new("GetHealth", Caller.Nobody, _ => new GetHealthRequest(), null),
        new("CreateJoinToken", Caller.Owner, stage => new CreateJoinTokenRequest { TeamId = stage.TeamId }, _ => new CreateJoinTokenRequest { TeamId = "none" }),
        new("ClaimHost", Caller.Nobody,
            stage => new ClaimHostRequest { JoinToken = stage.JoinToken, Name = "claimed", Capabilities = { "tasks" } },
            _ => new ClaimHostRequest { JoinToken = "hjoin_unknown" }),
        new("EnrollHost", Caller.ApiKey,
            _ => new EnrollHostRequest { Name = "enrolled", HostType = "vm", IdempotencyKey = "k" }, _ => new EnrollHostRequest()),
        new("ListHosts", Caller.Owner, stage => new ListHostsRequest { TeamId = stage.TeamId }, _ => new ListHostsRequest { PageSize = 1_001 }),
        new("GetHost", Caller.Owner, stage => new GetHostRequest { HostId = stage.HostId }, _ => new GetHostRequest { HostId = "none" }),
        new("Heartbeat", Caller.Node,
            stage => new HeartbeatRequest { HostId = stage.HostId, ContractVersion = Value.ForString("host-heartbeat.v1"), Timestamp = 1_795_220_370_140 },
            _ => new HeartbeatRequest { HostId = "none" }),
        new("RevokeHostCredential", Caller.Owner,
            stage => new RevokeHostCredentialRequest { HostId = stage.HostId, Reason = "why" }, _ => new RevokeHostCredentialRequest { HostId = "none" }),
        new("UpdateHost", Caller.Owner,
            stage => new UpdateHostRequest { HostId = stage.HostId, Name = "renamed", Labels = new Struct { Fields = { ["env"] = Value.ForString("prod") } } },
            stage => new UpdateHostRequest { HostId = stage.HostId, Name = "" }),
        new("GetHostPresence", Caller.Owner,
            stage => new GetHostPresenceRequest { HostId = stage.HostId }, _ => new GetHostPresenceRequest { HostId = "none" }),
        new("ListHostActivity", Caller.Owner,
            stage => new ListHostActivityRequest { HostId = stage.HostId }, stage => new ListHostActivityRequest { HostId = stage.HostId, PageSize = 1_001 }),
        new("ExplainHost", Caller.Owner, stage => new ExplainHostRequest { HostId = stage.HostId }, _ => new ExplainHostRequest { HostId = "none" }),
        new("ListHostProperties", Caller.Node,
            stage => new ListHostPropertiesRequest { HostId = stage.HostId }, _ => new ListHostPropertiesRequest { HostId = "none" }),
        new("SetHostProperty", Caller.Owner,
            stage => new SetHostPropertyRequest { HostId = stage.HostId, Key = "node_version", Value = Value.ForString("2.0") },
            stage => new SetHostPropertyRequest { HostId = stage.HostId, Key = "node_version", Value = Value.ForString("2.0"), ExpectedGeneration = 7 }),
        new("ClearHostProperty", Caller.Owner,
            stage => new ClearHostPropertyRequest { HostId = stage.HostId, Key = "config" }, _ => new ClearHostPropertyRequest { HostId = "none", Key = "config" }),
        new("ReportHostProperties", Caller.Node,
            stage => new ReportHostPropertiesRequest { HostId = stage.HostId, Properties = { new PropertyReport { Key = "disk", Value = Value.ForNumber(7.5), Generation = 3 } } },
            stage => new ReportHostPropertiesRequest { HostId = stage.HostId, Properties = { new PropertyReport { Key = "Not a key" } } }),
        new("InitConnect", Caller.Owner,
            stage => new InitConnectRequest { TeamId = stage.TeamId, HostName = "new" }, _ => new InitConnectRequest { HostId = "none" }),
        new("CompleteConnect", Caller.Nobody,
            stage => new CompleteConnectRequest { JoinToken = stage.JoinToken, Name = "completed" }, _ => new CompleteConnectRequest { JoinToken = "hjoin_unknown" }),
        new("GetBootstrap", Caller.Nobody, _ => new GetBootstrapRequest(), null),
        new("ValidateJoinToken", Caller.Nobody,
            stage => new ValidateJoinTokenRequest { Token = stage.JoinToken }, _ => new ValidateJoinTokenRequest { Token = "hjoin_unknown" }),
        new("ValidateApiKey", Caller.Nobody,
            stage => new ValidateApiKeyRequest { ApiKey = stage.Key }, _ => new ValidateApiKeyRequest { ApiKey = "rk_live_unknown" }),
        new("GetHostConfig", Caller.Node, stage => new GetHostConfigRequest { HostId = stage.HostId }, _ => new GetHostConfigRequest { HostId = "none" }),
        new("ListHostSecrets", Caller.Node,
            stage => new ListHostSecretsRequest { HostId = stage.HostId }, _ => new ListHostSecretsRequest { HostId = "none" }),
        new("PutHostSecret", Caller.Owner,
            stage => new PutHostSecretRequest
            {
                HostId = stage.HostId, Name = "db", EncryptedValue = new EncryptedValue { Ciphertext = "c", Iv = "i", AuthTag = "t" },
                WrappedDek = new Struct { Fields = { ["alg"] = Value.ForString("x") } },
            },
            stage => new PutHostSecretRequest { HostId = stage.HostId, Name = "db" }),
        new("DeleteHostSecret", Caller.Owner,
            stage => new DeleteHostSecretRequest { HostId = stage.HostId, Name = "db" },
            stage => new DeleteHostSecretRequest { HostId = stage.HostId, Name = "db", Scope = "world" }),
        new("ListHostWebhooks", Caller.Node,
            stage => new ListHostWebhooksRequest { HostId = stage.HostId }, _ => new ListHostWebhooksRequest { HostId = "none" }),
        new("PutHostWebhook", Caller.Owner,
            stage => new PutHostWebhookRequest { HostId = stage.HostId, WebhookId = "gh", Provider = "github", Events = { "push" } },
            stage => new PutHostWebhookRequest { HostId = stage.HostId, WebhookId = "gh" }),
        new("DeleteHostWebhook", Caller.Owner,
            stage => new DeleteHostWebhookRequest { HostId = stage.HostId, WebhookId = "gh" }, _ => new DeleteHostWebhookRequest { HostId = "none", WebhookId = "gh" }),
        new("ListCapabilities", Caller.Owner,
            stage => new ListCapabilitiesRequest { TeamId = stage.TeamId }, _ => new ListCapabilitiesRequest { TeamId = "none" }),
        new("EnableCapability", Caller.Owner,
            _ => new EnableCapabilityRequest { Name = "github", Credentials = { ["access_token"] = "gh-1" } },
            _ => new EnableCapabilityRequest { Name = "github", Credentials = { ["path"] = "x" } }),
        new("DisableCapability", Caller.Owner,
            stage => new DisableCapabilityRequest { Name = "openai", TeamId = stage.TeamId }, _ => new DisableCapabilityRequest { Name = "none" }),
        new("GetCapabilityContext", Caller.Node,
            stage => new GetCapabilityContextRequest { HostId = stage.HostId }, _ => new GetCapabilityContextRequest { HostId = "none" }),
        new("GetGithubToken", Caller.Node,
            stage => new GetGithubTokenRequest { HostId = stage.HostId }, _ => new GetGithubTokenRequest { HostId = "none" }),
        new("IngestTelemetry", Caller.Nobody,
            _ => new IngestTelemetryRequest { HostId = "any", Uptime = 5.5 }, _ => new IngestTelemetryRequest { HostId = new string('x', 101) }),
        new("GetHostTelemetry", Caller.Owner,
            stage => new GetHostTelemetryRequest { HostId = stage.HostId }, _ => new GetHostTelemetryRequest { HostId = "none" }),
        new("ListApprovals", Caller.Owner, stage => new ListApprovalsRequest { TeamId = stage.TeamId }, _ => new ListApprovalsRequest { TeamId = "none" }),
        new("DecideApproval", Caller.Owner,
            stage => new DecideApprovalRequest { ApprovalId = stage.ApprovalId, Decision = "approve", Note = "fine" },
            stage => new DecideApprovalRequest { ApprovalId = stage.ApprovalId, Decision = "perhaps" }),
        new("ListHostApprovals", Caller.Owner,
            stage => new ListHostApprovalsRequest { HostId = stage.HostId }, _ => new ListHostApprovalsRequest { HostId = "none" }),
        new("DecideHostApproval", Caller.Owner,
            stage => new DecideHostApprovalRequest { HostId = stage.HostId, TaskId = stage.ApprovalId, Decision = "reject" },
            stage => new DecideHostApprovalRequest { HostId = stage.HostId, TaskId = "none", Decision = "reject" }),
        new("ListApprovalPolicies", Caller.Owner,
            stage => new ListApprovalPoliciesRequest { TeamId = stage.TeamId }, _ => new ListApprovalPoliciesRequest { TeamId = "none" }),
        new("PutApprovalPolicy", Caller.Owner,
            stage => new PutApprovalPolicyRequest { TeamId = stage.TeamId, PolicyId = "vm", CommandTypes = { "vm.*" }, CreatorMayDecide = true },
            stage => new PutApprovalPolicyRequest { TeamId = stage.TeamId, PolicyId = "vm", CommandTypes = { "a*b" } }),
        new("DeleteApprovalPolicy", Caller.Owner,
            stage => new DeleteApprovalPolicyRequest { PolicyId = "vm", TeamId = stage.TeamId },
            _ => new DeleteApprovalPolicyRequest { PolicyId = "vm", TeamId = "none" }),
        new("RequestTaskCreation", Caller.Owner,
            stage => new RequestTaskCreationRequest { HostId = stage.HostId, Title = "T", DoneCriteria = { "done" } },
            stage => new RequestTaskCreationRequest { HostId = stage.HostId }),
        new("RequestTaskReview", Caller.Owner,
            stage => new RequestTaskReviewRequest { HostId = stage.HostId, TaskId = "t1", Decision = "approve" },
            stage => new RequestTaskReviewRequest { HostId = stage.HostId, TaskId = "t1", Decision = "perhaps" }),
        new("RequestInsightPromotion", Caller.Owner,
            stage => new RequestInsightPromotionRequest { HostId = stage.HostId, InsightId = "ins-1" },
            stage => new RequestInsightPromotionRequest { HostId = stage.HostId, InsightId = "ins-1", Priority = "P9" }),
        new("RequestRunDecision", Caller.Owner,
            stage => new RequestRunDecisionRequest { HostId = stage.HostId, EventId = "ev-1", Decision = "defer", Rationale = Value.ForString("later") },
            stage => new RequestRunDecisionRequest { HostId = stage.HostId, EventId = "ev-1", Decision = "defer", Rationale = Value.ForNumber(1) }),
        new("RequestContextSync", Caller.Owner,
            stage => new RequestContextSyncRequest { HostId = stage.HostId, Agent = "main" }, _ => new RequestContextSyncRequest { HostId = "none", Agent = "main" }),
        new("ListWriteBacks", Caller.Owner,
            stage => new ListWriteBacksRequest { HostId = stage.HostId }, stage => new ListWriteBacksRequest { HostId = stage.HostId, PageSize = -1 }),
        new("ReleaseHost", Caller.Owner, stage => new ReleaseHostRequest { HostId = stage.HostId }, _ => new ReleaseHostRequest { HostId = "none" }),
        new("RotateHostCredential", Caller.Owner,
            stage => new RotateHostCredentialRequest { HostId = stage.HostId }, stage => new RotateHostCredentialRequest { HostId = stage.HostId },
            SucceedsOnALink: true),
        new("DeleteHost", Caller.Owner, stage => new DeleteHostRequest { HostId = stage.HostId }, _ => new DeleteHostRequest { HostId = "none" }),
        new("SyncTasks", Caller.Node,
            stage => new SyncTasksRequest { HostId = stage.HostId, Tasks = { new HostTask { Id = "t2", Title = "T", Status = "todo" }, new HostTask() } },
            _ => new SyncTasksRequest { HostId = "none" }),
        new("ListTasks", Caller.Owner,
            stage => new ListTasksRequest { HostId = stage.HostId, Status = "doing" },
            stage => new ListTasksRequest { HostId = stage.HostId, PageToken = "not a token" }),
        new("GetTask", Caller.Owner,
            stage => new GetTaskRequest { HostId = stage.HostId, TaskId = "t1" }, stage => new GetTaskRequest { HostId = stage.HostId, TaskId = "none" }),
        new("UpdateTask", Caller.Owner,
            stage => new UpdateTaskRequest { HostId = stage.HostId, TaskId = "t1", Status = "done", Assignee = "" },
            stage => new UpdateTaskRequest { HostId = stage.HostId, TaskId = "t1", Title = new string('x', 2_001) }),
        new("ListTaskComments", Caller.Owner,
            stage => new ListTaskCommentsRequest { HostId = stage.HostId, TaskId = "t1" },
            stage => new ListTaskCommentsRequest { HostId = stage.HostId, TaskId = "t1", PageToken = "not a token" }),
        new("CreateTaskComment", Caller.Owner,
            stage => new CreateTaskCommentRequest { HostId = stage.HostId, TaskId = "t1", Content = "c", Author = "a" },
            stage => new CreateTaskCommentRequest { HostId = stage.HostId, TaskId = "none", Content = "c" }),
        new("ListConflicts", Caller.Owner,
            stage => new ListConflictsRequest { HostId = stage.HostId, IncludeResolved = true }, _ => new ListConflictsRequest { HostId = "none" }),
        new("ResolveConflict", Caller.Owner,
            stage => new ResolveConflictRequest { HostId = stage.HostId, ConflictId = stage.ConflictId, Keep = ConflictSide.Cloud },
            stage => new ResolveConflictRequest { HostId = stage.HostId, ConflictId = "none" }),
        new("SyncReflections", Caller.Node,
            stage => new SyncReflectionsRequest { HostId = stage.HostId, Reflections = { new Reflection { Id = "r2", Confidence = 7.5 }, new Reflection() } },
            _ => new SyncReflectionsRequest { HostId = "none" }),
        new("ListReflections", Caller.Owner,
            stage => new ListReflectionsRequest { HostId = stage.HostId, Severity = "high" },
            stage => new ListReflectionsRequest { HostId = stage.HostId, PageSize = -1 }),
        new("GetReflection", Caller.Owner,
            stage => new GetReflectionRequest { HostId = stage.HostId, ReflectionId = "r1" },
            stage => new GetReflectionRequest { HostId = stage.HostId, ReflectionId = "none" }),
        new("SyncInsights", Caller.Node,
            stage => new SyncInsightsRequest { HostId = stage.HostId, Insights = { new Insight { Id = "i2", Score = 9.25 } } },
            _ => new SyncInsightsRequest { HostId = "none" }),
        new("ListInsights", Caller.Owner,
            stage => new ListInsightsRequest { HostId = stage.HostId, Status = "candidate" },
            stage => new ListInsightsRequest { HostId = stage.HostId, PageToken = "not a token" }),
        new("GetInsight", Caller.Owner,
            stage => new GetInsightRequest { HostId = stage.HostId, InsightId = "i1" },
            stage => new GetInsightRequest { HostId = stage.HostId, InsightId = "none" }),
        new("SyncRuns", Caller.Node,
            stage => new SyncRunsRequest { HostId = stage.HostId, Runs = { new AgentRun { Id = "run2", CostUsd = 0.25 } } },
            _ => new SyncRunsRequest { HostId = "none" }),
        new("ListRuns", Caller.Owner,
            stage => new ListRunsRequest { HostId = stage.HostId, AgentId = "main" }, stage => new ListRunsRequest { HostId = stage.HostId, PageSize = -1 }),
        new("GetRun", Caller.Owner,
            stage => new GetRunRequest { HostId = stage.HostId, RunId = "run1" }, stage => new GetRunRequest { HostId = stage.HostId, RunId = "none" }),
        new("PushRunEvents", Caller.Node,
            stage => new PushRunEventsRequest { HostId = stage.HostId, RunId = "run1", Events = { new RunEvent { Id = "e2", Type = "completed" } } },
            _ => new PushRunEventsRequest { HostId = "none", RunId = "run1" }),
        new("ListRunEvents", Caller.Owner,
            stage => new ListRunEventsRequest { HostId = stage.HostId, RunId = "run1" }, _ => new ListRunEventsRequest { HostId = "none", RunId = "run1" }),
        new("SyncTrustEvents", Caller.Node,
            stage => new SyncTrustEventsRequest { HostId = stage.HostId, Events = { new TrustEvent { Id = "trust1", Severity = "critical" } } },
            _ => new SyncTrustEventsRequest { HostId = "none" }),
        new("ListTrustEvents", Caller.Owner,
            stage => new ListTrustEventsRequest { HostId = stage.HostId, Severity = "critical" }, _ => new ListTrustEventsRequest { HostId = "none" }),
        new("SyncRunApprovals", Caller.Node,
            stage => new SyncRunApprovalsRequest { HostId = stage.HostId, Items = { new RunApproval { EventId = "ask2", Urgency = "normal" } } },
            _ => new SyncRunApprovalsRequest { HostId = "none" }),
        new("ListRunApprovals", Caller.Owner,
            stage => new ListRunApprovalsRequest { HostId = stage.HostId, Urgency = "blocking" }, _ => new ListRunApprovalsRequest { HostId = "none" }),
        new("ListDecisions", Caller.Node, stage => new ListDecisionsRequest { HostId = stage.HostId }, _ => new ListDecisionsRequest { HostId = "none" }),
        new("CreateDecision", Caller.Owner,
            stage => new CreateDecisionRequest { HostId = stage.HostId, EventId = "ask1", Decision = "approve" },
            stage => new CreateDecisionRequest { HostId = stage.HostId, EventId = "ask1", Decision = "maybe" }),
        new("AckDecisions", Caller.Node,
            stage => new AckDecisionsRequest { HostId = stage.HostId, EventIds = { "ask1" } }, _ => new AckDecisionsRequest { HostId = "none" }),
        new("SyncUsage", Caller.Node,
            stage => new SyncUsageRequest { HostId = stage.HostId, Summary = new UsageTotals { Period = "total", TotalCostUsd = 0.25 } },
            _ => new SyncUsageRequest { HostId = "none" }),
        new("GetUsage", Caller.Owner, stage => new GetUsageRequest { HostId = stage.HostId }, _ => new GetUsageRequest { HostId = "none" }),
        new("ListUsageLedger", Caller.Owner,
            stage => new ListUsageLedgerRequest { HostId = stage.HostId }, stage => new ListUsageLedgerRequest { HostId = stage.HostId, PageToken = "not a token" }),
        new("SyncContext", Caller.Node,
            stage => new SyncContextRequest { HostId = stage.HostId, Agent = "other", Layers = { ["team_shared"] = new ContextLayer { UsedTokens = 3 } } },
            _ => new SyncContextRequest { HostId = "none" }),
        new("ListContexts", Caller.Owner, stage => new ListContextsRequest { HostId = stage.HostId }, _ => new ListContextsRequest { HostId = "none" }),
        new("GetContext", Caller.Owner,
            stage => new GetContextRequest { HostId = stage.HostId, Agent = "main" }, stage => new GetContextRequest { HostId = stage.HostId, Agent = "none" }),
        new("CreateFeedback", Caller.Owner,
            stage => new CreateFeedbackRequest { HostId = stage.HostId, Message = "m", Rating = 5, IdempotencyKey = "k" },
            stage => new CreateFeedbackRequest { HostId = stage.HostId, Message = "m", Rating = 6 }),
        new("ListFeedback", Caller.Owner,
            stage => new ListFeedbackRequest { TeamId = stage.TeamId, Status = FeedbackStatus.Open }, _ => new ListFeedbackRequest { TeamId = "none" }),
        new("GetFeedback", Caller.Owner,
            stage => new GetFeedbackRequest { FeedbackId = stage.FeedbackId }, _ => new GetFeedbackRequest { FeedbackId = "none" }),
        new("UpdateFeedback", Caller.Owner,
            stage => new UpdateFeedbackRequest { FeedbackId = stage.FeedbackId, Status = FeedbackStatus.Closed },
            stage => new UpdateFeedbackRequest { FeedbackId = stage.FeedbackId, Status = FeedbackStatus.Closed, ExpectedVersion = 7 }),
        new("SendEmail", Caller.Node,
            stage => new SendEmailRequest { HostId = stage.HostId, Message = TextOf("subject") }, _ => new SendEmailRequest { HostId = "none" }),
        new("SendSms", Caller.Node,
            stage => new SendSmsRequest { HostId = stage.HostId, Message = TextOf("body") }, _ => new SendSmsRequest { HostId = "none" }),
        new("ListBrowserSessions", Caller.Node,
            stage => new ListBrowserSessionsRequest { HostId = stage.HostId, Limit = 5 }, _ => new ListBrowserSessionsRequest { HostId = "none" }),
        new("CreateBrowserSession", Caller.Node,
            stage => new CreateBrowserSessionRequest { HostId = stage.HostId, Session = TextOf("url") },
            _ => new CreateBrowserSessionRequest { HostId = "none" }),
        new("StartBrowserRun", Caller.Node,
            stage => new StartBrowserRunRequest { HostId = stage.HostId, SessionId = "s", Run = TextOf("goal") },
            _ => new StartBrowserRunRequest { HostId = "none", SessionId = "s" }),
        new("PushCanvas", Caller.Node,
            stage => new PushCanvasRequest { HostId = stage.HostId, State = new CanvasState { PushedAt = 7 } }, _ => new PushCanvasRequest { HostId = "none" }),
        new("GetCanvas", Caller.Owner, stage => new GetCanvasRequest { HostId = stage.HostId }, _ => new GetCanvasRequest { HostId = "none" }),
        new("ClearCanvas", Caller.Node, stage => new ClearCanvasRequest { HostId = stage.HostId }, _ => new ClearCanvasRequest { HostId = "none" }),
        new("ShowCanvasCard", Caller.Node,
            stage => new ShowCanvasCardRequest { HostId = stage.HostId, Card = new Struct() }, _ => new ShowCanvasCardRequest { HostId = "none" }),
        new("CreateCanvasQuery", Caller.Owner,
            stage => new CreateCanvasQueryRequest { HostId = stage.HostId, Query = "how far?", SessionId = "s" },
            stage => new CreateCanvasQueryRequest { HostId = stage.HostId }),
        new("ListPendingCanvasQueries", Caller.Owner,
            stage => new ListPendingCanvasQueriesRequest { HostId = stage.HostId }, _ => new ListPendingCanvasQueriesRequest { HostId = "none" }),
        new("AckCanvasQueries", Caller.Node,
            stage => new AckCanvasQueriesRequest { HostId = stage.HostId, QueryIds = { "q" } }, _ => new AckCanvasQueriesRequest { HostId = "none" }),
        new("CallPerson", Caller.Node,
            stage => new CallPersonRequest { HostId = stage.HostId, AgentId = "main", TaskTitle = "T" }, _ => new CallPersonRequest { HostId = "none" }),
        new("SyncChat", Caller.Node,
            stage => new SyncChatRequest { HostId = stage.HostId, Messages = { new ChatMessage { Id = "m2", Content = "c", Timestamp = 5 } } },
            _ => new SyncChatRequest { HostId = "none" }),
        new("ListChat", Caller.Owner,
            stage => new ListChatRequest { HostId = stage.HostId, Channel = "ops" }, stage => new ListChatRequest { HostId = stage.HostId, PageSize = -1 }),
        new("SendChat", Caller.Owner,
            stage => new SendChatRequest { HostId = stage.HostId, Content = "hello", From = "me" }, stage => new SendChatRequest { HostId = stage.HostId }),
        new("CreateCommand", Caller.Owner,
            stage => new CreateCommandRequest { HostId = stage.HostId, Type = "echo", MaxAttempts = 2, AcceptWithin = Duration.FromTimeSpan(TimeSpan.FromMinutes(2)) },
            stage => new CreateCommandRequest { HostId = stage.HostId, Type = "another", IdempotencyKey = Stage.CommandKey }),
        new("ListCommands", Caller.Owner,
            stage => new ListCommandsRequest { HostId = stage.HostId, Status = "pending" },
            stage => new ListCommandsRequest { HostId = stage.HostId, Status = "no such word" }),
        new("GetCommand", Caller.Owner,
            stage => new GetCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId },
            stage => new GetCommandRequest { HostId = stage.HostId, CommandId = "none" }),
        new("ExplainCommand", Caller.Owner,
            stage => new ExplainCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId },
            stage => new ExplainCommandRequest { HostId = stage.HostId, CommandId = "none" }),
        new("CancelCommand", Caller.Owner,
            stage => new CancelCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Reason = "why" },
            stage => new CancelCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Reason = new string('x', 501) }),
        new("DecideCommand", Caller.Owner,
            stage => new DecideCommandRequest { HostId = stage.HostId, CommandId = stage.ApprovalId, Approve = true },
            stage => new DecideCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Approve = true }),
        new("AckCommand", Caller.Node,
            stage => new AckCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Action = "complete", Result = Value.ForString("r") },
            stage => new AckCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Action = "shout" }),
        new("PutCommandResult", Caller.Node,
            stage => new PutCommandResultRequest { HostId = stage.HostId, CommandId = stage.CommandId, Result = Value.ForNumber(7.5) },
            stage => new PutCommandResultRequest { HostId = stage.HostId, CommandId = "none" }),
        new("CreateWatchTicket", Caller.Owner,
            stage => new CreateWatchTicketRequest { TeamId = stage.TeamId }, _ => new CreateWatchTicketRequest { TeamId = "none" }),
    ];

    private enum Caller
    {
        Nobody,
        Owner,
        ApiKey,
        Node,
    }

    [Fact]
    public void Table_HasARowForEveryUnaryRpcWithAnHttpRule()
    {
        var unary = RuledMethod.All.Where(route => !route.Method.IsServerStreaming).Select(route => route.Method.Name);

        Assert.Equal(unary.Order(), Rows.Select(row => row.Rpc).Order());
    }

    [Fact]
    public async Task EveryUnaryRpc_ByGrpcAndByRest_GivesTheSameAnswer()
    {
        // The clock stands still, so that times are alike as well.
        await using var relay = await RelayPeer.StartAsync();
        await using var hub = await HubHost.StartAsync(
            fixture, await fixture.CreateDatabaseAsync(), new ManualTimeProvider(),
            (HubSettings.SecretsKeyKey, Convert.ToBase64String(new byte[32])), (HubSettings.RelayUrlKey, relay.Url.AbsoluteUri));
        var faults = new List<string>();
        foreach (var row in Rows)
        {
            var (one, two) = (await Stage.SetAsync(hub), await Stage.SetAsync(hub));
            await using var linkOfOne = row.SucceedsOnALink ? await one.ConnectAsync(hub) : null;
            await using var linkOfTwo = row.SucceedsOnALink ? await two.ConnectAsync(hub) : null;
            var byGrpc = await GrpcAsync(hub, row, row.Request(one), one);
            var byRest = await RestAsync(hub, row, row.Request(two), two);
            if (byGrpc.Error is not null || byRest.HttpStatus is < 200 or >= 300)
            {
                faults.Add($"{row.Rpc} failed: {byGrpc.Error?.Message} / {byRest.HttpStatus} {byRest.Text}");
                continue;
            }

            var (left, right) = (Comparable(byGrpc.Answer!, one), Comparable(ReadAnswer(row, byRest.Text), two));
            if (!left.Equals(right))
            {
                faults.Add($"{row.Rpc} differs:{Environment.NewLine}{left}{Environment.NewLine}{right}");
            }
        }

        Assert.Empty(faults);
    }

    [Fact]
    public async Task EveryUnaryRpc_ByGrpcAndByRest_GivesTheSameRefusal()
    {
        await using var hub = await HubHost.StartAsync(
            fixture, await fixture.CreateDatabaseAsync(), new ManualTimeProvider(), (HubSettings.SecretsKeyKey, Convert.ToBase64String(new byte[32])));
        var faults = new List<string>();
        foreach (var row in Rows.Where(row => row.Refused is not null))
        {
            var (one, two) = (await Stage.SetAsync(hub), await Stage.SetAsync(hub));
            var byGrpc = await GrpcAsync(hub, row, row.Refused!(one), one);
            var byRest = await RestAsync(hub, row, row.Refused!(two), two);
            if (Refusal.Of(byGrpc.Error, one) is var left && Refusal.Of(byRest.HttpStatus, byRest.Text, two) is var right && left != right)
            {
                faults.Add($"{row.Rpc} differs:{Environment.NewLine}{left}{Environment.NewLine}{right}");
            }
        }

        Assert.Empty(faults);
    }

    private static Struct TextOf(string field) => new() { Fields = { [field] = Value.ForString("text") } };

    private static RuledMethod RouteOf(Row row) => RuledMethod.All.Single(route => route.Method.Name == row.Rpc);

    private static async Task<(IMessage? Answer, RpcException? Error)> GrpcAsync(HubHost hub, Row row, IMessage request, Stage stage)
    {
        var descriptor = RouteOf(row).Method;
        var method = new Method<IMessage, IMessage>(
            MethodType.Unary, descriptor.Service.FullName, descriptor.Name,
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.InputType.Parser.ParseFrom),
            Marshallers.Create<IMessage>(message => message.ToByteArray(), descriptor.OutputType.Parser.ParseFrom));
        var options = stage.TokenOf(row.Caller) is { } token ? HubHost.With(token) : default;
        try
        {
            return (await hub.Channel.CreateCallInvoker().AsyncUnaryCall(method, null, options, request).ResponseAsync.Within(), null);
        }
        catch (RpcException e)
        {
            return (null, e);
        }
    }

    private static async Task<(int HttpStatus, string Text)> RestAsync(HubHost hub, Row row, IMessage message, Stage stage)
    {
        var route = RouteOf(row);
        var json = JsonNode.Parse(JsonFormatter.Default.Format(message))!.AsObject();
        var fields = message.Descriptor.Fields;
        var path = route.Path(field =>
        {
            var name = fields[field].JsonName;
            var value = json[name]!.GetValue<string>();
            json.Remove(name);
            return Uri.EscapeDataString(value);
        });
        var query = route.HasBody ? [] : json.Select(pair => $"{pair.Key}={Uri.EscapeDataString(pair.Value!.ToString())}").ToArray();
        using var request = new HttpRequestMessage(route.Http, query.Length == 0 ? path : $"{path}?{string.Join('&', query)}");
        if (route.HasBody)
        {
            request.Content = new StringContent((route.Body == "*" ? json : json[fields[route.Body].JsonName] ?? new JsonObject()).ToJsonString(), Encoding.UTF8, "application/json");
        }

        if (stage.TokenOf(row.Caller) is { } token)
        {
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
        }

        using var response = await hub.Rest.SendAsync(request).Within();
        return ((int)response.StatusCode, await response.Content.ReadAsStringAsync().Within());
    }

    private static IMessage ReadAnswer(Row row, string text)
    {
        var descriptor = RouteOf(row).Method.OutputType;
        if (descriptor.Fields.InFieldNumberOrder() is [{ FieldType: FieldType.Message } raw] && raw.MessageType == HttpBody.Descriptor)
        {
            var message = (IMessage)Activator.CreateInstance(descriptor.ClrType)!;
            raw.Accessor.SetValue(message, new HttpBody { ContentType = "text/markdown; charset=utf-8", Data = ByteString.CopyFromUtf8(text) });
            return message;
        }

        var json = JsonNode.Parse(text)!;
        if (RouteOf(row).Method.GetOptions().GetExtension(RestExtensions.Rest)?.ResponseField is { Length: > 0 } whole)
        {
            json = new JsonObject { [whole] = json };
        }

        LengthenEnums(json, descriptor);
        return new JsonParser(JsonParser.Settings.Default).Parse(json.ToJsonString(), descriptor);
    }

    /// <summary>The surface shows enum values without their prefix; the ordinary parser wants it.</summary>
    private static void LengthenEnums(JsonNode node, MessageDescriptor descriptor)
    {
        if (node is not JsonObject json || descriptor.FullName.StartsWith("google.protobuf.", StringComparison.Ordinal))
        {
            return;
        }

        foreach (var field in descriptor.Fields.InFieldNumberOrder().Where(field => !field.IsMap && json[field.JsonName] is not null))
        {
            var value = json[field.JsonName]!;
            if (field.FieldType == FieldType.Enum)
            {
                var shown = value.GetValue<string>();
                json[field.JsonName] = field.EnumType.Values.Single(item => item.Name == shown || item.Name.EndsWith($"_{shown}", StringComparison.Ordinal)).Name;
            }
            else if (field.FieldType == FieldType.Message)
            {
                foreach (var item in value is JsonArray list ? list.ToArray() : [value])
                {
                    LengthenEnums(item!, field.MessageType);
                }
            }
        }
    }

    /// <summary>The answer without what two calls cannot have in common: what is of their stage, and secrets.</summary>
    private static IMessage Comparable(IMessage answer, Stage stage)
    {
        var json = Secrets().Replace(stage.Blank(JsonFormatter.Default.Format(answer)), "<secret>");
        return JsonParser.Default.Parse(Ids().Replace(json, "\"<id>\""), answer.Descriptor);
    }

    [GeneratedRegex("(hcred|hjoin|hwatch)_[A-Za-z0-9_-]{40,}")]
    private static partial Regex Secrets();

    [GeneratedRegex("\"(host|cmd|msg|key|cred|comment|query|feedback)-[0-9a-f-]{36}\"")]
    private static partial Regex Ids();

    private sealed record Row(string Rpc, Caller Caller, Func<Stage, IMessage> Request, Func<Stage, IMessage>? Refused, bool SucceedsOnALink = false);

    /// <summary>A refusal as both kinds of client see it.</summary>
    private sealed record Refusal(int Grpc, int Http, string Reason, string Message, string Details)
    {
        public static Refusal Of(RpcException? error, Stage stage)
        {
            var info = error?.GetRpcStatus()?.GetDetail<ErrorInfo>();
            Assert.True(info is not null, $"not refused, or without a reason: {error}");
            var status = ErrorReasonReflection.Descriptor.EnumTypes[0].FindValueByName($"ERROR_REASON_{info.Reason}").GetOptions()
                .GetExtension(RestExtensions.ErrorStatus);
            Assert.Equal(status.Grpc, (int)error!.StatusCode);
            return new Refusal(
                status.Grpc, status.Http, info.Reason, stage.Blank(error.Status.Detail),
                stage.Blank(string.Join(';', info.Metadata.OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}"))));
        }

        public static Refusal Of(int httpStatus, string text, Stage stage)
        {
            var json = JsonNode.Parse(text)!;
            var code = json["code"]!.GetValue<string>();
            var details = json["details"]?.AsObject().OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => $"{pair.Key}={pair.Value}") ?? [];
            return new Refusal(
                (int)System.Enum.Parse<StatusCode>(code.Replace("_", "", StringComparison.Ordinal), ignoreCase: true), httpStatus,
                json["reason"]?.GetValue<string>() ?? "", stage.Blank(json["error"]!.GetValue<string>()), stage.Blank(string.Join(';', details)));
        }
    }

    /// <summary>A team with a host that has a task, a message and commands; every call has one of its own.</summary>
    private sealed record Stage(string TeamId, string HostId, string CommandId, string ApprovalId, string JoinToken, string OwnerToken, string Key, string Credential)
    {
        public const string CommandKey = "command-key";

        private static int _count;

        /// <summary>Its item of feedback.</summary>
        public required string FeedbackId { get; init; }

        public string ConflictId => $"conflict-{TeamId}";

        public static async Task<Stage> SetAsync(HubHost hub)
        {
            var teamId = $"team-{Interlocked.Increment(ref _count):D6}";
            var accounts = hub.Service<Accounts>();
            await accounts.EnsureTeamAsync(teamId, CancellationToken.None);
            var ownerToken = await accounts.IssueUserTokenAsync(
                $"{teamId}@example.com", teamId, TeamRole.Owner, TimeSpan.FromHours(1), CancellationToken.None);
            var key = await accounts.IssueApiKeyAsync(teamId, "key", TeamRole.Member, "test", CancellationToken.None);
            using var owner = hub.As(ownerToken);
            async Task<string> JoinToken() => (await owner.WriteAsync("/api/hosts/register-token", "{}")).Expect(201).String("registerToken.joinToken");

            var claimed = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = await JoinToken(), name = "node" })).Expect(201);
            var hostId = claimed.String("host.id");
            using var node = hub.As(claimed.String("credential.token"));
            await node.WriteAsync($"/api/hosts/{hostId}/tasks/sync", """{"tasks":[{"id":"t1","title":"T","status":"doing","assignee":"a"}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/chat/sync", """{"messages":[{"id":"m1","from":"f","content":"c","timestamp":7,"channel":"ops"}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/reflections/sync", """{"reflections":[{"id":"r1","severity":"high","updated_at":7}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/insights/sync", """{"insights":[{"id":"i1","status":"candidate","updated_at":7}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/runs/sync", """{"runs":[{"id":"run1","agentId":"main","updatedAt":7}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/runs/run1/stream", """{"events":[{"id":"e1","type":"run_created","createdAt":7}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/run-approvals", """{"items":[{"eventId":"ask1","urgency":"blocking"}]}""");
            await node.WriteAsync($"/api/hosts/{hostId}/context/sync", """{"agent":"main","computed_at":7}""");
            await node.WriteAsync($"/api/hosts/{hostId}/usage/sync", """{"byAgent":[{"agent":"main","total_cost_usd":0.5}]}""");
            await hub.Store.WriteAsync(teamId, tx => tx.Execute(
                """
                insert into sync_conflicts (conflict_id, team_id, host_id, collection, record_id, base_version, stored_version, incoming_version, created_at)
                values (@conflictId, @teamId, @hostId, 'tasks', 't1', 1, 2, 3, 4)
                """,
                new { conflictId = $"conflict-{teamId}", teamId, hostId }));
            await owner.WriteAsync($"/api/hosts/{hostId}/chat", new { content = "to the node" });
            var command = await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo", idempotency_key = CommandKey });
            (await owner.CallAsync(
                HttpMethod.Put, "/api/capabilities/github", new { credentials = new { access_token = "gh-0" } })).Expect(200);
            hub.Service<TelemetryBoard>().Take(teamId, new IngestTelemetryRequest { HostId = hostId, Version = "1.0" });
            var approval = await owner.WriteAsync($"/api/hosts/{hostId}/commands", new { type = "echo", requires_approval = true });
            return new Stage(
                teamId, hostId, command.String("command.id"), approval.String("command.id"), await JoinToken(), ownerToken, key,
                claimed.String("credential.token"))
            {
                FeedbackId = (await owner.WriteAsync("/api/feedback", new { message = "m" })).Expect(201).String("feedback.id"),
            };
        }

        public async Task<RawNode> ConnectAsync(HubHost hub)
        {
            var node = await RawNode.ConnectAsync(hub, Credential);
            await node.ReadAsync();
            return node;
        }

        public string? TokenOf(Caller caller) => caller switch
        {
            Caller.Owner => OwnerToken,
            Caller.ApiKey => Key,
            Caller.Node => Credential,
            _ => null,
        };

        public string Blank(string text) => text
            .Replace(CommandId, "<command>", StringComparison.Ordinal)
            .Replace(ApprovalId, "<approval>", StringComparison.Ordinal)
            .Replace(FeedbackId, "<feedback>", StringComparison.Ordinal)
            .Replace(HostId, "<host>", StringComparison.Ordinal)
            .Replace(TeamId, "<team>", StringComparison.Ordinal);
    }
}

public sealed class SqliteRpcAndRestTests(SqliteStoreFixture fixture) : RpcAndRestTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresRpcAndRestTests(PostgresStoreFixture fixture) : RpcAndRestTests(fixture), IClassFixture<PostgresStoreFixture>;
