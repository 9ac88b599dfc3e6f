using Hub.Audit;
using Hub.Orgs;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Teams, users and API keys as the operator makes them, at the command line.</summary>
internal sealed class Accounts(Store store, UserTokens userTokens, ApiKeys apiKeys, TimeProvider time)
{
    /// <summary>The team that exists from the first start.</summary>
    public const string DefaultTeam = "default";

    /// <summary>Creates a team unless it exists; true if it is new.</summary>
    public Task<bool> EnsureTeamAsync(string teamId, CancellationToken cancellation) =>
        store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                if (tx.QuerySingleOrDefault<string>("select team_id from teams where team_id = @teamId", new { teamId }) is not null)
                {
                    return false;
                }

                var orgId = Teams.CreateOrg(tx, teamId, userId: null);
                var created = tx.Execute(
                    "insert into teams (team_id, name, created_at, org_id) values (@teamId, @teamId, @now, @orgId) on conflict do nothing",
                    new { teamId, now = tx.NowMs, orgId }) == 1;
                if (!created)
                {
                    tx.Execute("delete from orgs where org_id = @orgId", new { orgId }); // Another replica made the team meanwhile.
                }

                return created;
            },
            cancellation);

    public async Task<bool> TeamExistsAsync(string teamId, CancellationToken cancellation) =>
        await store.QuerySingleOrDefaultAsync<string>(
            TeamScope.System, "select team_id from teams where team_id = @teamId", new { teamId }, cancellation) is not null;

    /// <summary>Makes sure that the user exists and has the role, and signs a token for it.</summary>
    public async Task<string> IssueUserTokenAsync(string email, string teamId, TeamRole role, TimeSpan lifetime, CancellationToken cancellation)
    {
        var userId = await store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                tx.Execute(
                    """
                    insert into users (user_id, email, name, created_at) values (@userId, @email, @email, @now) on conflict do nothing
                    """,
                    new { userId = NewId("user"), email, now = tx.NowMs });
                var id = tx.QuerySingle<string>("select user_id from users where email = @email", new { email });
                tx.Execute(
                    """
                    insert into team_members (team_id, user_id, role, created_at) values (@teamId, @id, @role, @now)
                    on conflict (team_id, user_id) do update set role = excluded.role
                    """,
                    new { teamId, id, role = role.ToText(), now = tx.NowMs });
                return id;
            },
            cancellation);
        return userTokens.Sign(userId, lifetime);
    }

    /// <summary>Makes an API key; its secret is returned here only.</summary>
    public async Task<string> IssueApiKeyAsync(string teamId, string name, TeamRole role, string createdBy, CancellationToken cancellation) =>
        (await apiKeys.CreateAsync(teamId, name, role, Actor.Operator with { Name = createdBy }, cancellation)).Secret;

    private string NewId(string kind) => EntityId.New(kind, time);
}
