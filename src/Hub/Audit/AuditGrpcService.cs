using System.Globalization;
using System.Text;
using Google.Api;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Hub.Contracts.V1;
using Hub.Errors;
using Hub.Identity;
using Hub.Storage;

namespace Hub.Audit;

/// <summary>hub.v1.AuditService: what was written down, page by page or all of it.</summary>
internal sealed class AuditGrpcService(Access access, Store store) : AuditService.AuditServiceBase
{
    private const int FilterLengthMax = 254;

    /// <summary>Entries read at once for an export.</summary>
    private const int ExportBatch = 500;

    private const string CsvHead = "id,at,actor_kind,actor,action,subject,host_id,detail\r\n";

    private static readonly JsonFormatter Json = new(JsonFormatter.Settings.Default.WithFormatDefaultValues(true));

    // Areas are compared by prefix: ranges of text differ with a database's collation.
    private const string FilterSql = """
        team_id = @TeamId and (@Action = '' or action = @Action or (@Area <> '' and substr(action, 1, length(@Area)) = @Area))
        and (@Actor = '' or actor = @Actor) and (@HostId = '' or host_id = @HostId) and at >= @From and at < @Before
        """;

    private const string Columns = "audit_id, at, actor_kind, actor, action, subject, host_id, detail";

    private const string PageSql = $"""
        select {Columns} from audit_log where {FilterSql} and (at, audit_id) < (@At, @Id) order by at desc, audit_id desc limit @Limit
        """;

    private const string ExportSql = $"""
        select {Columns} from audit_log where {FilterSql} and (at, audit_id) > (@At, @Id) order by at, audit_id limit @Limit
        """;

    public override async Task<ListAuditResponse> ListAudit(ListAuditRequest request, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        var size = PageToken.Size(request.PageSize);
        var (at, id) = PageToken.Read(request.PageToken, long.MaxValue);
        var filter = Filter(team, request.Action, request.Actor, request.HostId, request.From, request.Before);
        var rows = await ReadAsync(PageSql, filter with { At = at, Id = id, Limit = size + 1 }, context.CancellationToken);
        return new()
        {
            Entries = { rows.Take(size).Select(row => row.ToEntry()) },
            NextPageToken = rows.Count > size ? PageToken.Of(rows[size - 1].At, rows[size - 1].AuditId) : "",
        };
    }

    public override async Task ExportAudit(ExportAuditRequest request, IServerStreamWriter<HttpBody> responses, ServerCallContext context)
    {
        var team = await access.TeamAsync(context, request.TeamId, TeamRole.Admin);
        var csv = request.Format == AuditFormat.Csv;
        var contentType = csv ? "text/csv; charset=utf-8" : "application/x-ndjson";
        var filter = Filter(team, request.Action, request.Actor, request.HostId, request.From, request.Before) with { At = -1, Limit = ExportBatch };
        var text = new StringBuilder(csv ? CsvHead : "");
        while (true)
        {
            var rows = await ReadAsync(ExportSql, filter, context.CancellationToken);
            foreach (var row in rows)
            {
                _ = csv ? AppendCsv(text, row) : text.Append(Json.Format(row.ToEntry())).Append('\n');
            }

            await responses.WriteAsync(new HttpBody { ContentType = contentType, Data = ByteString.CopyFromUtf8(text.ToString()) }, context.CancellationToken);
            if (rows.Count < ExportBatch)
            {
                return;
            }

            text.Clear();
            filter = filter with { At = rows[^1].At, Id = rows[^1].AuditId };
        }
    }

    private Task<IReadOnlyList<AuditRow>> ReadAsync(string sql, AuditFilter filter, CancellationToken cancellation) =>
        store.QueryAsync<AuditRow>(TeamScope.Of(filter.TeamId), sql, filter, cancellation);

    private static AuditFilter Filter(TeamAccess team, string action, string actor, string hostId, Timestamp? from, Timestamp? before)
    {
        foreach (var (field, text) in (ReadOnlySpan<(string, string)>)[("action", action), ("actor", actor), ("host_id", hostId)])
        {
            if (text.Length > FilterLengthMax)
            {
                throw HubException.InvalidField(field, $"{field} has at most {FilterLengthMax} characters.");
            }
        }

        return new AuditFilter
        {
            TeamId = team.TeamId,
            Action = action,
            Area = action.EndsWith('.') ? action : "",
            Actor = actor,
            HostId = hostId,
            From = Milliseconds("from", from) ?? 0,
            Before = Milliseconds("before", before) ?? long.MaxValue,
        };
    }

    private static long? Milliseconds(string field, Timestamp? given)
    {
        try
        {
            return given?.ToDateTimeOffset().ToUnixTimeMilliseconds();
        }
        catch (InvalidOperationException)
        {
            throw HubException.InvalidField(field, $"{field} is no time.");
        }
    }

    private static StringBuilder AppendCsv(StringBuilder text, AuditRow row)
    {
        var at = DateTimeOffset.FromUnixTimeMilliseconds(row.At).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);
        string[] cells = [row.AuditId, at, row.ActorKind, row.Actor, row.Action, row.Subject, row.HostId ?? "", row.Detail];
        return text.AppendJoin(',', cells.Select(Cell)).Append("\r\n");
    }

    /// <summary>Quoted where RFC 4180 asks for it. A cell that a spreadsheet would run as a formula starts with an apostrophe.</summary>
    private static string Cell(string value)
    {
        var safe = value.Length > 0 && "=+-@\t\r".Contains(value[0], StringComparison.Ordinal) ? "'" + value : value;
        return safe.AsSpan().IndexOfAny(",\"\r\n") < 0 ? safe : $"\"{safe.Replace("\"", "\"\"", StringComparison.Ordinal)}\"";
    }

    private sealed record AuditFilter
    {
        public required string TeamId { get; init; }
        public required string Action { get; init; }
        public required string Area { get; init; }
        public required string Actor { get; init; }
        public required string HostId { get; init; }
        public long From { get; init; }
        public long Before { get; init; }
        public long At { get; init; }
        public string Id { get; init; } = "";
        public int Limit { get; init; }
    }

    private sealed record AuditRow
    {
        public required string AuditId { get; init; }
        public long At { get; init; }
        public required string ActorKind { get; init; }
        public required string Actor { get; init; }
        public required string Action { get; init; }
        public required string Subject { get; init; }
        public string? HostId { get; init; }
        public required string Detail { get; init; }

        public AuditEntry ToEntry() => new()
        {
            Id = AuditId,
            At = EpochMs.ToTimestamp(At),
            ActorKind = ActorKind,
            Actor = Actor,
            Action = Action,
            Subject = Subject,
            HostId = HostId ?? "",
            Detail = Detail,
        };
    }
}
