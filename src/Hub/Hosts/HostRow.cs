using Google.Protobuf.WellKnownTypes;
using Hub.Contracts.V1;
using Hub.Storage;
using Host = Hub.Contracts.V1.Host;

namespace Hub.Hosts;

/// <summary>A host with its link, as one query reads them.</summary>
internal sealed record HostRow
{
    /// <summary>Condition on what belongs to hosts, a row r: what a deleted host has left is there until it is erased, and nobody's to see.</summary>
    public const string ExistsSql = "exists (select 1 from hosts h where h.host_id = r.host_id and h.deleted_at is null)";

    /// <summary>Selects hosts that exist; callers add their own conditions on h and l.</summary>
    public const string SelectSql = $"""
        select h.host_id, h.team_id, h.name, h.host_type, h.capabilities, h.labels, h.node_version, h.platform, h.state, h.state_reason,
            h.state_since, h.last_seen_at, h.last_heartbeat_at, h.heartbeat, h.node_status, h.cloned_since, h.created_at,
            l.state as link_state, l.link_id, l.epoch, l.connected_at, l.instance_id, l.command_types,
            (select p.desired from host_properties p where p.host_id = h.host_id and p.name = 'labels') as labels_set,
            (select count(*) from host_properties p where p.host_id = h.host_id and {HostProperties.DriftCondition}) as drift_count
        from hosts h join links l on l.host_id = h.host_id
        where h.deleted_at is null
        """;

    public required string HostId { get; init; }
    public required string TeamId { get; init; }
    public required string Name { get; init; }
    public required string HostType { get; init; }
    public required string Capabilities { get; init; }
    public required string Labels { get; init; }
    public required string NodeVersion { get; init; }
    public required string Platform { get; init; }
    public required string State { get; init; }
    public required string StateReason { get; init; }
    public long StateSince { get; init; }
    public long? LastSeenAt { get; init; }
    public long? LastHeartbeatAt { get; init; }
    public required string Heartbeat { get; init; }
    public required string NodeStatus { get; init; }
    public long? ClonedSince { get; init; }
    public long CreatedAt { get; init; }
    public required string LinkState { get; init; }
    public required string LinkId { get; init; }
    public long Epoch { get; init; }
    public long ConnectedAt { get; init; }
    public required string InstanceId { get; init; }
    public required string CommandTypes { get; init; }

    /// <summary>Labels that people gave it.</summary>
    public string? LabelsSet { get; init; }

    /// <summary>Properties that are not as people want them.</summary>
    public long DriftCount { get; init; }

    public Host ToHost()
    {
        var state = EnumText<HostState>.Parse(State);
        var host = new Host
        {
            Id = HostId,
            TeamId = TeamId,
            Name = Name,
            HostType = HostType,
            State = state,
            Status = StatusWord(state),
            StateReason = EnumText<HostStateReason>.Parse(StateReason),
            StateSince = EpochMs.ToTimestamp(StateSince),
            NodeVersion = NodeVersion,
            Platform = Platform,
            LastSeenAt = EpochMs.ToTimestamp(LastSeenAt),
            LastHeartbeatAt = EpochMs.ToTimestamp(LastHeartbeatAt),
            CreatedAt = EpochMs.ToTimestamp(CreatedAt),
            ClonedIdentity = ClonedSince is not null,
            NodeStatus = StoredJson.ReadStruct(NodeStatus),
            Converged = DriftCount == 0,
        };
        host.Capabilities.AddRange(TextList.Read(Capabilities));
        host.CommandTypes.AddRange(TextList.Read(CommandTypes));
        foreach (var given in (ReadOnlySpan<string?>)[Labels, LabelsSet])
        {
            foreach (var (key, value) in StoredJson.ReadStruct(given)?.Fields ?? [])
            {
                host.Labels[key] = value.StringValue;
            }
        }

        if (StoredJson.ReadStruct(Heartbeat) is { } heartbeat)
        {
            host.Agents.AddRange(StructsOf(heartbeat, "agents"));
            host.ActiveTasks.AddRange(StructsOf(heartbeat, "activeTasks"));
        }

        if (LinkState == Links.LinkState.Live)
        {
            host.Link = new HostLink
            {
                LinkId = LinkId,
                Epoch = Epoch,
                ConnectedAt = EpochMs.ToTimestamp(ConnectedAt),
                InstanceId = InstanceId,
            };
        }

        return host;
    }

    /// <summary>The word the reflectt-node contract uses; a host that was never in contact is offline to it.</summary>
    public static string StatusWord(HostState state) => state switch
    {
        HostState.Online => "online",
        HostState.Suspect => "suspect",
        HostState.Draining => "draining",
        HostState.Revoked => "revoked",
        _ => "offline",
    };

    private static IEnumerable<Struct> StructsOf(Struct document, string field) =>
        document.Fields.TryGetValue(field, out var value) && value.KindCase == Value.KindOneofCase.ListValue
            ? value.ListValue.Values.Where(item => item.KindCase == Value.KindOneofCase.StructValue).Select(item => item.StructValue)
            : [];
}
