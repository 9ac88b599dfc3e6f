using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>What a node fetches to set itself up: settings, ciphertexts of secrets, webhooks.</summary>
internal sealed partial class HostConfiguration(Store store)
{
    public const string ScopeDefault = "host";

    private const int SecretsMax = 200;
    private const int WebhooksMax = 50;
    private const int EventsMax = 50;
    private const int NameLengthMax = 200;
    private const int WordLengthMax = 100;
    private const int CiphertextLengthMax = 64 * 1024;
    private const int WrappedKeyLengthMax = 16 * 1024;

    private static readonly string[] Scopes = [ScopeDefault, "project", "agent"];

    private const string TeamSql = "select team_id as id, name from teams where team_id = @teamId";

    private const string SettingsSql = $"""
        select {PropertyRow.Columns} from host_properties p where p.host_id = @hostId and p.team_id = @teamId and p.name = '{HostProperties.Config}'
        """;

    private const string SecretsSql = """
        select name, scope, ciphertext, iv, auth_tag, wrapped_dek, updated_by, updated_at from host_secrets
        where host_id = @hostId and team_id = @teamId order by name, scope
        """;

    private const string PutSecretSql = """
        insert into host_secrets (team_id, host_id, name, scope, ciphertext, iv, auth_tag, wrapped_dek, updated_by, updated_at)
        values (@TeamId, @HostId, @Name, @Scope, @Ciphertext, @Iv, @AuthTag, @wrapped, @by, @NowMs)
        on conflict (host_id, name, scope) do update set ciphertext = excluded.ciphertext, iv = excluded.iv, auth_tag = excluded.auth_tag,
            wrapped_dek = excluded.wrapped_dek, updated_by = excluded.updated_by, updated_at = excluded.updated_at
        """;

    private const string WebhooksSql = """
        select webhook_id, provider, events, signing_secret_name, active from host_webhooks
        where host_id = @hostId and team_id = @teamId order by webhook_id
        """;

    private const string PutWebhookSql = """
        insert into host_webhooks (team_id, host_id, webhook_id, provider, events, signing_secret_name, active)
        values (@TeamId, @HostId, @Id, @Provider, @events, @SigningSecretName, @Active)
        on conflict (host_id, webhook_id) do update set provider = excluded.provider, events = excluded.events,
            signing_secret_name = excluded.signing_secret_name, active = excluded.active
        """;

    /// <summary>The config of a host; what its own node fetched counts as reported.</summary>
    public async Task<GetHostConfigResponse> ReadAsync(HostAccess host, CancellationToken cancellation)
    {
        var key = new { teamId = host.TeamId, hostId = host.HostId };
        var (response, settings) = await store.ReadAsync(
            TeamScope.Of(host.TeamId),
            async reader =>
            {
                var team = await reader.QuerySingleAsync<TeamRow>(TeamSql, key);
                var row = await reader.QuerySingleOrDefaultAsync<PropertyRow>(SettingsSql, key);
                var webhooks = await reader.QueryAsync<WebhookRow>(WebhooksSql, key);
                return (
                    new GetHostConfigResponse
                    {
                        Team = new HostTeam { Id = team.Id, Name = team.Name },
                        Settings = StoredJson.ReadStruct(row?.Desired) ?? new Struct(),
                        Generation = row?.DesiredGeneration ?? 0,
                        Webhooks = { webhooks.Where(webhook => webhook.Active).Select(webhook => webhook.ToConfigured()) },
                    },
                    row);
            },
            cancellation);
        if (host.IsNode && settings is { Converged: false })
        {
            await store.WriteAsync(host.TeamId, tx => HostProperties.Fetched(tx, settings), cancellation);
        }

        return response;
    }

    public async Task<IReadOnlyList<HostSecret>> SecretsAsync(HostAccess host, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<SecretRow>(
            TeamScope.Of(host.TeamId), SecretsSql, new { teamId = host.TeamId, hostId = host.HostId }, cancellation);
        return [.. rows.Select(row => row.ToSecret())];
    }

    /// <summary>Stores a ciphertext. Whether it is one only the node can tell.</summary>
    /// <exception cref="HubException">INVALID_FIELD, RECORD_TOO_LARGE, ITEMS_MAX.</exception>
    public Task<HostSecret> PutSecretAsync(HostAccess host, PutHostSecretRequest request, CancellationToken cancellation)
    {
        var scope = ScopeOf(request.Scope);
        var value = request.EncryptedValue;
        if (request.Name.Length is 0 or > NameLengthMax)
        {
            throw HubException.InvalidField("name", $"A secret's name has 1 to {NameLengthMax} characters.");
        }

        if (value is null || value.Ciphertext.Length == 0 || value.Iv.Length is 0 or > NameLengthMax || value.AuthTag.Length is 0 or > NameLengthMax)
        {
            throw HubException.InvalidField("encrypted_value", "Send the ciphertext with its iv and authTag; the Hub takes no plain text.");
        }

        var wrapped = StoredJson.Write(request.WrappedDek ?? throw HubException.InvalidField("wrapped_dek", "Send the data key, encrypted for the node."));
        if (value.Ciphertext.Length > CiphertextLengthMax || wrapped.Length > WrappedKeyLengthMax)
        {
            throw new HubException(
                ErrorReason.RecordTooLarge, $"A ciphertext has at most {CiphertextLengthMax} characters, its data key {WrappedKeyLengthMax}.",
                ("limit", $"{CiphertextLengthMax}"), ("size", $"{Math.Max(value.Ciphertext.Length, wrapped.Length)}"));
        }

        return store.WriteAsync(
            host.TeamId,
            tx =>
            {
                tx.Execute(PutSecretSql, new
                {
                    host.TeamId,
                    host.HostId,
                    request.Name,
                    Scope = scope,
                    value.Ciphertext,
                    value.Iv,
                    value.AuthTag,
                    wrapped,
                    by = host.Caller.Name,
                    tx.NowMs,
                });
                RequireAtMost(tx, "host_secrets", host.HostId, SecretsMax);
                AuditLog.Append(
                    tx, host.TeamId, Actor.Of(host.Caller), AuditAction.HostSecretStored, request.Name, host.HostId, $"scope {scope}");
                return new HostSecret
                {
                    Name = request.Name,
                    Scope = scope,
                    EncryptedValue = value,
                    WrappedDek = request.WrappedDek,
                    UpdatedBy = host.Caller.Name,
                    UpdatedAt = EpochMs.ToTimestamp(tx.NowMs),
                };
            },
            cancellation);
    }

    public Task DeleteSecretAsync(HostAccess host, string name, string scope, CancellationToken cancellation)
    {
        var row = new { hostId = host.HostId, name, scope = ScopeOf(scope) };
        return store.WriteAsync(
            host.TeamId,
            tx =>
            {
                if (tx.Execute("delete from host_secrets where host_id = @hostId and name = @name and scope = @scope", row) == 1)
                {
                    AuditLog.Append(
                        tx, host.TeamId, Actor.Of(host.Caller), AuditAction.HostSecretRemoved, name, host.HostId, $"scope {row.scope}");
                }
            },
            cancellation);
    }

    public async Task<IReadOnlyList<HostWebhook>> WebhooksAsync(HostAccess host, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<WebhookRow>(
            TeamScope.Of(host.TeamId), WebhooksSql, new { teamId = host.TeamId, hostId = host.HostId }, cancellation);
        return [.. rows.Select(row => row.ToWebhook())];
    }

    /// <exception cref="HubException">INVALID_FIELD, ITEMS_MAX.</exception>
    public Task PutWebhookAsync(HostAccess host, HostWebhook webhook, CancellationToken cancellation)
    {
        if (!IdPattern().IsMatch(webhook.Id))
        {
            throw HubException.InvalidField("webhook_id", "An id has 1 to 100 letters, digits, dots, dashes and underscores.");
        }

        if (webhook.Provider.Length is 0 or > WordLengthMax || webhook.SigningSecretName.Length > NameLengthMax
            || webhook.Events.Count > EventsMax || webhook.Events.Any(name => name.Length is 0 or > WordLengthMax))
        {
            throw HubException.InvalidField(
                "provider", $"A webhook has a provider, at most {EventsMax} events of {WordLengthMax} characters, and the name of a secret.");
        }

        return store.WriteAsync(
            host.TeamId,
            tx =>
            {
                tx.Execute(PutWebhookSql, new
                {
                    host.TeamId,
                    host.HostId,
                    webhook.Id,
                    webhook.Provider,
                    events = TextList.Write(webhook.Events),
                    webhook.SigningSecretName,
                    webhook.Active,
                });
                RequireAtMost(tx, "host_webhooks", host.HostId, WebhooksMax);
                AuditLog.Append(
                    tx, host.TeamId, Actor.Of(host.Caller), AuditAction.HostWebhookStored, webhook.Id, host.HostId, webhook.Provider);
            },
            cancellation);
    }

    public Task DeleteWebhookAsync(HostAccess host, string webhookId, CancellationToken cancellation) =>
        store.WriteAsync(
            host.TeamId,
            tx =>
            {
                if (tx.Execute("delete from host_webhooks where host_id = @HostId and webhook_id = @webhookId", new { host.HostId, webhookId }) == 1)
                {
                    AuditLog.Append(tx, host.TeamId, Actor.Of(host.Caller), AuditAction.HostWebhookRemoved, webhookId, host.HostId);
                }
            },
            cancellation);

    /// <summary>Looked at after the write, which the refusal takes back: a replacement is no addition.</summary>
    private static void RequireAtMost(StoreTransaction tx, string table, string hostId, int limit)
    {
        var use = tx.QuerySingle<long>($"select count(*) from {table} where host_id = @hostId", new { hostId });
        if (use > limit)
        {
            throw new HubException(ErrorReason.ItemsMax, $"A host has at most {limit} of these.", ("limit", $"{limit}"), ("use", $"{use - 1}"));
        }
    }

    private static string ScopeOf(string scope) =>
        scope.Length == 0 ? ScopeDefault
        : Scopes.Contains(scope) ? scope
        : throw HubException.InvalidField("scope", $"scope is one of {string.Join(", ", Scopes)}.");

    [GeneratedRegex(@"^[A-Za-z0-9._-]{1,100}\z")]
    private static partial Regex IdPattern();

    private sealed record TeamRow(string Id, string Name);

    private sealed record SecretRow(
        string Name, string Scope, string Ciphertext, string Iv, string AuthTag, string WrappedDek, string UpdatedBy, long UpdatedAt)
    {
        public HostSecret ToSecret() => new()
        {
            Name = Name,
            Scope = Scope,
            EncryptedValue = new EncryptedValue { Ciphertext = Ciphertext, Iv = Iv, AuthTag = AuthTag },
            WrappedDek = StoredJson.ReadStruct(WrappedDek),
            UpdatedBy = UpdatedBy,
            UpdatedAt = EpochMs.ToTimestamp(UpdatedAt),
        };
    }

    private sealed record WebhookRow(string WebhookId, string Provider, string Events, string SigningSecretName, bool Active)
    {
        public HostWebhook ToWebhook() => new()
        {
            Id = WebhookId,
            Provider = Provider,
            Events = { TextList.Read(Events) },
            SigningSecretName = SigningSecretName,
            Active = Active,
        };

        public ConfiguredWebhook ToConfigured() =>
            new() { Provider = Provider, Events = { TextList.Read(Events) }, SigningSecretName = SigningSecretName };
    }
}
