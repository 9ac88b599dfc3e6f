using Hub.Identity;
using Hub.Storage;

namespace Hub.Audit;

/// <summary>Writes down who did what. An entry commits with its act or not at all, and is never changed.</summary>
internal static class AuditLog
{
    /// <summary>Longer details are cut: an entry says what was done, not what it was done with.</summary>
    public const int DetailLengthMax = 1_000;

    private static readonly RowsStatement<AuditRow> Insert = new(
        "insert into audit_log (audit_id, team_id, at, actor_kind, actor, action, subject, host_id, detail) select * from {rows}",
        Column<AuditRow>.Of("audit_id", row => row.AuditId),
        Column<AuditRow>.Of("team_id", row => row.Act.TeamId),
        Column<AuditRow>.Of("at", row => row.At),
        Column<AuditRow>.Of("actor_kind", row => row.Act.Actor.Kind),
        Column<AuditRow>.Of("actor", row => row.Act.Actor.Name),
        Column<AuditRow>.Of("action", row => row.Act.Action),
        Column<AuditRow>.Of("subject", row => row.Act.Subject),
        Column<AuditRow>.Of("host_id", row => row.Act.HostId),
        Column<AuditRow>.Of("detail", row => row.Act.Detail[..Math.Min(row.Act.Detail.Length, DetailLengthMax)]));

    /// <summary>Adds an entry to the transaction of the act.</summary>
    /// <param name="action">One of <see cref="AuditAction"/>.</param>
    /// <param name="subject">Id of what it was done to.</param>
    /// <param name="detail">More for people; never a secret.</param>
    public static void Append(
        StoreTransaction tx, string teamId, Actor actor, string action, string subject, string? hostId = null, string detail = "") =>
        Append(tx, [new AuditedAct(teamId, actor, action, subject, hostId, detail)]);

    /// <summary>Adds an entry for each act to their transaction.</summary>
    public static void Append(StoreTransaction tx, IEnumerable<AuditedAct> acts) =>
        tx.Execute(Insert, [.. acts.Select(act => new AuditRow(EntityId.New("audit", tx.NowMs), tx.NowMs, act))]);

    private readonly record struct AuditRow(string AuditId, long At, AuditedAct Act);
}

/// <summary>Who did what, see <see cref="AuditLog.Append(StoreTransaction, string, Actor, string, string, string?, string)"/>.</summary>
internal sealed record AuditedAct(string TeamId, Actor Actor, string Action, string Subject, string? HostId, string Detail);

/// <summary>Who did it, as the log shows it.</summary>
internal sealed record Actor(string Kind, string Name)
{
    /// <summary>The operator, at the Hub's own command line or admin listener.</summary>
    public static Actor Operator { get; } = new("operator", "operator");

    /// <summary>A node that holds nothing but a join token yet.</summary>
    public static Actor JoinToken { get; } = new("join_token", "join token");

    public static Actor Of(Principal caller) => caller switch
    {
        Principal.User user => new Actor("user", user.Email),
        Principal.Node node => new Actor("host", node.HostId),
        Principal.ApiKey key => new Actor("api_key", key.ApiKeyId),
        _ => throw new ArgumentOutOfRangeException(nameof(caller)),
    };
}

/// <summary>What the log knows: <c>area.act</c>.</summary>
internal static class AuditAction
{
    public const string SignedUp = "user.signed_up";
    public const string SignedIn = "user.signed_in";
    public const string SignedOut = "user.signed_out";
    public const string RefreshReused = "user.refresh_reused";
    public const string PasswordReset = "user.password_reset";
    public const string TeamCreated = "team.created";
    public const string TeamRenamed = "team.renamed";
    public const string TeamSuspended = "team.suspended";
    public const string TeamResumed = "team.resumed";
    public const string InviteCreated = "invite.created";
    public const string InviteAccepted = "invite.accepted";
    public const string InviteRevoked = "invite.revoked";
    public const string MemberRoleChanged = "member.role_changed";
    public const string MemberRemoved = "member.removed";
    public const string MemberLeft = "member.left";
    public const string ApiKeyCreated = "api_key.created";
    public const string ApiKeyRevoked = "api_key.revoked";
    public const string JoinTokenCreated = "join_token.created";
    public const string HostEnrolled = "host.enrolled";
    public const string HostClaimed = "host.claimed";
    public const string HostRenamed = "host.renamed";
    public const string HostPropertyChanged = "host.property_changed";
    public const string HostSecretStored = "host_secret.stored";
    public const string HostSecretRemoved = "host_secret.removed";
    public const string HostWebhookStored = "host_webhook.stored";
    public const string HostWebhookRemoved = "host_webhook.removed";
    public const string CapabilityEnabled = "capability.enabled";
    public const string CapabilityDisabled = "capability.disabled";
    public const string ApprovalPolicyStored = "approval_policy.stored";
    public const string ApprovalPolicyRemoved = "approval_policy.removed";
    public const string HostReleased = "host.released";
    public const string HostDeleted = "host.deleted";
    public const string CredentialRevoked = "credential.revoked";
    public const string CredentialRotated = "credential.rotated";
    public const string CommandCreated = "command.created";
    public const string CommandCancelled = "command.cancelled";
    public const string CommandDecided = "command.decided";
}
