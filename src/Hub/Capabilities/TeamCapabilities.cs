using System.Text.Json;
using Google.Protobuf.WellKnownTypes;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Capabilities;

/// <summary>Which capabilities a team's nodes have, with their credentials sealed.</summary>
internal sealed partial class TeamCapabilities(Store store, SecretBox box, ILogger<TeamCapabilities> log)
{
    private const int ValueLengthMax = 4_096;

    /// <summary>Nodes compare this sentence, and forget what they were told before.</summary>
    private const string NoneEnabled = "No capabilities are currently enabled for this team.";

    private const string AllSql = "select name, sealed, updated_by, updated_at from team_capabilities where team_id = @teamId order by name";

    private const string PutSql = """
        insert into team_capabilities (team_id, name, sealed, updated_by, updated_at) values (@TeamId, @name, @sealedText, @by, @NowMs)
        on conflict (team_id, name) do update set sealed = excluded.sealed, updated_by = excluded.updated_by, updated_at = excluded.updated_at
        """;

    public async Task<IReadOnlyList<Capability>> ListAsync(string teamId, CancellationToken cancellation)
    {
        var enabled = (await RowsAsync(teamId, cancellation)).ToDictionary(row => row.Name, StringComparer.Ordinal);
        return [.. CapabilityCatalogue.All.Select(kind => Show(kind, teamId, enabled.GetValueOrDefault(kind.Name)))];
    }

    /// <exception cref="HubException">ITEM_NOT_FOUND, INVALID_FIELD, SECRETS_KEY_MISSING.</exception>
    public async Task<Capability> EnableAsync(
        TeamAccess team, string name, IReadOnlyDictionary<string, string> credentials, CancellationToken cancellation)
    {
        var kind = CapabilityCatalogue.Find(name) ?? throw NotFound(name);
        if (!credentials.Keys.Order(StringComparer.Ordinal).SequenceEqual(kind.Keys.Order(StringComparer.Ordinal)))
        {
            throw HubException.InvalidField("credentials", $"'{name}' has exactly these keys: {string.Join(", ", kind.Keys)}.");
        }

        if (credentials.Values.Any(value => value.Length is 0 or > ValueLengthMax || value.Any(char.IsControl)))
        {
            throw HubException.InvalidField("credentials", $"A value has 1 to {ValueLengthMax} characters and no control characters.");
        }

        var sealedText = box.Seal(PurposeOf(team.TeamId, name), JsonSerializer.Serialize(credentials));
        var by = team.Caller.Name;
        return await store.WriteAsync(
            team.TeamId,
            tx =>
            {
                tx.Execute(PutSql, new { team.TeamId, name, sealedText, by, tx.NowMs });
                AuditLog.Append(tx, team.TeamId, Actor.Of(team.Caller), AuditAction.CapabilityEnabled, name);
                return Show(kind, team.TeamId, new CapabilityRow(name, sealedText, by, tx.NowMs));
            },
            cancellation);
    }

    public Task DisableAsync(TeamAccess team, string name, CancellationToken cancellation)
    {
        _ = CapabilityCatalogue.Find(name) ?? throw NotFound(name);
        return store.WriteAsync(
            team.TeamId,
            tx =>
            {
                if (tx.Execute("delete from team_capabilities where team_id = @TeamId and name = @name", new { team.TeamId, name }) == 1)
                {
                    AuditLog.Append(tx, team.TeamId, Actor.Of(team.Caller), AuditAction.CapabilityDisabled, name);
                }
            },
            cancellation);
    }

    /// <summary>What a node of the team may use, in words and with the credentials.</summary>
    public async Task<GetCapabilityContextResponse> ContextAsync(string teamId, CancellationToken cancellation)
    {
        var response = new GetCapabilityContextResponse();
        var hints = new List<string>();
        foreach (var row in await RowsAsync(teamId, cancellation))
        {
            // A capability that left the list, or one sealed with another key, is left out: the others go on working.
            if (CapabilityCatalogue.Find(row.Name) is not { } kind || Open(teamId, row) is not { } credentials)
            {
                continue;
            }

            hints.Add($"{kind.Name} ({kind.Description}; {string.Join(", ", kind.Keys.Select(kind.VariableOf))})");
            response.Credentials[kind.Name] = new Struct
            {
                Fields = { credentials.ToDictionary(pair => pair.Key, pair => Value.ForString(pair.Value)) },
            };
        }

        response.SystemPromptHint = hints.Count == 0
            ? NoneEnabled
            : $"These capabilities are enabled for this team, with their environment variables: {string.Join("; ", hints)}.";
        return response;
    }

    /// <summary>One credential of a capability, or null if the team did not enable it.</summary>
    public async Task<string?> CredentialAsync(string teamId, string name, string key, CancellationToken cancellation) =>
        (await RowsAsync(teamId, cancellation)).FirstOrDefault(row => row.Name == name) is { } row
            ? Open(teamId, row)?.GetValueOrDefault(key)
            : null;

    private Task<IReadOnlyList<CapabilityRow>> RowsAsync(string teamId, CancellationToken cancellation) =>
        store.QueryAsync<CapabilityRow>(TeamScope.Of(teamId), AllSql, new { teamId }, cancellation);

    private Dictionary<string, string>? Open(string teamId, CapabilityRow row)
    {
        if (box.Open(PurposeOf(teamId, row.Name), row.Sealed) is { } json)
        {
            return JsonSerializer.Deserialize<Dictionary<string, string>>(json);
        }

        LogUnreadable(row.Name, teamId);
        return null;
    }

    private Capability Show(CapabilityKind kind, string teamId, CapabilityRow? row) => new()
    {
        Name = kind.Name,
        Description = kind.Description,
        Keys = { kind.Keys },
        Enabled = row is not null,
        Readable = row is not null && box.Open(PurposeOf(teamId, row.Name), row.Sealed) is not null,
        UpdatedBy = row?.UpdatedBy ?? "",
        UpdatedAt = EpochMs.ToTimestamp(row?.UpdatedAt),
    };

    private static string PurposeOf(string teamId, string name) => $"capability|{teamId}|{name}";

    private static HubException NotFound(string name) => new(
        ErrorReason.ItemNotFound, $"There is no capability '{name}'. There are: {string.Join(", ", CapabilityCatalogue.All.Select(kind => kind.Name))}.");

    [LoggerMessage(
        LogLevel.Warning, "Capability {Name} of team {TeamId} was sealed with another HUB_SECRETS_KEY; enable it again",
        EventName = "CapabilityUnreadable")]
    private partial void LogUnreadable(string name, string teamId);

    private sealed record CapabilityRow(string Name, string Sealed, string UpdatedBy, long UpdatedAt);
}
