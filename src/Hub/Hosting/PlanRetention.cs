using System.Globalization;
using Hub.Records;
using Hub.Storage;

namespace Hub.Hosting;

/// <summary>
/// Removes what a team's plan (table plans) no longer keeps, wherever rows grow with time. What is open or has still to reach a node stays,
/// whatever its age. The audit log is no history of this kind: nothing removes it.
/// </summary>
internal static class PlanRetention
{
    /// <summary>
    /// The order of the tables is the order to read them in: for each team of the plan the oldest of its rows by an index, never all rows
    /// of a collection to ask for the team of each.
    /// </summary>
    internal const string RecordsSql = """
        delete from records where (host_id, collection, record_id) in (
            select r.host_id, r.collection, r.record_id from teams t cross join records r
            where t.plan = @Plan and r.team_id = t.team_id and r.collection = @Name and r.is_history = 1 and r.version <= @Version
            limit @limit)
        """;

    private const string FeedbackSql = """
        delete from feedback where feedback_id in (
            select f.feedback_id from teams t cross join feedback f
            where t.plan = @Plan and f.team_id = t.team_id and f.created_at <= @Before limit @limit)
        """;

    private const string ChatSql = """
        delete from chat_messages where (host_id, message_id) in (
            select c.host_id, c.message_id from teams t cross join hosts h cross join chat_messages c
            where t.plan = @Plan and h.team_id = t.team_id and c.host_id = h.host_id and c.direction in ('to_node', 'from_node')
                and c.received_at <= @Before and (c.direction = 'from_node' or c.delivered_at is not null)
            limit @limit)
        """;

    private const string CommandsSql = """
        delete from commands where command_id in (
            select c.command_id from teams t cross join hosts h cross join commands c
            where t.plan = @Plan and h.team_id = t.team_id and c.host_id = h.host_id and c.created_at <= @Before and c.finished_at <= @Before
            limit @limit)
        """;

    private const string UsageSql = """
        delete from usage_ledger where (host_id, day, agent, model) in (
            select u.host_id, u.day, u.agent, u.model from teams t cross join hosts h cross join usage_ledger u
            where t.plan = @Plan and h.team_id = t.team_id and u.host_id = h.host_id and u.day < @Day limit @limit)
        """;

    private const string ConflictsSql = """
        delete from sync_conflicts where conflict_id in (
            select c.conflict_id from teams t cross join hosts h cross join sync_conflicts c
            where t.plan = @Plan and h.team_id = t.team_id and c.host_id = h.host_id and c.created_at <= @Before and c.resolved_at is not null
            limit @limit)
        """;

    private static readonly string[] BesideRecordsSql = [FeedbackSql, ChatSql, CommandsSql, UsageSql, ConflictsSql];

    /// <summary>Removes rows of each kind for each plan, until a batch is full.</summary>
    /// <returns>The size of the fullest batch.</returns>
    public static int Sweep(StoreTransaction tx, int limit)
    {
        var fullest = 0;
        foreach (var plan in tx.Query<PlanRow>("select plan, retention_days from plans where retention_days is not null"))
        {
            foreach (var (sql, values) in StatementsOf(plan, tx.NowMs - (plan.RetentionDays * RecordRetention.DayMs), limit))
            {
                fullest = Math.Max(fullest, tx.Execute(sql, values));
                if (fullest == limit)
                {
                    return fullest;
                }
            }
        }

        return fullest;
    }

    private static IEnumerable<(string Sql, object Values)> StatementsOf(PlanRow plan, long before, int limit)
    {
        foreach (var collection in RecordCollections.All.Where(collection => collection.HistoryIn is not null))
        {
            yield return (RecordsSql, new { plan.Plan, collection.Name, Version = RecordRetention.VersionAt(before), limit });
        }

        var due = new
        {
            plan.Plan,
            Before = before,
            Day = DateTimeOffset.FromUnixTimeMilliseconds(before).ToString("yyyy-MM-dd", CultureInfo.InvariantCulture),
            limit,
        };
        foreach (var sql in BesideRecordsSql)
        {
            yield return (sql, due);
        }
    }

    private sealed record PlanRow(string Plan, long RetentionDays);
}
