using Hub.Hosting;
using Hub.Storage;

namespace Hub.Hosts;

/// <summary>
/// Erases what deleted hosts have left, in batches: a host with a million records is no reason for others to wait. Its commands go last, for
/// events tell of them.
/// </summary>
internal static class HostErasure
{
    private const string DueSql = "select host_id, deleted_at from hosts where erase_at <= @NowMs order by erase_at limit 1";

    private const string NextSql = "update hosts set erase_at = @eraseAt where host_id = @HostId";

    private static readonly string[] AtOnceSql =
    [
        ErasedBy("records", "host_id, collection, record_id"),
        ErasedBy("chat_messages", "host_id, message_id"),
        ErasedBy("usage_ledger", "host_id, day, agent, model"),
        ErasedBy("sync_conflicts", "conflict_id"),
        ErasedBy("run_decisions", "host_id, event_id"),
        ErasedBy("rejected_deltas", "host_id, rejected_id"),
        ErasedBy("snapshots", "host_id, collection"),
    ];

    private static readonly string[] LastSql = [.. AtOnceSql, ErasedBy("commands", "command_id")];

    /// <returns>Rows that were erased, and hosts done with; less than the limit once nothing is due.</returns>
    public static int Sweep(StoreTransaction tx, int limit)
    {
        var erased = 0;
        while (erased < limit && tx.QuerySingleOrDefault<DueRow>(DueSql, new { tx.NowMs }) is { } host)
        {
            var commandsAt = host.DeletedAt + (long)Retention.EventsKept.TotalMilliseconds;
            var isLast = commandsAt <= tx.NowMs;
            foreach (var sql in isLast ? LastSql : AtOnceSql)
            {
                erased += tx.Execute(sql, new { host.HostId, limit = limit - erased });
                if (erased == limit)
                {
                    return erased;
                }
            }

            tx.Execute(NextSql, new { host.HostId, eraseAt = isLast ? null : (long?)commandsAt });
            erased++;
        }

        return erased;
    }

    private static string ErasedBy(string table, string key) =>
        $"delete from {table} where ({key}) in (select {key} from {table} where host_id = @HostId limit @limit)";

    private sealed record DueRow(string HostId, long DeletedAt);
}
