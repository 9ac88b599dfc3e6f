namespace Hub.Benchmarks.Reads;

/// <summary>A route of a dashboard and the statements of its own that answer it.</summary>
/// <param name="OfHost">It is about the busy host, whose team has to be found first.</param>
internal sealed record ReadRoute(string Name, string Path, bool OfHost, params string[] Statements)
{
    private const string RecordColumns = "record_id, version, body";

    private const string CommandColumns = """
        c.command_id, c.team_id, c.host_id, c.type, c.payload, c.state, c.reason, c.attempt, c.max_attempts, c.idempotency_key, c.fingerprint,
        c.created_by, c.created_at, c.updated_at, c.accept_by, c.finish_within, c.offered_until, c.accepted_at, c.finish_by, c.finished_at,
        c.journal_id, c.cancel_requested_at, c.cancel_by, c.cancel_reason, c.error, c.traceparent, c.approval_policy, c.approver_role,
        c.creator_may_decide, c.result, c.late_result
        """;

    private const string HostColumns = """
        select h.*, l.state as link_state, l.link_id, l.epoch, l.connected_at, l.instance_id, l.command_types,
            (select p.desired from host_properties p where p.host_id = h.host_id and p.name = 'labels') as labels_set,
            (select count(*) from host_properties p where p.host_id = h.host_id and p.desired is not null
                and (p.reported_generation < p.desired_generation or p.error <> '')) as drift_count
        from hosts h join links l on l.host_id = h.host_id
        where h.deleted_at is null and h.team_id = 'default'
        """;

    private const string Of = $"host_id = '{ReadsDatabase.Host}' and team_id = 'default'";
    private const string HostPath = $"/api/hosts/{ReadsDatabase.Host}";
    private const string Late = "9223372036854775807";

    public static readonly ReadRoute[] All =
    [
        new("hosts", "/api/hosts", false, $"{HostColumns} and (h.name, h.host_id) > ('', '') order by h.name, h.host_id limit 101"),
        new("hosts, a page of 1000", "/api/hosts?pageSize=1000", false, $"{HostColumns} and (h.name, h.host_id) > ('', '') order by h.name, h.host_id limit 1001"),
        new("host", HostPath, true, OneHost),
        new("host's presence", $"{HostPath}/presence", true, OneHost),
        new("host's why", $"{HostPath}/why", true, OneHost),
        new("host's activity", $"{HostPath}/activity", true,
            $"select e.seq, e.kind, e.entity_id, e.version, e.at from hosts h cross join events e where h.team_id = 'default' and h.host_id = '{ReadsDatabase.Host}' and e.host_id = h.host_id and e.seq < {Late} order by e.seq desc limit 101"),
        new("tasks", $"{HostPath}/tasks", true, Records("tasks")),
        new("tasks, a page of 1000", $"{HostPath}/tasks?pageSize=1000", true, Records("tasks", limit: 1001)),
        new("tasks by status", $"{HostPath}/tasks?status=doing", true, Records("tasks", "status = 'doing' and status <> ''")),
        new("tasks by assignee", $"{HostPath}/tasks?assignee=agent-1", true, Records("tasks", "agent = 'agent-1' and agent <> ''")),
        new("tasks by an unknown assignee", $"{HostPath}/tasks?assignee=nobody", true, Records("tasks", "agent = 'nobody' and agent <> ''")),
        new("task", $"{HostPath}/tasks/{ReadsDatabase.Task}", true, Record("tasks", ReadsDatabase.Task)),
        new("comments of a task", $"{HostPath}/tasks/{ReadsDatabase.Task}/comments", true, Records("task_comments", $"parent_id = '{ReadsDatabase.Task}' and parent_id <> ''")),
        new("conflicts", $"{HostPath}/conflicts", true,
            $"select * from sync_conflicts where {Of} and (created_at, conflict_id) < ({Late}, '') and resolved_at is null order by created_at desc, conflict_id desc limit 101"),
        new("chat", $"{HostPath}/chat", true, Chat("9223372036854775807")),
        new("chat, deep", $"{HostPath}/chat?pageToken={{deep}}", true, Chat("1700000050000")),
        new("insights", $"{HostPath}/insights", true, Records("insights")),
        new("insights by status", $"{HostPath}/insights?status=candidate", true, Records("insights", "status = 'candidate' and status <> ''")),
        new("insight", $"{HostPath}/insights/{ReadsDatabase.Insight}", true, Record("insights", ReadsDatabase.Insight)),
        new("reflections", $"{HostPath}/reflections", true, Records("reflections")),
        new("runs", $"{HostPath}/runs", true, Records("runs")),
        new("run", $"{HostPath}/runs/{ReadsDatabase.Run}", true, Record("runs", ReadsDatabase.Run)),
        new("events of a run", $"{HostPath}/runs/{ReadsDatabase.Run}/events", true, Records("run_events", $"parent_id = '{ReadsDatabase.Run}' and parent_id <> ''")),
        new("trust events", $"{HostPath}/trust-events", true, Records("trust_events")),
        new("run approvals", $"{HostPath}/run-approvals", true, Records("run_approvals")),
        new("contexts", $"{HostPath}/context", true, Records("contexts")),
        new("usage ledger", $"{HostPath}/usage/ledger", true,
            $"select day, agent, model, cost_micros, input_tokens, output_tokens, event_count from usage_ledger where {Of} and day >= '' and (day, agent, model) < ('~', '', '') order by day desc, agent desc, model desc limit 101"),
        new("commands", $"{HostPath}/commands", true, Commands("true")),
        new("commands by state", $"{HostPath}/commands?status=completed", true, Commands("c.state in ('SUCCEEDED')")),
        new("command", $"{HostPath}/commands/{ReadsDatabase.Command}", true,
            $"select {CommandColumns}, t.* from command_timeline t left join commands c on c.command_id = t.command_id and t.step = 1 where t.command_id = '{ReadsDatabase.Command}' and t.team_id = 'default' order by t.step"),
        new("write-backs", $"{HostPath}/write-backs", true, Commands("c.type in ('task_create', 'task_review', 'insight_promote', 'run_approve', 'context_sync')")),
        new("approvals", "/api/approvals", false,
            $"select {CommandColumns}, h.name as host_name from commands c join hosts h on h.host_id = c.host_id where c.team_id = 'default' and c.state = 'AWAITING_APPROVAL' and (c.created_at, c.command_id) > (0, '') order by c.created_at, c.command_id limit 101"),
        new("audit", "/api/audit", false,
            $"select audit_id, at, actor_kind, actor, action, subject, host_id, detail from audit_log where team_id = 'default' and at >= 0 and at < {Late} and (at, audit_id) < ({Late}, '') order by at desc, audit_id desc limit 101"),
        new("feedback", "/api/feedback", false,
            $"select * from feedback where team_id = 'default' and (created_at, feedback_id) < ({Late}, '') order by created_at desc, feedback_id desc limit 101"),
        new("teams", "/api/teams", false,
            "select t.team_id, t.name, t.org_id, t.plan, p.retention_days, t.suspended_at, t.created_at, m.role from teams t left join plans p on p.plan = t.plan join team_members m on m.team_id = t.team_id and m.user_id = @UserId order by t.name limit 1000"),
        new("members", "/api/teams/default/members", false,
            "select u.user_id, u.email, u.name, m.role, m.created_at from team_members m join users u on u.user_id = m.user_id where m.team_id = 'default' and (u.email, u.user_id) > ('', '') order by u.email, u.user_id limit 101"),
    ];

    private static string OneHost => $"{HostColumns} and h.host_id = '{ReadsDatabase.Host}'";

    private static string Records(string collection, string filter = "true", int limit = 101) => $"""
        select {RecordColumns} from records
        where {Of} and collection = '{collection}' and deleted_at is null and (version, record_id) < ({Late}, '') and {filter}
        order by version desc, record_id desc limit {limit}
        """;

    private static string Record(string collection, string id) =>
        $"select {RecordColumns} from records where {Of} and collection = '{collection}' and record_id = '{id}' and deleted_at is null";

    private static string Chat(string before) =>
        $"select message_id, body, sent_at, delivered_at, direction from chat_messages where {Of} and (sent_at, message_id) < ({before}, '') order by sent_at desc, message_id desc limit 101";

    private static string Commands(string filter) => $"""
        select {CommandColumns} from commands c
        where c.host_id = '{ReadsDatabase.Host}' and c.team_id = 'default' and (c.created_at, c.command_id) < ({Late}, '') and {filter}
        order by c.created_at desc, c.command_id desc limit 101
        """;
}
