using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>A join token as shown once.</summary>
internal sealed record IssuedJoinToken(string Token, long ExpiresAt)
{
    public JoinToken ToJoinToken() => new() { JoinToken_ = Token, ExpiresAt = EpochMs.ToTimestamp(ExpiresAt) };
}

/// <summary>Makes join tokens.</summary>
internal static class JoinTokens
{
    /// <summary>A token has to be claimed for the first time within this; after that it leads back to its host for good.</summary>
    public static readonly TimeSpan FirstClaimWithin = TimeSpan.FromHours(24);

    public static IssuedJoinToken Issue(StoreTransaction tx, TimeProvider time, string teamId, string? hostId, Actor actor)
    {
        var token = new IssuedJoinToken(Secret.New(Secret.JoinTokenPrefix), tx.NowMs + (long)FirstClaimWithin.TotalMilliseconds);
        var id = EntityId.New("join", time);
        tx.Execute(
            """
            insert into join_tokens (join_token_id, team_id, host_id, secret_hash, created_by, created_at, expires_at)
            values (@id, @teamId, @hostId, @hash, @createdBy, @now, @expiresAt)
            """,
            new
            {
                id,
                teamId,
                hostId,
                hash = Secret.Hash(token.Token),
                createdBy = actor.Name,
                now = tx.NowMs,
                expiresAt = token.ExpiresAt,
            });
        AuditLog.Append(tx, teamId, actor, AuditAction.JoinTokenCreated, id, hostId);
        return token;
    }
}
