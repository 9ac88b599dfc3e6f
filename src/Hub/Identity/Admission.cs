using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosting;
using Hub.Orgs;
using Hub.Storage;

namespace Hub.Identity;

/// <summary>Who may sign up.</summary>
internal enum SignUpPolicy
{
    /// <summary>The first one; everybody else by invite.</summary>
    First,

    /// <summary>By invite only.</summary>
    Invite,

    /// <summary>Anybody.</summary>
    Open,
}

/// <summary>A person who wants in.</summary>
/// <param name="PasswordHash">Null for people who sign in elsewhere.</param>
/// <param name="ExternalId">Their id there.</param>
internal sealed record Newcomer(
    string Email, string Name, string InviteToken = "", string OrgName = "", string TeamName = "", string? PasswordHash = null, string? ExternalId = null);

/// <summary>Lets people in: makes the user, and the team or the membership that goes with it, in one transaction.</summary>
internal sealed class Admission(HubSettings settings, TimeProvider time)
{
    private const string TeamNameDefault = "Team";

    /// <summary>Refuses a newcomer who would be refused anyway, before a password is hashed or a provider asked.</summary>
    /// <exception cref="HubException">SIGNUP_CLOSED, INVITE_NOT_FOUND, EMAIL_TAKEN.</exception>
    public void Require(StoreTransaction tx, Newcomer newcomer)
    {
        if (newcomer.InviteToken.Length > 0)
        {
            _ = Invites.FindOpen(tx, newcomer.InviteToken, newcomer.Email);
        }
        else if (settings.SignUp == SignUpPolicy.Invite
            || (settings.SignUp == SignUpPolicy.First && tx.QuerySingleOrDefault<string>("select user_id from users limit 1") is not null))
        {
            throw Closed();
        }

        if (tx.QuerySingleOrDefault<string>("select user_id from users where email = @Email", new { newcomer.Email }) is not null)
        {
            throw Taken();
        }
    }

    /// <returns>The user's id and the team the user is in.</returns>
    /// <exception cref="HubException">SIGNUP_CLOSED, INVITE_NOT_FOUND, EMAIL_TAKEN.</exception>
    public (string UserId, string TeamId) Admit(StoreTransaction tx, Newcomer newcomer)
    {
        Require(tx, newcomer);
        var userId = EntityId.New("user", time);
        if (settings.SignUp == SignUpPolicy.First && newcomer.InviteToken.Length == 0
            && tx.Execute("insert into founders (seat, user_id) values (1, @userId) on conflict do nothing", new { userId }) == 0)
        {
            throw Closed(); // Another replica let the first one in a moment ago.
        }

        var inserted = tx.Execute(
            """
            insert into users (user_id, email, name, created_at, password_hash, external_id)
            values (@userId, @Email, @Name, @NowMs, @PasswordHash, @ExternalId) on conflict do nothing
            """,
            new { userId, newcomer.Email, newcomer.Name, tx.NowMs, newcomer.PasswordHash, newcomer.ExternalId });
        if (inserted == 0)
        {
            throw Taken();
        }

        var actor = new Actor("user", newcomer.Email);
        string teamId;
        if (newcomer.InviteToken.Length > 0)
        {
            teamId = Invites.Accept(tx, newcomer.InviteToken, userId, newcomer.Email);
        }
        else
        {
            var orgId = Teams.CreateOrg(tx, newcomer.OrgName.Length > 0 ? newcomer.OrgName : newcomer.Name, userId);
            teamId = Teams.Create(
                tx, orgId, newcomer.TeamName.Length > 0 ? newcomer.TeamName : TeamNameDefault, settings.Plan, userId, actor);
        }

        AuditLog.Append(tx, teamId, actor, AuditAction.SignedUp, userId);
        return (userId, teamId);
    }

    private static HubException Closed() => new(
        ErrorReason.SignupClosed, "Sign-up needs an invite here: ask an admin of your team for one (POST /api/team/invite).");

    private static HubException Taken() => new(ErrorReason.EmailTaken, "There is an account with this e-mail address: sign in.");
}
