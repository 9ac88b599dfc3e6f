using System.Buffers.Text;
using System.Text.Json;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Identity;
using Hub.Orgs;
using Hub.Storage;
using Hub.Telemetry;
using Hub.TestKit;

namespace Hub.IntegrationTests.Contract;

/// <summary>A team with people, a key and a host; every call has one of its own.</summary>
internal sealed record Stage
{
    public const string CommandKey = "command-key";
    public const string Password = "correct horse battery";

    /// <summary>What a Hub with stages is started with.</summary>
    public static readonly (string Key, string Value) Settings = (HubSettings.SecretsKeyKey, Convert.ToBase64String(new byte[32]));

    private static int _count;

    private StagedAccount? _account;

    public required string TeamId { get; init; }
    public required string OrgId { get; init; }
    public required string HostId { get; init; }
    public string CommandId { get; private init; } = "none";
    public string ApprovalId { get; private init; } = "none";
    public string FeedbackId { get; private init; } = "none";
    public required string JoinToken { get; init; }
    public required string OwnerToken { get; init; }
    public required string MemberToken { get; init; }
    public required string GuestToken { get; init; }
    public required string InviteId { get; init; }
    public required string InviteToken { get; init; }
    public required string KeyId { get; init; }
    public required string Key { get; init; }
    public required string Credential { get; init; }

    public string ConflictId => $"conflict-{TeamId}";

    public string OwnerId => SubjectOf(OwnerToken);

    public string MemberId => SubjectOf(MemberToken);

    /// <summary>Somebody with a password; see <see cref="SignUpAsync"/>.</summary>
    public StagedAccount Account => _account ?? throw new InvalidOperationException("Nobody signed up on this stage.");

    public static async Task<Stage> SetAsync(HubHost hub)
    {
        var teamId = $"team-{Interlocked.Increment(ref _count):D6}";
        await hub.Service<Accounts>().EnsureTeamAsync(teamId, CancellationToken.None);
        var ownerToken = await TokenAsync(hub, teamId, "owner", TeamRole.Owner);
        var (key, secret) = await hub.Service<ApiKeys>().CreateAsync(teamId, "key", TeamRole.Member, Actor.Operator, CancellationToken.None);
        using var owner = hub.As(ownerToken);
        async Task<string> JoinTokenAsync() => (await owner.WriteAsync("/api/hosts/register-token", "{}")).Expect(201).String("registerToken.joinToken");

        var claimed = (await hub.Rest.WriteAsync("/api/hosts/claim", new { joinToken = await JoinTokenAsync(), name = "node" })).Expect(201);
        var hostId = claimed.String("host.id");
        var invited = (await owner.WriteAsync("/api/team/invite", "{}")).Expect(201);
        return new Stage
        {
            TeamId = teamId,
            OrgId = (await owner.ReadAsync($"/api/teams/{teamId}")).Expect(200).String("team.orgId"),
            HostId = hostId,
            JoinToken = await JoinTokenAsync(),
            OwnerToken = ownerToken,
            MemberToken = await TokenAsync(hub, teamId, "member", TeamRole.Member),
            GuestToken = await TokenAsync(hub, HubHost.Team, $"guest-{teamId}", TeamRole.Member),
            InviteId = invited.String("invite.id"),
            InviteToken = invited.String("token"),
            KeyId = key.Id,
            Key = secret,
            Credential = claimed.String("credential.token"),
        };
    }

    /// <summary>The stage with what the host has and says: records, messages, commands.</summary>
    public async Task<Stage> FillAsync(HubHost hub)
    {
        using var owner = hub.As(OwnerToken);
        using var node = hub.As(Credential);
        await node.WriteAsync($"/api/hosts/{HostId}/tasks/sync", """{"tasks":[{"id":"t1","title":"T","status":"doing","assignee":"a"}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/chat/sync", """{"messages":[{"id":"m1","from":"f","content":"c","timestamp":7,"channel":"ops"}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/reflections/sync", """{"reflections":[{"id":"r1","severity":"high","updated_at":7}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/insights/sync", """{"insights":[{"id":"i1","status":"candidate","updated_at":7}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/runs/sync", """{"runs":[{"id":"run1","agentId":"main","updatedAt":7}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/runs/run1/stream", """{"events":[{"id":"e1","type":"run_created","createdAt":7}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/run-approvals", """{"items":[{"eventId":"ask1","urgency":"blocking"}]}""");
        await node.WriteAsync($"/api/hosts/{HostId}/context/sync", """{"agent":"main","computed_at":7}""");
        await node.WriteAsync($"/api/hosts/{HostId}/usage/sync", """{"byAgent":[{"agent":"main","total_cost_usd":0.5}]}""");
        await hub.Store.WriteAsync(TeamId, tx => tx.Execute(
            """
            insert into sync_conflicts (conflict_id, team_id, host_id, collection, record_id, base_version, stored_version, incoming_version, created_at)
            values (@ConflictId, @TeamId, @HostId, 'tasks', 't1', 1, 2, 3, 4)
            """,
            new { ConflictId, TeamId, HostId }));
        await owner.WriteAsync($"/api/hosts/{HostId}/chat", new { content = "to the node" });
        var command = await owner.WriteAsync($"/api/hosts/{HostId}/commands", new { type = "echo", idempotency_key = CommandKey });
        (await owner.CallAsync(HttpMethod.Put, "/api/capabilities/github", new { credentials = new { access_token = "gh-0" } })).Expect(200);
        hub.Service<TelemetryBoard>().Take(TeamId, new IngestTelemetryRequest { HostId = HostId, Version = "1.0" });
        var approval = await owner.WriteAsync($"/api/hosts/{HostId}/commands", new { type = "echo", requires_approval = true });
        var feedback = (await owner.WriteAsync("/api/feedback", new { message = "m" })).Expect(201);
        return this with
        {
            CommandId = command.String("command.id"),
            ApprovalId = approval.String("command.id"),
            FeedbackId = feedback.String("feedback.id"),
        };
    }

    /// <summary>A token for a person of the team, who is new or gets the role.</summary>
    public static Task<string> TokenAsync(HubHost hub, string teamId, string name, TeamRole role) =>
        hub.Service<Accounts>().IssueUserTokenAsync($"{name}-{teamId}@example.com", teamId, role, TimeSpan.FromHours(1), CancellationToken.None);

    /// <summary>Makes <see cref="Account"/>, for the calls that are about passwords: a password costs a fifth of a second.</summary>
    public async Task SignUpAsync(HubHost hub)
    {
        var email = $"account-{TeamId}@example.com";
        using var owner = hub.As(OwnerToken);
        var inviteToken = (await owner.WriteAsync("/api/team/invite", "{}")).Expect(201).String("token");
        var signedUp = (await hub.Rest.WriteAsync("/api/auth/signup", new { email, password = Password, inviteToken })).Expect(201);
        var resetToken = Secret.New(Secret.ResetPrefix);
        await hub.Store.WriteAsync(
            Store.SystemTeam,
            tx => tx.Execute(
                "insert into password_resets (token_hash, user_id, expires_at) values (@hash, @userId, @NowMs + 60000)",
                new { hash = Secret.Hash(resetToken), userId = signedUp.String("user.id"), tx.NowMs })).Within();
        _account = new StagedAccount(email, signedUp.String("session.refreshToken"), resetToken);
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
        Caller.Guest => GuestToken,
        _ => null,
    };

    public string Blank(string text) => text
        .Replace(CommandId, "<command>", StringComparison.Ordinal)
        .Replace(ApprovalId, "<approval>", StringComparison.Ordinal)
        .Replace(FeedbackId, "<feedback>", StringComparison.Ordinal)
        .Replace(HostId, "<host>", StringComparison.Ordinal)
        .Replace(TeamId, "<team>", StringComparison.Ordinal);

    /// <summary>Whom a token of the Hub's speaks for.</summary>
    private static string SubjectOf(string token)
    {
        using var claims = JsonDocument.Parse(Base64Url.DecodeFromChars(token.Split('.')[1]));
        return claims.RootElement.GetProperty("sub").GetString()!;
    }
}

/// <summary>Somebody with a password, a session and a link to set a new password.</summary>
internal sealed record StagedAccount(string Email, string RefreshToken, string ResetToken);
