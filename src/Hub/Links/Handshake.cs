using Google.Protobuf.WellKnownTypes;
using Hub.Chat;
using Hub.Commands;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Hosts;
using Hub.Identity;
using Hub.Records;
using Hub.Storage;
using Hub.Text;
using Microsoft.Extensions.Options;

namespace Hub.Links;

/// <summary>
/// Accepts a Hello (stream-protocol.md §1). One transaction raises the epoch and reads positions and commands, so that nothing of an older
/// link can commit after it, and what Welcome says is what the rows say.
/// </summary>
internal sealed class Handshake(
    Store store, LinkRegistry registry, CloneQuarantine quarantine, Presence presence, IOptions<LinkOptions> options, TimeProvider time, ILoggerFactory logs,
    LaneEntries lanes, StoreGuards guards)
{
    private const uint ProtocolVersion = 1;
    private const int IdLengthMax = 64;
    private const int TextLengthMax = 100;
    private const int CommandTypesMax = 200;
    private const int RunningMax = 1_000;

    private static readonly Lane[] NumberedLanes = [Lane.Commands, Lane.Chat, Lane.Data, Lane.Bulk];

    /// <summary>All that a Hello has to know. Of what most nodes do not have it tells whether there is any, which the others ask for then.</summary>
    private const string RowSql = """
        select l.journal_id, l.journal_epoch, l.commands_seq, l.chat_seq, l.data_seq, l.bulk_seq, l.chat_down_seq, l.chat_down_acked,
            h.revoked_at, h.deleted_at, h.cloned_since, t.suspended_at, h.node_version, h.platform, h.labels,
            exists (select 1 from commands where host_id = @hostId and state in ('QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING')) as has_commands,
            exists (select 1 from rejected_deltas where host_id = @hostId and noted_at is null) as has_rejected,
            exists (select 1 from host_properties where host_id = @hostId and desired is not null) as has_desired
        from links l join hosts h on h.host_id = l.host_id join teams t on t.team_id = l.team_id where l.host_id = @hostId
        """;

    private const string AcceptSql = """
        update links set journal_id = @journalId, journal_epoch = @journalEpoch, instance_id = @instanceId, link_id = @linkId,
            replica_id = @replicaId, state = @state, protocol = @protocol, command_types = @commandTypes, connected_at = @now, ended_at = null,
            commands_seq = @commandsSeq, chat_seq = @chatSeq, data_seq = @dataSeq, bulk_seq = @bulkSeq, chat_down_seq = @chatDownSeq
        where host_id = @hostId
        """;

    private const string DescribeSql =
        "update hosts set node_version = @NodeVersion, platform = @Platform, labels = @Labels where host_id = @HostId";

    /// <summary>Opens a link for a node whose credential was checked. Its outbox holds Welcome as the first frame.</summary>
    /// <exception cref="HubException">INVALID_FIELD, UNSUPPORTED_PROTOCOL, CLONED_IDENTITY, CREDENTIAL_REVOKED.</exception>
    public async Task<Link> OpenAsync(Principal.Node node, Hello received, CancellationToken cancellation)
    {
        var hello = CleanText.Of(received);
        Validate(hello);
        await quarantine.AdmitAsync(node, hello.InstanceId, cancellation);
        var linkId = EntityId.New("link", time);
        Link? link = null;
        await store.WriteAsync(
            node.TeamId,
            tx =>
            {
                var (identity, welcome, chatFrom, isDue) = Accept(tx, node, hello, linkId);

                // With the commit: whoever makes something for the node after it finds the link and wakes it.
                tx.OnCommitted(() => registry.Open(
                    link = new Link(identity, welcome, chatFrom, isDue, options.Value, store, lanes, guards, time, logs.CreateLogger<Link>())));
            },
            cancellation);
        return link!;
    }

    private (LinkIdentity Identity, Welcome Welcome, long ChatFrom, bool IsDue) Accept(
        StoreTransaction tx, Principal.Node node, Hello hello, string linkId)
    {
        // First, for it locks the row: what other replicas commit afterwards, chat for the node as well, comes after what is read here.
        var epoch = tx.RaiseEpoch(node.HostId, above: hello.JournalEpoch)!.Value;
        var row = tx.QuerySingle<LinkRow>(RowSql, new { hostId = node.HostId });
        if (row.RevokedAt is not null || row.DeletedAt is not null)
        {
            throw new HubException(ErrorReason.CredentialRevoked, "The host was revoked or deleted while it was connecting.");
        }

        if (row.SuspendedAt is not null)
        {
            throw Access.TeamSuspended(node.TeamId);
        }

        var journalNew = row.JournalId != hello.JournalId; // The first one too: what the node has besides it is not known here.
        var starts = Starts(row, hello, journalNew);
        var rewound = starts.Any(start => start.Reason == SnapshotReason.JournalRewound);
        var chatFrom = ChatFrom(row, hello, journalNew);
        var identity = new LinkIdentity(node.TeamId, node.HostId, linkId, epoch, hello.JournalId, hello.InstanceId, rewound);
        tx.Execute(AcceptSql, new
        {
            hostId = node.HostId,
            journalId = rewound ? row.JournalId : hello.JournalId,
            // A node that missed this Welcome does not know that it owes a snapshot: its next Hello shows that by its lower epoch.
            journalEpoch = journalNew ? epoch : row.JournalEpoch,
            instanceId = hello.InstanceId,
            linkId,
            replicaId = registry.ReplicaId,
            state = LinkState.Live,
            protocol = (long)ProtocolVersion,
            commandTypes = TextList.Write(hello.CommandTypes),
            now = tx.NowMs,
            commandsSeq = journalNew ? 0 : row.CommandsSeq,
            chatSeq = journalNew ? 0 : row.ChatSeq,
            dataSeq = journalNew ? 0 : row.DataSeq,
            bulkSeq = journalNew ? 0 : row.BulkSeq,
            chatDownSeq = Math.Max(row.ChatDownSeq, chatFrom),
        });
        if (journalNew)
        {
            RecordStore.RestartNumbering(tx, node.HostId, hello.JournalId);
        }

        if (chatFrom > row.ChatDownAcked)
        {
            ChatLog.ConfirmOnHello(tx, node.TeamId, node.HostId, chatFrom, row.ChatDownSeq);
        }

        Describe(tx, node, hello, row);
        if (row.ClonedSince is not null)
        {
            quarantine.EndIfOver(tx, node.TeamId, node.HostId);
        }

        presence.LinkOpened(tx, node.TeamId, node.HostId, options.Value.HeartbeatInterval);

        var welcome = new Welcome
        {
            LinkId = linkId,
            Epoch = epoch,
            Protocol = ProtocolVersion,
            Settings = new Settings
            {
                HeartbeatInterval = Duration.FromTimeSpan(options.Value.HeartbeatInterval),
                RecordBytesMax = LinkOptions.RecordBytesMax,
                WindowBatches = LinkOptions.WindowBatches,
                WindowBytes = LinkOptions.WindowBytes,
            },
            HostId = node.HostId,
            ChatDownSeq = chatFrom,
            Lanes = { starts },
            VersionFloor = starts.Any(start => start.Outcome == LaneOutcome.SnapshotRequired) ? RecordStore.HighestVersion(tx, node.HostId) : 0,
        };
        if (!rewound)
        {
            // A node with a rewound journal dials again with a new one at once; its commands are settled then.
            if (row.HasCommands || hello.Running.Count > 0)
            {
                welcome.Commands.AddRange(CommandRows.Change(
                    tx, rows => CommandMachine.Reconcile(rows, node.HostId, hello.JournalId, hello.Running)));
            }

            if (row.HasRejected)
            {
                welcome.Rejected.AddRange(LaneEntries.RejectedUnnoted(tx, node.HostId, hello.JournalId));
            }
        }

        return (identity, welcome, chatFrom, chatFrom != row.ChatDownSeq || row.HasCommands);
    }

    /// <summary>Where each lane goes on; the first rule that fits.</summary>
    private static LaneStart[] Starts(LinkRow row, Hello hello, bool journalNew)
    {
        if (journalNew)
        {
            return
            [
                .. NumberedLanes.Select(lane => lane == Lane.Data
                    ? Snapshot(lane, 0, SnapshotReason.JournalNew)
                    : new LaneStart
                    {
                        Lane = lane,
                        Outcome = hello.Upstream.Any(held => held.Lane == lane && held.LastSeq > 0) ? LaneOutcome.Replay : LaneOutcome.Resumed,
                    }),
            ];
        }

        var positions = NumberedLanes.Select(lane =>
        {
            var held = hello.Upstream.FirstOrDefault(position => position.Lane == lane);
            return (Lane: lane, Stored: row.Stored(lane), First: held?.FirstSeq ?? 1, Last: held?.LastSeq ?? 0);
        }).ToArray();

        // A journal that is behind in any lane, or that another copy wrote to since, is behind as a whole.
        if (hello.JournalEpoch < row.JournalEpoch || positions.Any(position => position.Last < position.Stored))
        {
            return [.. positions.Select(position => Snapshot(position.Lane, position.Stored, SnapshotReason.JournalRewound))];
        }

        return
        [
            .. positions.Select(position =>
                position.First > position.Stored + 1 && position.Last > position.Stored ? Snapshot(position.Lane, position.Stored, SnapshotReason.Truncated)
                : new LaneStart
                {
                    Lane = position.Lane,
                    StoredSeq = position.Stored,
                    Outcome = position.Last == position.Stored ? LaneOutcome.Resumed : LaneOutcome.Replay,
                }),
        ];
    }

    private static LaneStart Snapshot(Lane lane, long stored, SnapshotReason reason) =>
        new() { Lane = lane, Outcome = LaneOutcome.SnapshotRequired, StoredSeq = stored, Reason = reason };

    /// <summary>The downstream chat number the link goes on after.</summary>
    private static long ChatFrom(LinkRow row, Hello hello, bool journalNew) =>
        journalNew && hello.ChatDownSeq == 0 ? row.ChatDownAcked : hello.ChatDownSeq;

    private static void Describe(StoreTransaction tx, Principal.Node node, Hello hello, LinkRow row)
    {
        var labels = new Struct();
        foreach (var (key, value) in hello.Labels.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            labels.Fields[key] = Value.ForString(value);
        }

        var said = new { node.HostId, hello.NodeVersion, hello.Platform, Labels = StoredJson.Write(labels) };
        if ((row.NodeVersion, row.Platform, row.Labels) != (said.NodeVersion, said.Platform, said.Labels))
        {
            tx.Execute(DescribeSql, said);
        }

        tx.AppendEvent(node.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), node.HostId, node.HostId, 0);
        if (row.HasDesired)
        {
            HostProperties.Observe(tx, node.HostId, HostProperties.Labels, Value.ForStruct(labels));
            HostProperties.Observe(tx, node.HostId, HostProperties.NodeVersion, Value.ForString(hello.NodeVersion));
        }
    }

    private static void Validate(Hello hello)
    {
        if (hello.ProtocolMin > ProtocolVersion || hello.ProtocolMax < ProtocolVersion || hello.ProtocolMin > hello.ProtocolMax)
        {
            throw new HubException(
                ErrorReason.UnsupportedProtocol,
                $"The Hub speaks protocol {ProtocolVersion}; the node speaks {hello.ProtocolMin} to {hello.ProtocolMax}.",
                ("protocol_min", $"{ProtocolVersion}"), ("protocol_max", $"{ProtocolVersion}"));
        }

        Require(hello.InstanceId.Length is > 0 and <= IdLengthMax, "instance_id", $"has 1 to {IdLengthMax} characters");
        Require(hello.JournalId.Length is > 0 and <= IdLengthMax, "journal_id", $"has 1 to {IdLengthMax} characters");
        Require(hello.NodeVersion.Length <= TextLengthMax, "node_version", $"has at most {TextLengthMax} characters");
        Require(hello.Platform.Length <= TextLengthMax, "platform", $"has at most {TextLengthMax} characters");
        Require(
            hello.Labels.Count <= HostProperties.LabelsMax
                && hello.Labels.All(label => label.Key.Length <= HostProperties.LabelLengthMax && label.Value.Length <= HostProperties.LabelLengthMax),
            "labels", $"has at most {HostProperties.LabelsMax} labels of {HostProperties.LabelLengthMax} characters each");
        Require(
            hello.CommandTypes.Count <= CommandTypesMax && hello.CommandTypes.All(type => type.Length <= CommandCreation.TypeLengthMax),
            "command_types", $"has at most {CommandTypesMax} types of {CommandCreation.TypeLengthMax} characters each");
        Require(hello.Running.Count <= RunningMax, "running", $"has at most {RunningMax} commands");
        Require(
            hello.Upstream.All(position => position.FirstSeq >= 1 && position.LastSeq >= 0) && hello.ChatDownSeq >= 0 && hello.JournalEpoch >= 0,
            "upstream", "has positions that are not negative");
    }

    private static void Require(bool holds, string field, string rule)
    {
        if (!holds)
        {
            throw HubException.InvalidField(field, $"{field} {rule}.");
        }
    }

    private sealed record LinkRow
    {
        public required string JournalId { get; init; }
        public long JournalEpoch { get; init; }
        public long CommandsSeq { get; init; }
        public long ChatSeq { get; init; }
        public long DataSeq { get; init; }
        public long BulkSeq { get; init; }
        public long ChatDownSeq { get; init; }
        public long ChatDownAcked { get; init; }
        public long? RevokedAt { get; init; }
        public long? DeletedAt { get; init; }
        public long? ClonedSince { get; init; }
        public long? SuspendedAt { get; init; }
        public required string NodeVersion { get; init; }
        public required string Platform { get; init; }
        public required string Labels { get; init; }
        public bool HasCommands { get; init; }
        public bool HasRejected { get; init; }
        public bool HasDesired { get; init; }

        public long Stored(Lane lane) => lane switch
        {
            Lane.Commands => CommandsSeq,
            Lane.Chat => ChatSeq,
            Lane.Data => DataSeq,
            _ => BulkSeq,
        };
    }
}
