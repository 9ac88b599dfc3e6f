using Dapper;
using Hub.Benchmarks.Swarm;
using Npgsql;

namespace Hub.Benchmarks.Bench;

/// <summary>Whether deltas cost more when there are more nodes, or more rows: the smallest is the floor of the others.</summary>
internal static class GrowthFigures
{
    private const int Links = 500;

    /// <summary>Hosts whose tasks fill the store; none of them is linked.</summary>
    private const int FillHosts = 500;

    /// <summary>Changes of each task before any count.</summary>
    private const int Rounds = 2;

    /// <summary>How far from the smallest's counts as flat.</summary>
    private const double Flat = 0.2;

    public static IEnumerable<Figure> All =>
    [
        Of("growth-nodes-sqlite", "100 nodes", [100, 1_000, 10_000], (nodes, seconds) => MeasureAsync("sqlite", nodes, 0, seconds)),
        Of("growth-rows-sqlite", "100 000 tasks of other hosts", [100_000, 1_000_000, 10_000_000], (rows, seconds) => MeasureAsync("sqlite", Links, rows, seconds)),
        Of("growth-rows-postgres", "100 000 tasks of other hosts", [100_000, 1_000_000, 10_000_000], (rows, seconds) => MeasureAsync("postgres", Links, rows, seconds)),
    ];

    private static Figure Of(string name, string floorIs, int[] sizes, Func<int, double, Task<double[]>> measureAsync) => new(
        name,
        floorIs,
        FormattableString.Invariant($"deltas per second flat within {Flat:P0}"),
        Figure.Rate,
        medians => medians.Values.All(median => Math.Abs(median[0] - medians[Figure.Floor][0]) <= Flat * medians[Figure.Floor][0]),
        [.. sizes.Select((size, i) => new Contender(i == 0 ? Figure.Floor : FormattableString.Invariant($"{size}"), seconds => measureAsync(size, seconds)))]);

    private static async Task<double[]> MeasureAsync(string store, int nodes, int rows, double seconds)
    {
        await using var scene = await SwarmScene.StartAsync(store, forced: true);
        if (rows > 0)
        {
            await FillAsync(scene, rows);
        }

        await using var swarm = await SwarmProcess.StartAsync(await scene.PlanAsync() with
        {
            Links = nodes,
            EntriesPerBatch = DeltaFigures.EntriesPerBatch,
            BatchesOnTheWay = DeltaFigures.BatchesOnTheWay,
        });
        // Afterwards each change is of a task that is stored, however many nodes there are.
        await swarm.UntilAsync(report => report.DeltasAcked >= Rounds * nodes * SwarmNode.Tasks, SwarmScene.Patience);
        var period = await DeltaFigures.WatchAsync(swarm, nodes, seconds);
        return [period.DeltasPerSecond, period.Deltas.Quantile(0.5).TotalMicroseconds, period.Deltas.Quantile(0.99).TotalMicroseconds];
    }

    private static async Task FillAsync(SwarmScene scene, int rows)
    {
        await using var connection = scene.Hubs[0].Connect();
        string Numbers(int count) => connection is NpgsqlConnection
            ? FormattableString.Invariant($"generate_series(0, {count - 1}) as n(i)")
            : FormattableString.Invariant($"(with recursive n(i) as (select 0 union all select i + 1 from n where i < {count - 1}) select i from n) as n");
        await connection.ExecuteAsync(
            $"""
            insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason, state_since,
                heartbeat, node_status, created_at)
            select 'fill-' || i, 'default', 'fill-' || i, 'other', '[]', '{"{}"}', '', '', 'OFFLINE', '', 0, '', '', 0 from {Numbers(FillHosts)}
            """,
            commandTimeout: 0);
        await connection.ExecuteAsync(
            $"""
            insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level, parent_id,
                body, body_hash, changed_at)
            select 'default', 'fill-' || i / {rows / FillHosts}, 'tasks', 'task-' || i, i, '', 0, 'node', '', 'doing', '', '', '', @body, 'none', 0
            from {Numbers(rows)}
            """,
            new { body = new byte[DeltaFigures.TaskBytes] },
            commandTimeout: 0);
    }
}
