using System.Text.RegularExpressions;
using Google.Protobuf.WellKnownTypes;
using Hub.Audit;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>
/// What people want a host to be against what it is, per property. A change of the desired value starts a generation; the property is
/// converged once the node has reported that generation. Some properties need no report: the Hub sees itself what a node says of them
/// in its Hello or claim, or that it fetched its config.
/// </summary>
internal sealed partial class HostProperties(Store store)
{
    public const string Labels = "labels";
    public const string Config = "config";
    public const string NodeVersion = "node_version";
    public const string Capabilities = "capabilities";

    public const int LabelsMax = 32;
    public const int LabelLengthMax = 100;

    /// <summary>Properties of one host, desired and reported ones together.</summary>
    private const int PropertiesMax = 100;

    private const int ValueBytesMax = 64 * 1024;
    private const int ErrorLengthMax = 2_000;

    /// <summary>The condition of a property that is not as people want it.</summary>
    public const string DriftCondition = "p.desired is not null and (p.reported_generation < p.desired_generation or p.error <> '')";

    private const string AllSql = $"select {PropertyRow.Columns} from host_properties p where p.host_id = @hostId and p.team_id = @teamId order by p.name";

    private const string OneSql = $"select {PropertyRow.Columns} from host_properties p where p.host_id = @hostId and p.name = @name";

    private const string WriteSql = """
        insert into host_properties (team_id, host_id, name, desired, desired_generation, desired_by, desired_at, reported,
            reported_generation, reported_at, error)
        values (@TeamId, @HostId, @Name, @Desired, @DesiredGeneration, @DesiredBy, @DesiredAt, @Reported, @ReportedGeneration, @ReportedAt, @Error)
        on conflict (host_id, name) do update set desired = excluded.desired, desired_generation = excluded.desired_generation,
            desired_by = excluded.desired_by, desired_at = excluded.desired_at, reported = excluded.reported,
            reported_generation = excluded.reported_generation, reported_at = excluded.reported_at, error = excluded.error
        """;

    private const string SeenSql = "select labels, node_version, capabilities from hosts where host_id = @hostId";

    public async Task<IReadOnlyList<HostProperty>> ListAsync(string teamId, string hostId, CancellationToken cancellation)
    {
        var rows = await store.QueryAsync<PropertyRow>(TeamScope.Of(teamId), AllSql, new { teamId, hostId }, cancellation);
        return [.. rows.Select(row => row.ToProperty())];
    }

    /// <summary>Says what a property should be.</summary>
    /// <exception cref="HubException">INVALID_FIELD, RECORD_TOO_LARGE, ITEMS_MAX, VERSION_MISMATCH.</exception>
    public async Task<HostProperty> SetAsync(
        HostAccess host, string name, Value? value, long? expectedGeneration, CancellationToken cancellation)
    {
        var json = Checked(name, value);
        Require(name, value!);
        return (await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                if (expectedGeneration is { } expected && Find(tx, host.TeamId, host.HostId, name).DesiredGeneration is var present && present != expected)
                {
                    throw new HubException(
                        ErrorReason.VersionMismatch, $"The property is at generation {present}: read it again.", ("version", $"{present}"));
                }

                return Desire(tx, host, name, json);
            },
            cancellation)).ToProperty();
    }

    /// <summary>Nobody wants anything of the property any more.</summary>
    public Task ClearAsync(HostAccess host, string name, CancellationToken cancellation) =>
        store.WriteAsync(host.TeamId, tx => { Desire(tx, host, name, null); }, cancellation);

    /// <summary>What a node says of itself; a generation that was never set counts as the present one at most.</summary>
    /// <returns>The properties that are not converged.</returns>
    public async Task<IReadOnlyList<HostProperty>> ReportAsync(
        HostAccess host, IReadOnlyCollection<PropertyReport> reports, CancellationToken cancellation)
    {
        if (reports.Count > PropertiesMax)
        {
            throw HubException.InvalidField("properties", $"Report at most {PropertiesMax} properties at once.");
        }

        var checkedReports = reports.Select(report => (Report: report, Json: Checked(report.Key, report.Value))).ToArray();
        await store.WriteAsync(
            host.TeamId,
            tx =>
            {
                foreach (var (report, json) in checkedReports)
                {
                    var row = Find(tx, host.TeamId, host.HostId, report.Key);
                    Write(tx, row, row with
                    {
                        Reported = json,
                        ReportedGeneration = Math.Clamp(report.Generation, 0, row.DesiredGeneration),
                        ReportedAt = tx.NowMs,
                        Error = report.Error.Length <= ErrorLengthMax ? report.Error : report.Error[..ErrorLengthMax],
                    });
                }
            },
            cancellation);
        return [.. (await ListAsync(host.TeamId, host.HostId, cancellation)).Where(property => !property.Converged)];
    }

    /// <summary>Sets or takes back (null) what a property should be, inside the caller's transaction.</summary>
    public static PropertyRow Desire(StoreTransaction tx, HostAccess host, string name, string? json)
    {
        var row = Find(tx, host.TeamId, host.HostId, name);
        if (row.Desired == json)
        {
            return row; // A repeat starts no generation.
        }

        var desired = row with
        {
            Desired = json,
            DesiredGeneration = row.DesiredGeneration + 1,
            DesiredBy = host.Caller.Name,
            DesiredAt = tx.NowMs,
            Error = "",
        };
        AuditLog.Append(
            tx, host.TeamId, Actor.Of(host.Caller), AuditAction.HostPropertyChanged, name, host.HostId,
            json is null ? "taken back" : $"generation {desired.DesiredGeneration}");
        return Write(tx, row, Seen(tx, host.HostId, name) is { } seen ? Observed(desired, seen, tx.NowMs) : desired);
    }

    /// <summary>
    /// What the Hub has just seen of a host. Only what somebody wants is looked at: the host's own row keeps the rest.
    /// </summary>
    public static void Observe(StoreTransaction tx, string hostId, string name, Value seen)
    {
        if (tx.QuerySingleOrDefault<PropertyRow>(OneSql, new { hostId, name }) is { Desired: not null } row)
        {
            Write(tx, row, Observed(row, seen, tx.NowMs));
        }
    }

    /// <summary>
    /// The node fetched the desired value as it was in <paramref name="served"/>: that is all an unmodified one ever shows of having it.
    /// </summary>
    public static void Fetched(StoreTransaction tx, PropertyRow served)
    {
        var row = Find(tx, served.TeamId, served.HostId, served.Name);
        if (row.ReportedGeneration < served.DesiredGeneration)
        {
            Write(tx, row, row with
            {
                Reported = served.Desired,
                ReportedGeneration = served.DesiredGeneration,
                ReportedAt = tx.NowMs,
                Error = "",
            });
        }
    }

    private static PropertyRow Observed(PropertyRow row, Value seen, long nowMs)
    {
        var json = StoredJson.Write(seen);
        var fulfilled = row.Desired is not null && Fulfils(row.Name, StoredJson.ReadValue(row.Desired)!, seen);
        var generation = fulfilled ? row.DesiredGeneration : 0;
        return row.Reported == json && row.ReportedGeneration == generation
            ? row
            : row with { Reported = json, ReportedGeneration = generation, ReportedAt = nowMs, Error = "" };
    }

    /// <summary>
    /// Labels of people lie over the node's: they only differ where the node insists on another text. Capabilities may be more than wanted.
    /// </summary>
    private static bool Fulfils(string name, Value desired, Value seen) => name switch
    {
        Labels => desired.StructValue.Fields.All(wanted =>
            !seen.StructValue.Fields.TryGetValue(wanted.Key, out var own) || own.Equals(wanted.Value)),
        Capabilities => desired.ListValue.Values.All(seen.ListValue.Values.Contains),
        _ => desired.Equals(seen),
    };

    private static Value? Seen(StoreTransaction tx, string hostId, string name)
    {
        if (name is not (Labels or NodeVersion or Capabilities))
        {
            return null;
        }

        var row = tx.QuerySingle<SeenRow>(SeenSql, new { hostId });
        return name switch
        {
            Labels => Value.ForStruct(StoredJson.ReadStruct(row.Labels) ?? new Struct()),
            NodeVersion => Value.ForString(row.NodeVersion),
            _ => ListOf(TextList.Read(row.Capabilities)),
        };
    }

    public static Value ListOf(IEnumerable<string> texts) => Value.ForList([.. texts.Select(Value.ForString)]);

    private static PropertyRow Find(StoreTransaction tx, string teamId, string hostId, string name) =>
        tx.QuerySingleOrDefault<PropertyRow>(OneSql, new { hostId, name })
        ?? new PropertyRow { TeamId = teamId, HostId = hostId, Name = name, DesiredBy = "", Error = "" };

    private static PropertyRow Write(StoreTransaction tx, PropertyRow before, PropertyRow after)
    {
        if (after == before)
        {
            return after;
        }

        if (before is { DesiredGeneration: 0, ReportedAt: null }
            && tx.QuerySingle<long>("select count(*) from host_properties where host_id = @HostId", after) >= PropertiesMax)
        {
            throw new HubException(
                ErrorReason.ItemsMax, $"A host has at most {PropertiesMax} properties.", ("limit", $"{PropertiesMax}"), ("use", $"{PropertiesMax}"));
        }

        tx.Execute(WriteSql, after);
        tx.AppendEvent(after.TeamId, EnumText<WatchKind>.Of(WatchKind.Host), after.HostId, after.HostId, 0);
        return after;
    }

    private static string Checked(string name, Value? value)
    {
        if (!NamePattern().IsMatch(name))
        {
            throw HubException.InvalidField("key", "A property's key has 1 to 100 of a-z, 0-9, dot, dash and underscore.");
        }

        if (value is null or { KindCase: Value.KindOneofCase.None or Value.KindOneofCase.NullValue })
        {
            throw HubException.InvalidField("value", "Send the value of the property.");
        }

        var json = StoredJson.Write(value);
        return json.Length <= ValueBytesMax ? json : throw new HubException(
            ErrorReason.RecordTooLarge, $"A property has at most {ValueBytesMax} characters as JSON.",
            ("limit", $"{ValueBytesMax}"), ("size", $"{json.Length}"));
    }

    /// <summary>The properties the Hub itself reads have a type.</summary>
    private static void Require(string name, Value value)
    {
        switch (name)
        {
            case Labels:
                RequireLabels(value.KindCase == Value.KindOneofCase.StructValue ? value.StructValue : null);
                break;
            case Config when value.KindCase != Value.KindOneofCase.StructValue:
                throw HubException.InvalidField("value", "config is an object.");
            case NodeVersion when value.KindCase != Value.KindOneofCase.StringValue:
                throw HubException.InvalidField("value", "node_version is a text.");
            case Capabilities when value.KindCase != Value.KindOneofCase.ListValue
                || value.ListValue.Values.Any(item => item.KindCase != Value.KindOneofCase.StringValue):
                throw HubException.InvalidField("value", "capabilities is a list of texts.");
        }
    }

    public static void RequireLabels(Struct? labels)
    {
        if (labels is null || labels.Fields.Count > LabelsMax || labels.Fields.Any(label => label.Key.Length is 0 or > LabelLengthMax
            || label.Value.KindCase != Value.KindOneofCase.StringValue || label.Value.StringValue.Length > LabelLengthMax))
        {
            throw HubException.InvalidField("labels", $"labels is an object of at most {LabelsMax} texts of {LabelLengthMax} characters each.");
        }
    }

    [GeneratedRegex(@"^[a-z0-9._-]{1,100}\z")]
    private static partial Regex NamePattern();

    private sealed record SeenRow(string Labels, string NodeVersion, string Capabilities);
}
