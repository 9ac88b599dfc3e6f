using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Identity;
using Hub.Mail;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>Invitations: a secret that makes one person a member of a team.</summary>
internal sealed class Invites(Store store, PublicAddress address, Outbox mail)
{
    /// <summary>Open invites of one team.</summary>
    public const int OpenMax = 1_000;

    private static readonly TimeSpan Lifetime = TimeSpan.FromDays(7);

    private const string OpenSql = "accepted_at is null and revoked_at is null and expires_at > @now";

    /// <param name="email">Normalised; empty is for whoever has the token.</param>
    /// <returns>The invite, its secret, and where a person accepts it.</returns>
    public async Task<(Invite Invite, string Token, string Url)> CreateAsync(
        TeamAccess access, string email, TeamRole role, CancellationToken cancellation)
    {
        var token = Secret.New(Secret.InvitePrefix);
        var (row, team) = await store.WriteAsync(
            access.TeamId,
            tx =>
            {
                var of = new { access.TeamId, now = tx.NowMs };
                var use = tx.QuerySingle<long>($"select count(*) from invites where team_id = @TeamId and {OpenSql}", of);
                if (use >= OpenMax)
                {
                    throw Teams.ItemsMax("open invites", OpenMax, use);
                }

                var invite = new InviteRow(
                    EntityId.New("invite", tx.NowMs), access.TeamId, email, role.ToText(), access.Caller.Name, tx.NowMs,
                    tx.NowMs + (long)Lifetime.TotalMilliseconds);
                tx.Execute(
                    """
                    insert into invites (invite_id, team_id, email, role, secret_hash, created_by, created_at, expires_at)
                    values (@InviteId, @TeamId, @Email, @Role, @hash, @CreatedBy, @CreatedAt, @ExpiresAt)
                    """,
                    new
                    {
                        invite.InviteId,
                        invite.TeamId,
                        invite.Email,
                        invite.Role,
                        hash = Secret.Hash(token),
                        invite.CreatedBy,
                        invite.CreatedAt,
                        invite.ExpiresAt,
                    });
                AuditLog.Append(
                    tx, access.TeamId, Actor.Of(access.Caller), AuditAction.InviteCreated, invite.InviteId, detail: $"{email} as {role.ToText()}".Trim());
                return (invite, tx.QuerySingle<string>("select name from teams where team_id = @TeamId", of));
            },
            cancellation);
        var url = $"{address.Url}/invite?token={token}";
        if (email.Length > 0)
        {
            mail.Post(new Letter(
                email,
                "You are invited",
                $"""
                {access.Caller.Name} invites you to the team {team}. The link is good once, for 7 days:

                {url}

                The token by itself, for inviteToken at POST /api/auth/signup or token at POST /api/team/invite/accept: {token}
                """));
        }

        return (row.ToInvite(), token, url);
    }

    public async Task<IReadOnlyList<Invite>> ListAsync(string teamId, long nowMs, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<InviteRow>(
            TeamScope.Of(teamId),
            $"""
            select invite_id, team_id, email, role, created_by, created_at, expires_at from invites
            where team_id = @teamId and {OpenSql} order by created_at desc, invite_id desc limit {OpenMax}
            """,
            new { teamId, now = nowMs },
            cancellation);
        return [.. rows.Select(row => row.ToInvite())];
    }

    public Task RevokeAsync(TeamAccess access, string inviteId, CancellationToken cancellation) => store.WriteAsync(
        access.TeamId,
        tx =>
        {
            if (tx.Execute(
                $"update invites set revoked_at = @now where team_id = @TeamId and invite_id = @inviteId and {OpenSql}",
                new { now = tx.NowMs, access.TeamId, inviteId }) == 0)
            {
                throw NotFound();
            }

            AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.InviteRevoked, inviteId);
        },
        cancellation);

    /// <returns>The id of the team the user is in now.</returns>
    public Task<string> AcceptAsync(Principal.User user, string token, CancellationToken cancellation) =>
        store.WriteAsync(Store.SystemTeam, tx => Accept(tx, token, user.UserId, user.Email), cancellation);

    /// <summary>Uses an invite up: one row changes hands once, also on two replicas at once.</summary>
    public static string Accept(StoreTransaction tx, string token, string userId, string email)
    {
        var invite = FindOpen(tx, token, email);
        if (tx.Execute(
            $"update invites set accepted_at = @now, accepted_by = @userId where invite_id = @InviteId and {OpenSql}",
            new { now = tx.NowMs, userId, invite.InviteId }) == 0)
        {
            throw NotFound();
        }

        Members.Add(tx, invite.TeamId, userId, Roles.Parse(invite.Role));
        AuditLog.Append(tx, invite.TeamId, new Actor("user", email), AuditAction.InviteAccepted, invite.InviteId, detail: $"as {invite.Role}");
        return invite.TeamId;
    }

    /// <summary>An invite that this person may accept.</summary>
    /// <exception cref="HubException">INVITE_NOT_FOUND.</exception>
    public static InviteRow FindOpen(StoreTransaction tx, string token, string email)
    {
        var invite = token.Length is 0 or > Secret.LengthMax ? null : tx.QuerySingleOrDefault<InviteRow>(
            $"""
            select invite_id, team_id, email, role, created_by, created_at, expires_at from invites where secret_hash = @hash and {OpenSql}
            """,
            new { hash = Secret.Hash(token), now = tx.NowMs });
        return invite is not null && (invite.Email.Length == 0 || invite.Email == email) ? invite : throw NotFound();
    }

    private static HubException NotFound() => new(
        ErrorReason.InviteNotFound, "The invite is not known, is for somebody else, was accepted or revoked, or is older than 7 days: ask for a new one.");
}

/// <summary>An invite as stored, without its secret.</summary>
internal sealed record InviteRow(
    string InviteId, string TeamId, string Email, string Role, string CreatedBy, long CreatedAt, long ExpiresAt)
{
    public Invite ToInvite() => new()
    {
        Id = InviteId,
        Email = Email,
        Role = Roles.Parse(Role).ToMemberRole(),
        CreatedBy = CreatedBy,
        CreatedAt = EpochMs.ToTimestamp(CreatedAt),
        ExpiresAt = EpochMs.ToTimestamp(ExpiresAt),
    };
}
