using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>What a node says of itself when it registers; empty fields keep what is stored.</summary>
internal sealed record NodeDescription(string Name, string HostType, IReadOnlyList<string> Capabilities);

/// <summary>A host and the credential its node uses from now on.</summary>
internal sealed record EnrolledHost(string TeamId, string HostId, string Credential)
{
    private const string ShownOnce = "shown_once";

    public IssuedCredential ToCredential() => new() { Token = Credential, RevealPolicy = ShownOnce };
}

/// <summary>
/// Registers hosts (architecture.md D10). Claims are repeatable, because real nodes claim at every start and whenever a call fails: the same
/// join token always leads to the same host, and a repeat within 30 s gets the same answer.
/// </summary>
internal sealed class Enrolment(Store store, TimeProvider time)
{
    public const int NameLengthMax = 200;
    public const int TypeLengthMax = 100;
    public const int CapabilitiesMax = 100;
    public const int CapabilityLengthMax = 100;

    /// <summary>A replaced credential stays valid for this long: calls in flight during a claim still carry it.</summary>
    private static readonly TimeSpan ReplacedGrace = TimeSpan.FromMinutes(10);

    private const string ClaimSql = """
        select team_id, host_id, secret_hash, expires_at, claimed_at, revoked_at from join_tokens where secret_hash = @hash
        union all select team_id, host_id, secret_hash, expires_at, created_at as claimed_at, revoked_at from credentials where secret_hash = @hash
        """;

    private const string NameDefault = "unnamed-host";
    private const string TypeDefault = "node";

    private readonly ClaimRepeats _repeats = new(time);

    public Task<IssuedJoinToken> IssueJoinTokenAsync(string teamId, string? hostId, Actor actor, CancellationToken cancellation) =>
        store.WriteAsync(teamId, tx => JoinTokens.Issue(tx, time, teamId, hostId, actor), cancellation);

    /// <summary>Exchanges a join token, or a credential of the host, for the host and a credential.</summary>
    /// <exception cref="HubException">JOIN_TOKEN_INVALID, INVALID_FIELD.</exception>
    public async Task<EnrolledHost> ClaimAsync(string presented, NodeDescription node, CancellationToken cancellation)
    {
        Validate(node);
        if (presented.Length is 0 or > Secret.LengthMax)
        {
            throw HubException.InvalidField("join_token", "Send the join token in joinToken.");
        }

        var hash = Secret.Hash(presented);
        if (presented.StartsWith(Secret.HostCredentialPrefix, StringComparison.Ordinal)
            && await EchoAsync(presented, hash, node, cancellation) is { } echoed)
        {
            return echoed;
        }

        // The token first, so that an answer remembered from before a revocation is not given again.
        var found = Live(await store.QuerySingleOrDefaultAsync<ClaimRow>(TeamScope.System, ClaimSql, new { hash }, cancellation));

        return await _repeats.GetAsync(hash, () => ClaimAsync(found.TeamId, hash, node), cancellation);
    }

    /// <summary>What a token that can be claimed leads to: its host, if it has one, and until when it can be claimed, if that ends.</summary>
    /// <exception cref="HubException">JOIN_TOKEN_INVALID, INVALID_FIELD.</exception>
    public async Task<(string? HostId, long? ExpiresAt)> InspectAsync(string presented, CancellationToken cancellation)
    {
        if (presented.Length is 0 or > Secret.LengthMax)
        {
            throw HubException.InvalidField("token", "Send the join token in token.");
        }

        var found = await store.QuerySingleOrDefaultAsync<ClaimRow>(
            TeamScope.System, ClaimSql, new { hash = Secret.Hash(presented) }, cancellation);
        if (found is { RevokedAt: null } && IsOver(found))
        {
            throw new HubException(
                ErrorReason.JoinTokenInvalid, "This join token has expired without being claimed. Make a new one: POST /api/hosts/register-token.");
        }

        // A credential that was replaced ends even though it was claimed.
        var live = Live(found);
        var isCredential = presented.StartsWith(Secret.HostCredentialPrefix, StringComparison.Ordinal);
        return isCredential && live.ExpiresAt <= time.NowMs()
            ? throw Refused()
            : (live.HostId, isCredential || live.ClaimedAt is null ? live.ExpiresAt : null);
    }

    /// <summary>Registers a new host for an API key; the same idempotency key leads to the same host.</summary>
    public async Task<EnrolledHost> EnrollAsync(
        string teamId, NodeDescription node, string idempotencyKey, Actor actor, CancellationToken cancellation)
    {
        Validate(node);
        if (node.Name.Length == 0)
        {
            throw HubException.InvalidField("name", "Give the host a name.");
        }

        return await store.WriteAsync(
            teamId,
            tx =>
            {
                var hostId = idempotencyKey.Length == 0
                    ? null
                    : tx.QuerySingleOrDefault<string>(
                        "select host_id from hosts where team_id = @teamId and enrolment_key = @idempotencyKey", new { teamId, idempotencyKey });
                hostId ??= Register(tx, teamId, node, idempotencyKey.Length == 0 ? null : idempotencyKey);
                AuditLog.Append(tx, teamId, actor, AuditAction.HostEnrolled, hostId, hostId);
                return new EnrolledHost(teamId, hostId, IssueCredential(tx, teamId, hostId));
            },
            cancellation);
    }

    /// <summary>A still valid credential is echoed, not rotated: rotation would brick hosts that know nothing else.</summary>
    private async Task<EnrolledHost?> EchoAsync(string presented, string hash, NodeDescription node, CancellationToken cancellation)
    {
        var found = await store.QuerySingleOrDefaultAsync<ClaimRow>(
            TeamScope.System,
            """
            select c.team_id, c.host_id, c.secret_hash, c.expires_at, c.revoked_at
            from credentials c join hosts h on h.host_id = c.host_id where c.secret_hash = @hash and h.deleted_at is null
            """,
            new { hash },
            cancellation);
        if (found is null || !Secret.Matches(presented, found.SecretHash) || found.RevokedAt is not null || found.ExpiresAt <= time.NowMs())
        {
            throw Refused();
        }

        if (found.ExpiresAt is not null)
        {
            return null; // Already replaced and about to end: an echo would strand the node, so it gets a new one.
        }

        await store.WriteAsync(found.TeamId, tx => Describe(tx, found.TeamId, found.HostId!, node), cancellation);
        return new EnrolledHost(found.TeamId, found.HostId!, presented);
    }

    private Task<EnrolledHost> ClaimAsync(string teamId, string hash, NodeDescription node) =>
        store.WriteAsync(teamId, tx =>
        {
            // Read again inside the transaction: the token may have been bound or revoked meanwhile.
            var hostId = Live(tx, hash).HostId;
            if (hostId is null && MarkClaimed(tx, hash))
            {
                hostId = Register(tx, teamId, node, null);
                tx.Execute("update join_tokens set host_id = @hostId where secret_hash = @hash", new { hostId, hash });
            }
            else
            {
                // Bound by now at the latest: by a twin on another replica, whose commit the update waited for. Whoever revokes or deletes
                // the host holds its link's row from the start as well, so either this claim sees that, or its credential is seen there.
                hostId ??= Live(tx, hash).HostId ?? throw Refused();
                tx.Query<string>($"select host_id from links where host_id = @hostId{tx.Dialect.ForUpdate}", new { hostId });
                _ = Live(tx, hash);
                MarkClaimed(tx, hash);
                Describe(tx, teamId, hostId, node);
            }

            tx.Execute(
                """
                update hosts set revoked_at = null, state = 'OFFLINE', state_reason = 'UNSPECIFIED', state_since = @now
                where host_id = @hostId and revoked_at is not null
                """,
                new { hostId, now = tx.NowMs });
            AuditLog.Append(tx, teamId, Actor.JoinToken, AuditAction.HostClaimed, hostId, hostId);
            return new EnrolledHost(teamId, hostId, IssueCredential(tx, teamId, hostId));
        });

    private ClaimRow Live(StoreTransaction tx, string hash) => Live(tx.QuerySingleOrDefault<ClaimRow>(ClaimSql, new { hash }));

    /// <returns>Whether it was the first time.</returns>
    private static bool MarkClaimed(StoreTransaction tx, string hash) =>
        tx.Execute("update join_tokens set claimed_at = @NowMs where secret_hash = @hash and claimed_at is null", new { tx.NowMs, hash }) == 1;

    /// <summary>A join token that may be claimed, or a credential that its holder may exchange.</summary>
    private ClaimRow Live(ClaimRow? found) =>
        found is null || found.RevokedAt is not null || IsOver(found) ? throw Refused() : found;

    /// <summary>Never claimed in its time; once it was, it leads back to its host for good.</summary>
    private bool IsOver(ClaimRow found) => found.ClaimedAt is null && found.ExpiresAt <= time.NowMs();

    private string Register(StoreTransaction tx, string teamId, NodeDescription node, string? enrolmentKey)
    {
        var hostId = EntityId.New("host", time);
        var row = new
        {
            hostId,
            teamId,
            name = node.Name.Length == 0 ? NameDefault : node.Name,
            hostType = node.HostType.Length == 0 ? TypeDefault : node.HostType,
            capabilities = TextList.Write(node.Capabilities),
            enrolmentKey,
            now = tx.NowMs,
            empty = TextList.Empty,
            linkState = Links.LinkState.Ended,
        };
        tx.Execute(
            """
            insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason,
                state_since, heartbeat, node_status, enrolment_key, created_at)
            values (@hostId, @teamId, @name, @hostType, @capabilities, '', '', '', 'NEW', 'UNSPECIFIED', @now, '', '', @enrolmentKey, @now)
            """,
            row);
        tx.Execute(
            """
            insert into links (host_id, team_id, epoch, journal_id, journal_epoch, instance_id, link_id, replica_id, state, protocol,
                command_types, connected_at, commands_seq, chat_seq, data_seq, bulk_seq, chat_down_seq, chat_down_acked)
            values (@hostId, @teamId, 0, '', 0, '', '', '', @linkState, 0, @empty, 0, 0, 0, 0, 0, 0, 0)
            """,
            row);
        tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Host), hostId, hostId, 0);
        return hostId;
    }

    private static void Describe(StoreTransaction tx, string teamId, string hostId, NodeDescription node)
    {
        var changed = tx.Execute(
            """
            update hosts set name = @name, host_type = @hostType, capabilities = @capabilities
            where host_id = @hostId and (name <> @name or host_type <> @hostType or capabilities <> @capabilities)
            """,
            Merged(tx, hostId, node));
        if (changed > 0)
        {
            tx.AppendEvent(teamId, EnumText<WatchKind>.Of(WatchKind.Host), hostId, hostId, 0);
        }

        if (node.Capabilities.Count > 0)
        {
            HostProperties.Observe(tx, hostId, HostProperties.Capabilities, HostProperties.ListOf(node.Capabilities));
        }
    }

    private static object Merged(StoreTransaction tx, string hostId, NodeDescription node)
    {
        var stored = tx.QuerySingle<DescriptionRow>(
            "select name, host_type, capabilities, name_set_at from hosts where host_id = @hostId", new { hostId });
        return new
        {
            hostId,
            name = node.Name.Length == 0 || stored.NameSetAt is not null ? stored.Name : node.Name,
            hostType = node.HostType.Length == 0 ? stored.HostType : node.HostType,
            capabilities = node.Capabilities.Count == 0 ? stored.Capabilities : TextList.Write(node.Capabilities),
        };
    }

    /// <summary>Gives the host a new credential; the ones before it end after their grace time.</summary>
    private string IssueCredential(StoreTransaction tx, string teamId, string hostId)
    {
        var secret = Secret.New(Secret.HostCredentialPrefix);
        var row = new
        {
            id = EntityId.New("cred", time),
            teamId,
            hostId,
            hash = Secret.Hash(secret),
            now = tx.NowMs,
            graceEnd = tx.NowMs + (long)ReplacedGrace.TotalMilliseconds,
        };
        tx.Execute("delete from credentials where host_id = @hostId and expires_at <= @now", row);
        tx.Execute("update credentials set expires_at = @graceEnd where host_id = @hostId and expires_at is null", row);
        tx.Execute(
            "insert into credentials (credential_id, team_id, host_id, secret_hash, created_at) values (@id, @teamId, @hostId, @hash, @now)", row);
        return secret;
    }

    private static void Validate(NodeDescription node)
    {
        if (node.Name.Length > NameLengthMax)
        {
            throw HubException.InvalidField("name", $"A name has at most {NameLengthMax} characters.");
        }

        if (node.HostType.Length > TypeLengthMax)
        {
            throw HubException.InvalidField("host_type", $"A kind of node has at most {TypeLengthMax} characters.");
        }

        if (node.Capabilities.Count > CapabilitiesMax || node.Capabilities.Any(capability => capability.Length > CapabilityLengthMax))
        {
            throw HubException.InvalidField(
                "capabilities", $"At most {CapabilitiesMax} capabilities of {CapabilityLengthMax} characters each.");
        }
    }

    private static HubException Refused() => new(
        ErrorReason.JoinTokenInvalid,
        "The join token is not known, was not claimed in time, or was revoked. Make a new one: POST /api/hosts/register-token or `hub token join`.");

    private sealed record ClaimRow
    {
        public required string TeamId { get; init; }
        public string? HostId { get; init; }
        public required string SecretHash { get; init; }
        public long? ExpiresAt { get; init; }
        public long? ClaimedAt { get; init; }
        public long? RevokedAt { get; init; }
    }

    private sealed record DescriptionRow
    {
        public required string Name { get; init; }
        public required string HostType { get; init; }
        public required string Capabilities { get; init; }
        public long? NameSetAt { get; init; }
    }
}
