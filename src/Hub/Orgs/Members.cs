using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>The people of a team. A team always keeps an owner, and only an owner makes or unmakes one.</summary>
internal sealed class Members(Store store)
{
    /// <summary>People in one team.</summary>
    public const int MembersMax = 1_000;

    private const string PageSql = """
        select u.user_id, u.email, u.name, m.role, m.created_at from team_members m join users u on u.user_id = m.user_id
        where m.team_id = @teamId and (u.email, u.user_id) > (@email, @id) order by u.email, u.user_id limit @limit
        """;

    private const string OneSql = """
        select u.user_id, u.email, u.name, m.role, m.created_at from team_members m join users u on u.user_id = m.user_id
        where m.team_id = @teamId and m.user_id = @userId
        """;

    public async Task<(IReadOnlyList<Member> Members, string NextPageToken)> ListAsync(
        string teamId, int pageSize, string pageToken, CancellationToken cancellation)
    {
        var size = PageToken.Size(pageSize);
        var (email, id) = PageToken.Read(pageToken, "");
        var rows = await store.QueryAsync<MemberRow>(
            TeamScope.Of(teamId), PageSql, new { teamId, email, id, limit = size + 1 }, cancellation);
        return ([.. rows.Take(size).Select(row => row.ToMember())], rows.Count > size ? PageToken.Of(rows[size - 1].Email, rows[size - 1].UserId) : "");
    }

    public Task<Member> ChangeRoleAsync(TeamAccess access, string userId, TeamRole role, CancellationToken cancellation) => store.WriteAsync(
        access.TeamId,
        tx =>
        {
            var held = Lock(tx, access.TeamId);
            var member = Find(tx, access.TeamId, userId);
            var before = Roles.Parse(member.Role);
            if (before == TeamRole.Owner || role == TeamRole.Owner)
            {
                RequireOwner(access);
            }

            if (before == TeamRole.Owner && role != TeamRole.Owner)
            {
                RequireAnotherOwner(held);
            }

            tx.Execute(
                "update team_members set role = @role where team_id = @TeamId and user_id = @userId",
                new { role = role.ToText(), access.TeamId, userId });
            AuditLog.Append(
                tx, access.TeamId, Actor.Of(access.Caller), AuditAction.MemberRoleChanged, userId,
                detail: $"{member.Email}: {before.ToText()} to {role.ToText()}");
            return (member with { Role = role.ToText() }).ToMember();
        },
        cancellation);

    public Task RemoveAsync(TeamAccess access, string userId, CancellationToken cancellation) => store.WriteAsync(
        access.TeamId,
        tx =>
        {
            var held = Lock(tx, access.TeamId);
            var member = Find(tx, access.TeamId, userId);
            var leaves = access.Caller is Principal.User user && user.UserId == userId;
            if (!leaves && Roles.Parse(member.Role) == TeamRole.Owner)
            {
                RequireOwner(access);
            }

            if (Roles.Parse(member.Role) == TeamRole.Owner)
            {
                RequireAnotherOwner(held);
            }

            tx.Execute("delete from team_members where team_id = @TeamId and user_id = @userId", new { access.TeamId, userId });
            AuditLog.Append(
                tx, access.TeamId, Actor.Of(access.Caller), leaves ? AuditAction.MemberLeft : AuditAction.MemberRemoved, userId, detail: member.Email);
        },
        cancellation);

    /// <summary>Makes a user a member, in the transaction of whatever lets the user in.</summary>
    /// <exception cref="HubException">MEMBER_EXISTS, ITEMS_MAX.</exception>
    public static void Add(StoreTransaction tx, string teamId, string userId, TeamRole role)
    {
        var use = tx.QuerySingle<long>("select count(*) from team_members where team_id = @teamId", new { teamId });
        if (use >= MembersMax)
        {
            throw Teams.ItemsMax("members", MembersMax, use);
        }

        if (tx.Execute(
            "insert into team_members (team_id, user_id, role, created_at) values (@teamId, @userId, @role, @NowMs) on conflict do nothing",
            new { teamId, userId, role = role.ToText(), tx.NowMs }) == 0)
        {
            throw new HubException(ErrorReason.MemberExists, "You are a member of this team already.", ("team_id", teamId));
        }
    }

    /// <summary>Locks the owners' rows, so that two owners who go at once on two replicas do not both find the other one; how many there are.</summary>
    private static int Lock(StoreTransaction tx, string teamId) => tx.Query<string>(
        $"select user_id from team_members where team_id = @teamId and role = 'owner' order by user_id {tx.Dialect.ForUpdate}", new { teamId }).Count;

    private static MemberRow Find(StoreTransaction tx, string teamId, string userId) =>
        tx.QuerySingleOrDefault<MemberRow>(OneSql, new { teamId, userId })
        ?? throw new HubException(ErrorReason.MemberNotFound, "The team has no such member.", ("user_id", userId));

    private static void RequireOwner(TeamAccess access) => Access.Team(access.Caller, access.TeamId, TeamRole.Owner);

    private static void RequireAnotherOwner(int owners)
    {
        if (owners < 2)
        {
            throw new HubException(ErrorReason.LastOwner, "A team keeps at least one owner: make somebody else an owner first.");
        }
    }

    private sealed record MemberRow(string UserId, string Email, string Name, string Role, long CreatedAt)
    {
        public Member ToMember() => new()
        {
            User = new User { Id = UserId, Email = Email, Name = Name },
            Role = Roles.Parse(Role).ToMemberRole(),
            CreatedAt = EpochMs.ToTimestamp(CreatedAt),
        };
    }
}
