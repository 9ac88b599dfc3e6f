using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;

namespace Hub.IntegrationTests.Contract;

/// <summary>Who makes the call that succeeds.</summary>
internal enum Caller
{
    Nobody,
    Owner,
    ApiKey,
    Node,

    /// <summary>A person of another team.</summary>
    Guest,
}

/// <summary>Who may make a call.</summary>
internal enum Needs
{
    /// <summary>Anybody: no credential, or one in the body.</summary>
    Nothing,

    /// <summary>Any person: it is about the caller.</summary>
    Person,

    /// <summary>Any node: it is about the caller.</summary>
    AnyNode,

    /// <summary>The host's own node.</summary>
    Node,

    Viewer,
    ViewerOrNode,
    Member,
    MemberOrNode,
    Admin,
    Owner,
}

/// <summary>How an RPC is called: with success, and in a way it refuses.</summary>
internal sealed record RpcRow(
    string Rpc, Caller Caller, Needs Needs, Func<Stage, IMessage> Request, Func<Stage, IMessage>? Refused, bool SucceedsOnALink = false);

/// <summary>Every RPC of hub.v1, once. The tests that walk it compare it with the descriptors, so a new RPC fails them until it has a row.</summary>
internal static class RpcRows
{
    /// <summary>What can be reached by REST and has one answer.</summary>
    public static IReadOnlyList<RpcRow> Unary { get; } =
    [
        new("GetHealth", Caller.Nobody, Needs.Nothing, _ => new GetHealthRequest(), null),
        new("CreateJoinToken", Caller.Owner, Needs.Member, stage => new CreateJoinTokenRequest { TeamId = stage.TeamId }, _ => new CreateJoinTokenRequest { TeamId = "none" }),
        new("ClaimHost", Caller.Nobody, Needs.Nothing,
            stage => new ClaimHostRequest { JoinToken = stage.JoinToken, Name = "claimed", Capabilities = { "tasks" } },
            _ => new ClaimHostRequest { JoinToken = "hjoin_unknown" }),
        new("EnrollHost", Caller.ApiKey, Needs.Member,
            _ => new EnrollHostRequest { Name = "enrolled", HostType = "vm", IdempotencyKey = "k" }, _ => new EnrollHostRequest()),
        new("ListHosts", Caller.Owner, Needs.Viewer, stage => new ListHostsRequest { TeamId = stage.TeamId }, _ => new ListHostsRequest { PageSize = 1_001 }),
        new("GetHost", Caller.Owner, Needs.ViewerOrNode, stage => new GetHostRequest { HostId = stage.HostId }, _ => new GetHostRequest { HostId = "none" }),
        new("Heartbeat", Caller.Node, Needs.MemberOrNode,
            stage => new HeartbeatRequest { HostId = stage.HostId, ContractVersion = Value.ForString("host-heartbeat.v1"), Timestamp = 1_795_220_370_140 },
            _ => new HeartbeatRequest { HostId = "none" }),
        new("RevokeHostCredential", Caller.Owner, Needs.Admin,
            stage => new RevokeHostCredentialRequest { HostId = stage.HostId, Reason = "why" }, _ => new RevokeHostCredentialRequest { HostId = "none" }),
        new("UpdateHost", Caller.Owner, Needs.Member,
            stage => new UpdateHostRequest { HostId = stage.HostId, Name = "renamed", Labels = new Struct { Fields = { ["env"] = Value.ForString("prod") } } },
            stage => new UpdateHostRequest { HostId = stage.HostId, Name = "" }),
        new("GetHostPresence", Caller.Owner, Needs.ViewerOrNode,
            stage => new GetHostPresenceRequest { HostId = stage.HostId }, _ => new GetHostPresenceRequest { HostId = "none" }),
        new("ListHostActivity", Caller.Owner, Needs.ViewerOrNode,
            stage => new ListHostActivityRequest { HostId = stage.HostId }, stage => new ListHostActivityRequest { HostId = stage.HostId, PageSize = 1_001 }),
        new("ExplainHost", Caller.Owner, Needs.ViewerOrNode, stage => new ExplainHostRequest { HostId = stage.HostId }, _ => new ExplainHostRequest { HostId = "none" }),
        new("ListHostProperties", Caller.Node, Needs.ViewerOrNode,
            stage => new ListHostPropertiesRequest { HostId = stage.HostId }, _ => new ListHostPropertiesRequest { HostId = "none" }),
        new("SetHostProperty", Caller.Owner, Needs.Member,
            stage => new SetHostPropertyRequest { HostId = stage.HostId, Key = "node_version", Value = Value.ForString("2.0") },
            stage => new SetHostPropertyRequest { HostId = stage.HostId, Key = "node_version", Value = Value.ForString("2.0"), ExpectedGeneration = 7 }),
        new("ClearHostProperty", Caller.Owner, Needs.Member,
            stage => new ClearHostPropertyRequest { HostId = stage.HostId, Key = "config" }, _ => new ClearHostPropertyRequest { HostId = "none", Key = "config" }),
        new("ReportHostProperties", Caller.Node, Needs.Node,
            stage => new ReportHostPropertiesRequest { HostId = stage.HostId, Properties = { new PropertyReport { Key = "disk", Value = Value.ForNumber(7.5), Generation = 3 } } },
            stage => new ReportHostPropertiesRequest { HostId = stage.HostId, Properties = { new PropertyReport { Key = "Not a key" } } }),
        new("InitConnect", Caller.Owner, Needs.Member,
            stage => new InitConnectRequest { TeamId = stage.TeamId, HostName = "new" }, _ => new InitConnectRequest { HostId = "none" }),
        new("CompleteConnect", Caller.Nobody, Needs.Nothing,
            stage => new CompleteConnectRequest { JoinToken = stage.JoinToken, Name = "completed" }, _ => new CompleteConnectRequest { JoinToken = "hjoin_unknown" }),
        new("GetBootstrap", Caller.Nobody, Needs.Nothing, _ => new GetBootstrapRequest(), null),
        new("ValidateJoinToken", Caller.Nobody, Needs.Nothing,
            stage => new ValidateJoinTokenRequest { Token = stage.JoinToken }, _ => new ValidateJoinTokenRequest { Token = "hjoin_unknown" }),
        new("ValidateApiKey", Caller.Nobody, Needs.Nothing,
            stage => new ValidateApiKeyRequest { ApiKey = stage.Key }, _ => new ValidateApiKeyRequest { ApiKey = "rk_live_unknown" }),
        new("ReleaseHost", Caller.Owner, Needs.Admin, stage => new ReleaseHostRequest { HostId = stage.HostId }, _ => new ReleaseHostRequest { HostId = "none" }),
        new("RotateHostCredential", Caller.Owner, Needs.Admin,
            stage => new RotateHostCredentialRequest { HostId = stage.HostId }, stage => new RotateHostCredentialRequest { HostId = stage.HostId },
            SucceedsOnALink: true),
        new("DeleteHost", Caller.Owner, Needs.Admin, stage => new DeleteHostRequest { HostId = stage.HostId }, _ => new DeleteHostRequest { HostId = "none" }),
        new("SyncTasks", Caller.Node, Needs.Node,
            stage => new SyncTasksRequest { HostId = stage.HostId, Tasks = { new HostTask { Id = "t2", Title = "T", Status = "todo" }, new HostTask() } },
            _ => new SyncTasksRequest { HostId = "none" }),
        new("ListTasks", Caller.Owner, Needs.ViewerOrNode,
            stage => new ListTasksRequest { HostId = stage.HostId, Status = "doing" },
            stage => new ListTasksRequest { HostId = stage.HostId, PageToken = "not a token" }),
        new("GetTask", Caller.Owner, Needs.ViewerOrNode,
            stage => new GetTaskRequest { HostId = stage.HostId, TaskId = "t1" }, stage => new GetTaskRequest { HostId = stage.HostId, TaskId = "none" }),
        new("UpdateTask", Caller.Owner, Needs.Member,
            stage => new UpdateTaskRequest { HostId = stage.HostId, TaskId = "t1", Status = "done", Assignee = "" },
            stage => new UpdateTaskRequest { HostId = stage.HostId, TaskId = "t1", Title = new string('x', 2_001) }),
        new("SyncChat", Caller.Node, Needs.Node,
            stage => new SyncChatRequest { HostId = stage.HostId, Messages = { new ChatMessage { Id = "m2", Content = "c", Timestamp = 5 } } },
            _ => new SyncChatRequest { HostId = "none" }),
        new("ListChat", Caller.Owner, Needs.ViewerOrNode,
            stage => new ListChatRequest { HostId = stage.HostId, Channel = "ops" }, stage => new ListChatRequest { HostId = stage.HostId, PageSize = -1 }),
        new("SendChat", Caller.Owner, Needs.Member,
            stage => new SendChatRequest { HostId = stage.HostId, Content = "hello", From = "me" }, stage => new SendChatRequest { HostId = stage.HostId }),
        new("CreateCommand", Caller.Owner, Needs.Member,
            stage => new CreateCommandRequest { HostId = stage.HostId, Type = "echo", MaxAttempts = 2, AcceptWithin = Duration.FromTimeSpan(TimeSpan.FromMinutes(2)) },
            stage => new CreateCommandRequest { HostId = stage.HostId, Type = "another", IdempotencyKey = Stage.CommandKey }),
        new("ListCommands", Caller.Owner, Needs.ViewerOrNode,
            stage => new ListCommandsRequest { HostId = stage.HostId, Status = "pending" },
            stage => new ListCommandsRequest { HostId = stage.HostId, Status = "no such word" }),
        new("GetCommand", Caller.Owner, Needs.ViewerOrNode,
            stage => new GetCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId },
            stage => new GetCommandRequest { HostId = stage.HostId, CommandId = "none" }),
        new("ExplainCommand", Caller.Owner, Needs.ViewerOrNode,
            stage => new ExplainCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId },
            stage => new ExplainCommandRequest { HostId = stage.HostId, CommandId = "none" }),
        new("CancelCommand", Caller.Owner, Needs.Member,
            stage => new CancelCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Reason = "why" },
            stage => new CancelCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Reason = new string('x', 501) }),
        new("DecideCommand", Caller.Owner, Needs.Admin,
            stage => new DecideCommandRequest { HostId = stage.HostId, CommandId = stage.ApprovalId, Approve = true },
            stage => new DecideCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Approve = true }),
        new("AckCommand", Caller.Node, Needs.Node,
            stage => new AckCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Action = "complete", Result = Value.ForString("r") },
            stage => new AckCommandRequest { HostId = stage.HostId, CommandId = stage.CommandId, Action = "shout" }),
        new("PutCommandResult", Caller.Node, Needs.Node,
            stage => new PutCommandResultRequest { HostId = stage.HostId, CommandId = stage.CommandId, Result = Value.ForNumber(7.5) },
            stage => new PutCommandResultRequest { HostId = stage.HostId, CommandId = "none" }),
        new("CreateWatchTicket", Caller.Owner, Needs.Viewer,
            stage => new CreateWatchTicketRequest { TeamId = stage.TeamId }, _ => new CreateWatchTicketRequest { TeamId = "none" }),
        new("SignUp", Caller.Nobody, Needs.Nothing,
            stage => new SignUpRequest { Email = $"new-{stage.TeamId}@example.com", Password = Stage.Password, InviteToken = stage.InviteToken },
            stage => new SignUpRequest { Email = $"new-{stage.TeamId}@example.com", Password = "short", InviteToken = stage.InviteToken }),
        new("SignIn", Caller.Nobody, Needs.Nothing,
            stage => new SignInRequest { Email = stage.Account.Email, Password = Stage.Password },
            stage => new SignInRequest { Email = stage.Account.Email, Password = "not the password" }),
        new("RefreshSession", Caller.Nobody, Needs.Nothing,
            stage => new RefreshSessionRequest { RefreshToken = stage.Account.RefreshToken },
            _ => new RefreshSessionRequest { RefreshToken = "hrefresh_unknown" }),
        new("SignOut", Caller.Owner, Needs.Person, _ => new SignOutRequest(), null),
        new("RequestPasswordReset", Caller.Nobody, Needs.Nothing,
            _ => new RequestPasswordResetRequest { Email = "nobody@example.com" }, _ => new RequestPasswordResetRequest { Email = "no address" }),
        new("ResetPassword", Caller.Nobody, Needs.Nothing,
            stage => new ResetPasswordRequest { Token = stage.Account.ResetToken, Password = Stage.Password },
            _ => new ResetPasswordRequest { Token = "hreset_unknown", Password = Stage.Password }),
        new("GetMe", Caller.Owner, Needs.Person, _ => new GetMeRequest(), null),
        new("ListSigningKeys", Caller.Nobody, Needs.Nothing, _ => new ListSigningKeysRequest(), null),
        new("CreateOrg", Caller.Owner, Needs.Person, _ => new CreateOrgRequest { Name = "fresh" }, _ => new CreateOrgRequest()),
        new("ListOrgs", Caller.Owner, Needs.Person, _ => new ListOrgsRequest(), null),
        new("CreateTeam", Caller.Owner, Needs.Owner,
            stage => new CreateTeamRequest { OrgId = stage.OrgId, Name = "fresh" }, _ => new CreateTeamRequest { OrgId = "none", Name = "fresh" }),
        new("ListTeams", Caller.Owner, Needs.Person, _ => new ListTeamsRequest(), null),
        new("GetTeam", Caller.Owner, Needs.Viewer, stage => new GetTeamRequest { TeamId = stage.TeamId }, _ => new GetTeamRequest { TeamId = "none" }),
        new("UpdateTeam", Caller.Owner, Needs.Admin,
            stage => new UpdateTeamRequest { TeamId = stage.TeamId, Name = "renamed" }, stage => new UpdateTeamRequest { TeamId = stage.TeamId }),
        new("ListMembers", Caller.Owner, Needs.Viewer,
            stage => new ListMembersRequest { TeamId = stage.TeamId }, stage => new ListMembersRequest { TeamId = stage.TeamId, PageSize = -1 }),
        new("UpdateMember", Caller.Owner, Needs.Admin,
            stage => new UpdateMemberRequest { TeamId = stage.TeamId, UserId = stage.MemberId, Role = MemberRole.Viewer },
            stage => new UpdateMemberRequest { TeamId = stage.TeamId, UserId = stage.OwnerId, Role = MemberRole.Viewer }),
        new("RemoveMember", Caller.Owner, Needs.Admin,
            stage => new RemoveMemberRequest { TeamId = stage.TeamId, UserId = stage.MemberId },
            stage => new RemoveMemberRequest { TeamId = stage.TeamId, UserId = "none" }),
        new("CreateInvite", Caller.Owner, Needs.Admin,
            stage => new CreateInviteRequest { TeamId = stage.TeamId, Role = MemberRole.Admin },
            stage => new CreateInviteRequest { TeamId = stage.TeamId, Email = "no address" }),
        new("ListInvites", Caller.Owner, Needs.Admin, stage => new ListInvitesRequest { TeamId = stage.TeamId }, _ => new ListInvitesRequest { TeamId = "none" }),
        new("RevokeInvite", Caller.Owner, Needs.Admin,
            stage => new RevokeInviteRequest { TeamId = stage.TeamId, InviteId = stage.InviteId },
            stage => new RevokeInviteRequest { TeamId = stage.TeamId, InviteId = "none" }),
        new("AcceptInvite", Caller.Guest, Needs.Person,
            stage => new AcceptInviteRequest { Token = stage.InviteToken }, _ => new AcceptInviteRequest { Token = "hinvite_unknown" }),
        new("CreateApiKey", Caller.Owner, Needs.Admin,
            stage => new CreateApiKeyRequest { TeamId = stage.TeamId, Name = "script" },
            stage => new CreateApiKeyRequest { TeamId = stage.TeamId, Name = "script", Role = MemberRole.Owner }),
        new("ListApiKeys", Caller.Owner, Needs.Admin, stage => new ListApiKeysRequest { TeamId = stage.TeamId }, _ => new ListApiKeysRequest { TeamId = "none" }),
        new("RevokeApiKey", Caller.Owner, Needs.Admin,
            stage => new RevokeApiKeyRequest { TeamId = stage.TeamId, ApiKeyId = stage.KeyId },
            stage => new RevokeApiKeyRequest { TeamId = stage.TeamId, ApiKeyId = "none" }),
        new("GetOnboarding", Caller.Owner, Needs.Viewer,
            stage => new GetOnboardingRequest { TeamId = stage.TeamId }, _ => new GetOnboardingRequest { TeamId = "none" }),
        new("ListAudit", Caller.Owner, Needs.Admin,
            stage => new ListAuditRequest { TeamId = stage.TeamId, Action = "api_key." }, stage => new ListAuditRequest { TeamId = stage.TeamId, PageSize = 1_001 }),
    ];

    /// <summary>The rest: streams, and what has no HTTP rule.</summary>
    public static IReadOnlyList<RpcRow> Streaming { get; } =
    [
        new("Watch", Caller.Owner, Needs.Viewer, stage => new WatchRequest { TeamId = stage.TeamId }, null),
        new("ExportAudit", Caller.Owner, Needs.Admin, stage => new ExportAuditRequest { TeamId = stage.TeamId }, null),
        new("Connect", Caller.Node, Needs.AnyNode,
            _ => new ConnectRequest { Hello = new Hello { ProtocolMin = 1, ProtocolMax = 1, InstanceId = "instance", JournalId = "journal" } }, null),
    ];
}
