using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Links;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>
/// Rotates a credential inside the link (stream-protocol.md §7): the node gets a new one, confirms that it is stored durably, and only then
/// does the old one begin to end. A node that is lost in between comes back with the credential it has.
/// </summary>
internal sealed class CredentialRotation(Store store, LinkRegistry links, TimeProvider time)
{
    /// <summary>An unconfirmed credential ends after this, and so does a replaced one.</summary>
    private const long GraceMs = 600_000;

    /// <returns>The id of the new credential.</returns>
    /// <exception cref="HubException">HOST_NOT_LINKED.</exception>
    public async Task<string> StartAsync(HostAccess host, CancellationToken cancellation)
    {
        var link = links.Find(host.HostId) ?? throw new HubException(
            ErrorReason.HostNotLinked, "The host has no open link here; rotate while its node is connected, or let it claim again.");
        var fresh = new NewCredential { CredentialId = EntityId.New("cred", time), Token = Secret.New(Secret.HostCredentialPrefix) };
        await store.WriteFencedAsync(
            host.TeamId,
            link.Identity.Fence,
            tx =>
            {
                tx.Execute(
                    """
                    insert into credentials (credential_id, team_id, host_id, secret_hash, created_at, expires_at)
                    values (@CredentialId, @TeamId, @HostId, @hash, @NowMs, @expiresAt)
                    """,
                    new { fresh.CredentialId, host.TeamId, host.HostId, hash = Secret.Hash(fresh.Token), tx.NowMs, expiresAt = tx.NowMs + GraceMs });
                AuditLog.Append(tx, host.TeamId, Actor.Of(host.Caller), AuditAction.CredentialRotated, fresh.CredentialId, host.HostId);
            },
            cancellation);
        if (!link.Outbox.Control(new ConnectResponse { NewCredential = fresh }))
        {
            link.End(GoodbyeReason.SlowConsumer, "The node does not read.");
        }

        return fresh.CredentialId;
    }

    /// <summary>The node stored the new credential: it stays, the others end after their grace time.</summary>
    public static void Confirm(StoreTransaction tx, string hostId, string credentialId)
    {
        var row = new { hostId, credentialId, graceEnd = tx.NowMs + GraceMs };
        if (tx.Execute(
            "update credentials set expires_at = null where host_id = @hostId and credential_id = @credentialId and revoked_at is null", row) == 1)
        {
            tx.Execute(
                """
                update credentials set expires_at = @graceEnd
                where host_id = @hostId and credential_id <> @credentialId and (expires_at is null or expires_at > @graceEnd)
                """,
                row);
        }
    }
}
