using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Orgs;

/// <summary>A team as stored, with the caller's role where it was read for one.</summary>
internal sealed record TeamRow
{
    public required string TeamId { get; init; }
    public required string Name { get; init; }
    public string? OrgId { get; init; }
    public required string Plan { get; init; }
    public long? RetentionDays { get; init; }
    public long? SuspendedAt { get; init; }
    public long CreatedAt { get; init; }
    public string? Role { get; init; }

    public Team ToTeam()
    {
        var team = new Team
        {
            Id = TeamId,
            Name = Name,
            OrgId = OrgId ?? "",
            Plan = Plan,
            SuspendedAt = EpochMs.ToTimestamp(SuspendedAt),
            CreatedAt = EpochMs.ToTimestamp(CreatedAt),
            Role = Role is null ? MemberRole.Unspecified : Roles.Parse(Role).ToMemberRole(),
        };
        if (RetentionDays is { } days)
        {
            team.RetentionDays = (int)days;
        }

        return team;
    }
}

/// <summary>Organisations and teams.</summary>
internal sealed class Teams(Store store)
{
    public const int NameLengthMax = 200;
    public const int ListMax = 1_000;

    /// <summary>Teams in one organisation.</summary>
    private const int TeamsMax = 200;

    /// <summary>Organisations that one user made.</summary>
    private const int OrgsMax = 100;

    private const string SelectSql = """
        select t.team_id, t.name, t.org_id, t.plan, p.retention_days, t.suspended_at, t.created_at, m.role
        from teams t left join plans p on p.plan = t.plan left join team_members m on m.team_id = t.team_id and m.user_id = @userId
        """;

    /// <summary>Who holds an organisation: the owners of its teams; before its first team, who made it.</summary>
    private const string HoldsSql = """
        (exists (select 1 from team_members m join teams t on t.team_id = m.team_id where t.org_id = o.org_id and m.user_id = @userId and m.role = 'owner')
            or (o.created_by = @userId and not exists (select 1 from teams t where t.org_id = o.org_id)))
        """;

    private const string MineSql = """
        exists (select 1 from team_members m join teams t on t.team_id = m.team_id where t.org_id = o.org_id and m.user_id = @userId)
        """;

    public Task<Org> CreateOrgAsync(Principal.User user, string name, CancellationToken cancellation)
    {
        RequireName(name);
        return store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                var use = tx.QuerySingle<long>("select count(*) from orgs where created_by = @UserId", new { user.UserId });
                if (use >= OrgsMax)
                {
                    throw ItemsMax("organisations", OrgsMax, use);
                }

                return new Org { Id = CreateOrg(tx, name, user.UserId), Name = name, CreatedAt = EpochMs.ToTimestamp(tx.NowMs) };
            },
            cancellation);
    }

    public async Task<IReadOnlyList<Org>> ListOrgsAsync(string userId, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<OrgRow>(
            TeamScope.System,
            $"select o.org_id, o.name, o.created_at from orgs o where {HoldsSql} or {MineSql} order by o.name, o.org_id limit {ListMax}",
            new { userId },
            cancellation);
        return [.. rows.Select(row => new Org { Id = row.OrgId, Name = row.Name, CreatedAt = EpochMs.ToTimestamp(row.CreatedAt) })];
    }

    public Task<Team> CreateAsync(Principal.User user, string orgId, string name, string plan, CancellationToken cancellation)
    {
        RequireName(name);
        return store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                var org = tx.QuerySingleOrDefault<HeldRow>(
                    $"""
                    select cast(case when {HoldsSql} then 1 else 0 end as bigint) as holds, cast(case when {MineSql} then 1 else 0 end as bigint) as mine
                    from orgs o where o.org_id = @orgId
                    """,
                    new { orgId, userId = user.UserId });
                if (org is null or { Holds: 0, Mine: 0 })
                {
                    throw new HubException(ErrorReason.OrgNotFound, "There is no such organisation.", ("org_id", orgId));
                }

                if (org.Holds == 0)
                {
                    throw new HubException(ErrorReason.RoleRequired, "Only owners of one of its teams add a team to an organisation.");
                }

                var use = tx.QuerySingle<long>("select count(*) from teams where org_id = @orgId", new { orgId });
                if (use >= TeamsMax)
                {
                    throw ItemsMax("teams", TeamsMax, use);
                }

                var teamId = Create(tx, orgId, name, plan, user.UserId, Actor.Of(user));
                return tx.QuerySingle<TeamRow>($"{SelectSql} where t.team_id = @teamId", new { teamId, userId = user.UserId }).ToTeam();
            },
            cancellation);
    }

    /// <summary>The user's teams, by name; suspended ones too, so that their people see what happened.</summary>
    public async Task<IReadOnlyList<Team>> ListAsync(string userId, string orgId, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<TeamRow>(
            TeamScope.System,
            $"{SelectSql} where m.user_id = @userId and (@orgId = '' or t.org_id = @orgId) order by t.name, t.team_id limit {ListMax}",
            new { userId, orgId },
            cancellation);
        return [.. rows.Select(row => row.ToTeam())];
    }

    public async Task<Team> GetAsync(TeamAccess access, CancellationToken cancellation)
    {
        var row = await store.QuerySingleAsync<TeamRow>(
            TeamScope.Of(access.TeamId),
            $"{SelectSql} where t.team_id = @TeamId",
            new { access.TeamId, userId = UserIdOf(access) },
            cancellation);
        return row.ToTeam();
    }

    public Task<Team> RenameAsync(TeamAccess access, string name, CancellationToken cancellation)
    {
        RequireName(name);
        return store.WriteAsync(
            access.TeamId,
            tx =>
            {
                tx.Execute("update teams set name = @name where team_id = @TeamId", new { name, access.TeamId });
                AuditLog.Append(tx, access.TeamId, Actor.Of(access.Caller), AuditAction.TeamRenamed, access.TeamId, detail: name);
                return tx.QuerySingle<TeamRow>($"{SelectSql} where t.team_id = @TeamId", new { access.TeamId, userId = UserIdOf(access) }).ToTeam();
            },
            cancellation);
    }

    /// <returns>The organisation's id.</returns>
    public static string CreateOrg(StoreTransaction tx, string name, string? userId)
    {
        var orgId = EntityId.New("org", tx.NowMs);
        tx.Execute(
            "insert into orgs (org_id, name, created_by, created_at) values (@orgId, @name, @userId, @NowMs)", new { orgId, name, userId, tx.NowMs });
        return orgId;
    }

    /// <summary>Makes a team with its first owner.</summary>
    /// <returns>The team's id.</returns>
    public static string Create(StoreTransaction tx, string orgId, string name, string plan, string ownerId, Actor actor)
    {
        var row = new { teamId = EntityId.New("team", tx.NowMs), orgId, name, plan, ownerId, role = TeamRole.Owner.ToText(), tx.NowMs };
        tx.Execute("insert into teams (team_id, name, created_at, org_id, plan) values (@teamId, @name, @NowMs, @orgId, @plan)", row);
        tx.Execute("insert into team_members (team_id, user_id, role, created_at) values (@teamId, @ownerId, @role, @NowMs)", row);
        AuditLog.Append(tx, row.teamId, actor, AuditAction.TeamCreated, row.teamId, detail: name);
        return row.teamId;
    }

    public static void RequireName(string name)
    {
        if (string.IsNullOrWhiteSpace(name) || name.Length > NameLengthMax)
        {
            throw HubException.InvalidField("name", $"A name has 1 to {NameLengthMax} characters.");
        }
    }

    public static HubException ItemsMax(string what, int limit, long use) => new(
        ErrorReason.ItemsMax, $"There are as many {what} as there may be: {limit}.", ("limit", $"{limit}"), ("use", $"{use}"));

    private static string UserIdOf(TeamAccess access) => access.Caller is Principal.User user ? user.UserId : "";

    private sealed record OrgRow(string OrgId, string Name, long CreatedAt);

    private sealed record HeldRow(long Holds, long Mine);
}
