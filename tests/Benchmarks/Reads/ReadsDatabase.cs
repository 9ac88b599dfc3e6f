using System.Data.Common;
using System.Text;
using Dapper;
using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Records;
using Npgsql;

namespace Hub.Benchmarks.Reads;

/// <summary>
/// Fills a Hub's database by statements that make many rows each. Every fifth row of what grows belongs to the first host, the busy one;
/// the others share the rest.
/// </summary>
internal sealed class ReadsDatabase(DbConnection connection, ReadsOptions options)
{
    public const string Team = "default";
    public const string Host = "host-1000000";
    public const string Task = "task-1000000";
    public const string Insight = "insight-1000000";
    public const string Run = "run-1000000";
    public const string Command = "cmd-1000000";

    private const int Members = 200;
    private const int Approvals = 200;
    private const int UsageDays = 60;

    /// <summary>Numbers of one width, so that a message with one in it always has the same length.</summary>
    private const string NumberSql = "cast(1000000 + i as text)";

    private const string HostSql = "'host-' || cast(1000000 + case when i % 5 = 0 then 0 else i % @hosts end as text)";

    private const string AtSql = "(1700000000000 + 1000 * cast(i as bigint))";

    /// <summary>Stands in a message for what differs from row to row.</summary>
    private const string Placeholder = "1000000";

    private readonly bool _isPostgres = connection is NpgsqlConnection;

    public void Fill()
    {
        using var transaction = connection.BeginTransaction();
        Insert("hosts", options.Hosts, "host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason, state_since, last_seen_at, heartbeat, node_status, created_at",
            $"'host-' || {NumberSql}, '{Team}', 'node ' || {NumberSql}, 'vm', '[]', '{{}}', '1.0', 'linux', 'OFFLINE', 'SILENT', {AtSql}, {AtSql}, '', '', {AtSql}");
        Insert("links", options.Hosts, "host_id, team_id, epoch, journal_id, journal_epoch, instance_id, link_id, replica_id, state, protocol, command_types, connected_at, commands_seq, chat_seq, data_seq, bulk_seq, chat_down_seq, chat_down_acked",
            $"'host-' || {NumberSql}, '{Team}', 1, '', 1, '', '', '', 'NONE', 1, '[]', 0, 0, 0, 0, 0, 0, 0");
        Records("tasks", "task", options.Tasks, "case i % 4 when 0 then 'todo' when 1 then 'doing' when 2 then 'done' else 'blocked' end", "''", new HostTask
        {
            Id = $"task-{Placeholder}",
            Title = "A task of the board with a title of usual length",
            Status = "doing",
            Assignee = "agent-1",
            Priority = "P2",
        });
        Records("task_comments", "comment", options.Tasks, "''", $"'{Task}'", new TaskComment
        {
            Id = $"comment-{Placeholder}",
            TaskId = Task,
            Author = "agent-1",
            Content = "What was done so far and what comes next, in a sentence or two.",
        });
        Records("insights", "insight", options.Tasks / 5, "case i % 2 when 0 then 'candidate' else 'closed' end", "''", new Insight
        {
            Id = $"insight-{Placeholder}",
            Title = "Deploys fail on Fridays",
            Status = "candidate",
            Priority = "P1",
            Score = 7.5,
        });
        Records("reflections", "reflection", options.Tasks / 5, "''", "''", new Reflection { Id = $"reflection-{Placeholder}", Pain = "Slow tests", Severity = "high", Confidence = 7.5 });
        Records("runs", "run", options.Tasks / 5, "case i % 2 when 0 then 'working' else 'completed' end", "''", new AgentRun { Id = $"run-{Placeholder}", AgentId = "agent-1", Status = "working" });
        Records("run_events", "event", options.Tasks, "'step'", $"'{Run}'", new RunEvent { Id = $"event-{Placeholder}", RunId = Run, Type = "step", AgentId = "agent-1" });
        Records("trust_events", "trust", options.Tasks / 5, "''", "''", new TrustEvent { Id = $"trust-{Placeholder}", AgentId = "agent-1", Severity = "warning" });
        Records("run_approvals", "ask", options.Hosts, "''", "''", new RunApproval { EventId = $"ask-{Placeholder}", Title = "May I?", Urgency = "blocking" });
        Records("contexts", "agent", options.Hosts * 5, "''", "''", new AgentContext { Agent = $"agent-{Placeholder}" });
        var (message, arguments) = BodyOf(new ChatMessage
        {
            Id = $"message-{Placeholder}",
            From = "agent-1",
            Channel = "general",
            Content = "What an agent says to the others in a sentence or two, now and then more.",
        });
        Insert("chat_messages", options.Messages, "team_id, host_id, message_id, direction, channel, sent_at, body, body_hash, received_at",
            $"'{Team}', {HostSql}, 'message-' || {NumberSql}, 'from_node', case i % 4 when 0 then 'general' else 'ops' end, {AtSql}, {message}, '', {AtSql}", arguments);
        Insert("commands", options.Tasks, "command_id, team_id, host_id, type, payload, state, reason, attempt, max_attempts, fingerprint, created_by, created_at, updated_at, accept_by, finish_within, finished_at, journal_id, cancel_reason, result, error, traceparent",
            $$"""'cmd-' || {{NumberSql}}, '{{Team}}', {{HostSql}}, case i % 10 when 0 then 'task_create' else 'echo' end, '{"text":"hello"}', 'SUCCEEDED', 'UNSPECIFIED', 1, 1, '', 'you', {{AtSql}}, {{AtSql}}, {{AtSql}}, 1000, {{AtSql}}, '', '', '{"text":"hello"}', '', ''""");
        Insert("command_timeline", options.Tasks, "team_id, command_id, step, state, reason, attempt, at, detail",
            $"'{Team}', 'cmd-' || {NumberSql}, 1, 'SUCCEEDED', 'UNSPECIFIED', 1, {AtSql}, ''");
        Insert("commands", Approvals, "command_id, team_id, host_id, type, payload, state, reason, attempt, max_attempts, fingerprint, created_by, created_at, updated_at, accept_by, finish_within, journal_id, cancel_reason, error, traceparent",
            $"'ask-' || {NumberSql}, '{Team}', {HostSql}, 'echo', '{{}}', 'AWAITING_APPROVAL', 'APPROVAL', 1, 1, '', 'you', {AtSql}, {AtSql}, 9000000000000, 1000, '', '', '', ''");
        // More than the Hub keeps is not there for long: 200 000 changes are some days of a busy team.
        Insert("events", 2 * options.Tasks, "team_id, seq, kind, host_id, entity_id, version, at",
            $"'{Team}', 10000000 + i, 'TASK', {HostSql}, 'task-' || {NumberSql}, 1, @now");
        connection.Execute("update team_counters set event_seq = @seq where team_id = @Team", new { seq = 10_000_000L + (2 * options.Tasks), Team }, transaction);
        Insert("audit_log", options.Tasks / 2, "audit_id, team_id, at, actor_kind, actor, action, subject, host_id, detail",
            $"'audit-' || {NumberSql}, '{Team}', {AtSql}, 'user', 'you@example.com', 'command.created', 'cmd-' || {NumberSql}, {HostSql}, ''");
        Insert("users", Members, "user_id, email, name, created_at", $"'user-' || {NumberSql}, 'user-' || {NumberSql} || '@example.com', 'n', 1");
        Insert("team_members", Members, "team_id, user_id, role, created_at", $"'{Team}', 'user-' || {NumberSql}, 'member', 1");
        Insert("usage_ledger", UsageDays * 10, "team_id, host_id, day, agent, model, cost_micros, input_tokens, output_tokens, event_count",
            $"'{Team}', '{Host}', '2026-' || cast(10 + i / 10 / 30 as text) || '-' || cast(10 + (i / 10) % 20 as text), 'agent-' || {NumberSql}, '', 1000, 10, 10, 1");
        var (item, itemArguments) = BodyOf(new FeedbackItem { Id = $"feedback-{Placeholder}", Message = "It could be faster.", Kind = "idea" });
        Insert("feedback", options.Tasks / 10, "feedback_id, team_id, host_id, kind, status, body, created_at, version, fingerprint",
            $"'feedback-' || {NumberSql}, '{Team}', '', 'idea', 'OPEN', {item}, {AtSql}, 1, ''", itemArguments);
        transaction.Commit();
        if (_isPostgres)
        {
            connection.Execute("vacuum analyze"); // As the server does by itself after a while; SQLite has no such habit.
        }

        void Records(string collection, string prefix, int count, string status, string parent, IMessage body)
        {
            var (sql, parts) = BodyOf(body);
            var history = RecordCollections.Named(collection).HistoryIn switch
            {
                null => "0",
                [] => "1",
                var statuses => $"case when {status} in ('{string.Join("', '", statuses)}') then 1 else 0 end",
            };
            Insert("records", count, "team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level, parent_id, body, body_hash, changed_at, is_history",
                $"'{Team}', {HostSql}, '{collection}', '{prefix}-' || {NumberSql}, 1000 * {AtSql}, '', 0, 'node', '', {status}, 'agent-1', '', {parent}, {sql}, '', {AtSql}, {history}", parts);
        }

        void Insert(string table, int count, string columns, string values, DynamicParameters? parts = null)
        {
            var arguments = parts ?? new DynamicParameters();
            arguments.Add("count", count);
            arguments.Add("hosts", options.Hosts);
            arguments.Add("now", TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds());
            connection.Execute(
                $"""
                insert into {table} ({columns})
                with recursive n(i) as (select 0 union all select i + 1 from n where i < @count - 1) select {values} from n
                """,
                arguments, transaction, commandTimeout: 0);
        }
    }

    /// <summary>An expression for the bytes of the message with the row's number in place of the placeholder, the first one that is found.</summary>
    private (string Sql, DynamicParameters Parts) BodyOf(IMessage message)
    {
        var bytes = message.ToByteArray();
        var at = bytes.AsSpan().IndexOf(Encoding.ASCII.GetBytes(Placeholder));
        var parts = new DynamicParameters();
        parts.Add("before", bytes[..at]);
        parts.Add("after", bytes[(at + Placeholder.Length)..]);
        return (
            _isPostgres ? $"@before || convert_to({NumberSql}, 'UTF8') || @after" : $"cast(@before || {NumberSql} || @after as blob)",
            parts);
    }
}
