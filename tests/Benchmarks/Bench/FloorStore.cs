using System.Data;
using System.Data.Common;
using System.Diagnostics;
using Dapper;
using Google.Protobuf;
using Hub.Benchmarks.Swarm;
using Hub.Contracts.V1;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;
using Npgsql;
using NpgsqlTypes;

namespace Hub.Benchmarks.Bench;

/// <summary>
/// A database with the Hub's own tables, and the rows that deltas of tasks write (the record and its event), without a Hub: what the driver
/// can do alone, at the same durability.
/// </summary>
internal sealed class FloorStore : IAsyncDisposable
{
    /// <summary>As many as the Hub's Writer takes at most.</summary>
    public const int RowsPerCommit = Writer.GroupJobsMax;

    private const string Team = "floor";

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("hub-floor-");
    private readonly int _hosts;
    private PostgresServer? _postgres;
    private DbConnection? _connection;
    private IRows? _rows;
    private readonly string _text = new('x', new SwarmPlan { Hubs = [], Rest = new Uri("http://127.0.0.1"), ApiKey = "" }.TextBytes);
    private long _next;

    private FloorStore(int hosts) => _hosts = hosts;

    private interface IRows : IDisposable
    {
        public void Write(DbTransaction transaction, Row[] rows);
    }

    /// <param name="store">sqlite or postgres.</param>
    /// <param name="hosts">Whose tasks are written, in turns.</param>
    public static async Task<FloorStore> OpenAsync(string store, int hosts)
    {
        var floor = new FloorStore(hosts);
        try
        {
            await floor.OpenAsync(store);
            return floor;
        }
        catch
        {
            await floor.DisposeAsync();
            throw;
        }
    }

    /// <summary>Writes and commits for so long; yields rows per second, and of the commits' times p50 and p99 in microseconds.</summary>
    public double[] Write(TimeSpan duration, int rowsPerCommit)
    {
        var commits = new LatencyHistogram();
        var clock = Stopwatch.StartNew();
        for (var before = TimeSpan.Zero; before < duration; before = clock.Elapsed)
        {
            using var transaction = _connection is SqliteConnection open ? open.BeginTransaction(deferred: false) : _connection!.BeginTransaction();
            _rows!.Write(transaction, [.. Enumerable.Range(0, rowsPerCommit).Select(_ => Next())]);
            transaction.Commit();
            commits.Add(clock.Elapsed - before);
        }

        return [commits.Count * rowsPerCommit / clock.Elapsed.TotalSeconds, commits.Quantile(0.5).TotalMicroseconds, commits.Quantile(0.99).TotalMicroseconds];
    }

    public async ValueTask DisposeAsync()
    {
        _rows?.Dispose();
        if (_connection is not null)
        {
            await _connection.DisposeAsync();
        }

        if (_postgres is not null)
        {
            await _postgres.DisposeAsync();
        }

        _directory.Delete(recursive: true);
    }

    private async Task OpenAsync(string store)
    {
        var options = new StoreOptions { SqlitePath = Path.Combine(_directory.FullName, "floor.db") };
        if (store == "postgres")
        {
            _postgres = await PostgresServer.StartNewAsync(forced: true);
            options = options with { Backend = StoreBackend.Postgres, ConnectionString = await _postgres.CreateDatabaseAsync() };
        }

        // The Hub's migrations, and the hosts that the rows belong to.
        await using (var opened = await Store.OpenAsync(options, TimeProvider.System, NullLoggerFactory.Instance, CancellationToken.None))
        {
            await opened.WriteAsync(Store.SystemTeam, Enrol);
        }

        if (_postgres is null)
        {
            var sqlite = new SqliteConnection($"Data Source={options.SqlitePath};Foreign Keys=True;Pooling=False");
            _connection = sqlite;
            await sqlite.OpenAsync();
            await sqlite.ExecuteAsync("pragma journal_mode = wal; pragma synchronous = full");
            _rows = new SqliteRows(sqlite);
        }
        else
        {
            var postgres = new NpgsqlConnection(options.ConnectionString);
            _connection = postgres;
            await postgres.OpenAsync();
            _rows = new PostgresRows(postgres);
        }
    }

    private void Enrol(StoreTransaction tx)
    {
        tx.Execute("insert into teams (team_id, name, created_at) values (@Team, @Team, @NowMs)", new { Team, tx.NowMs });
        for (var host = 0; host < _hosts; host++)
        {
            tx.Execute(
                """
                insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason, state_since,
                    heartbeat, node_status, created_at)
                values (@hostId, @Team, @hostId, 'reflectt-node', '[]', '{}', '', '', 'ONLINE', '', 0, '', '', @NowMs)
                """,
                new { hostId = HostId(host), Team, tx.NowMs });
        }
    }

    /// <summary>In the order in which the nodes send them: a batch of each in turns.</summary>
    private Row Next()
    {
        var number = _next++;
        var host = number / DeltaFigures.EntriesPerBatch % _hosts;
        var round = number / DeltaFigures.EntriesPerBatch / _hosts;
        var taskId = $"task-{((round * DeltaFigures.EntriesPerBatch) + (number % DeltaFigures.EntriesPerBatch)) % SwarmNode.Tasks}";
        var body = new HostTask { Id = taskId, Title = SwarmNode.TitleOf(number + 1), Status = SwarmNode.TaskStatus, Description = _text }.ToByteArray();
        return new Row(HostId((int)host), taskId, number + 1, body, RecordStore.HashOf(body));
    }

    private static string HostId(int host) => $"host-{Guid.Empty:N}-{host}";

    private sealed record Row(string HostId, string TaskId, long Version, byte[] Body, string Hash);

    /// <summary>One statement a row, compiled once.</summary>
    private sealed class SqliteRows : IRows
    {
        private readonly SqliteCommand _record;
        private readonly SqliteCommand _event;

        public SqliteRows(SqliteConnection connection)
        {
            _record = Prepare(connection, RecordStore.Upsert.RowSql, new()
            {
                ["team_id"] = Team,
                ["host_id"] = "",
                ["collection"] = "tasks",
                ["record_id"] = "",
                ["version"] = 0L,
                ["journal_id"] = "journal",
                ["seq"] = 0L,
                ["origin"] = "node",
                ["snapshot_id"] = "",
                ["status"] = SwarmNode.TaskStatus,
                ["agent"] = "",
                ["level"] = "",
                ["parent_id"] = "",
                ["body"] = Array.Empty<byte>(),
                ["body_hash"] = "",
                ["changed_at"] = 0L,
                ["deleted_at"] = DBNull.Value,
                ["is_history"] = 0L,
            });
            _event = Prepare(
                connection,
                "insert into events(team_id, seq, kind, host_id, entity_id, version, at) values (@team_id, @version, 'TASK_CHANGED', @host_id, @record_id, @version, 0)",
                new()
                {
                    ["team_id"] = Team,
                    ["host_id"] = "",
                    ["record_id"] = "",
                    ["version"] = 0L,
                });
        }

        public void Write(DbTransaction transaction, Row[] rows)
        {
            foreach (var row in rows)
            {
                foreach (var command in (SqliteCommand[])[_record, _event])
                {
                    command.Transaction = (SqliteTransaction)transaction;
                    command.Parameters["@host_id"].Value = row.HostId;
                    command.Parameters["@record_id"].Value = row.TaskId;
                    command.Parameters["@version"].Value = row.Version;
                }

                _record.Parameters["@seq"].Value = row.Version;
                _record.Parameters["@body"].Value = row.Body;
                _record.Parameters["@body_hash"].Value = row.Hash;
                _record.ExecuteNonQuery();
                _event.ExecuteNonQuery();
            }
        }

        public void Dispose()
        {
            _record.Dispose();
            _event.Dispose();
        }

        private static SqliteCommand Prepare(SqliteConnection connection, string sql, Dictionary<string, object> values)
        {
            var command = connection.CreateCommand();
            command.CommandText = sql;
            foreach (var (name, value) in values)
            {
                command.Parameters.AddWithValue($"@{name}", value);
            }

            command.Prepare();
            return command;
        }
    }

    /// <summary>All rows of a commit in one statement for each table, compiled once.</summary>
    private sealed class PostgresRows : IRows
    {
        private const string RecordsSql = """
            insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
                parent_id, body, body_hash, changed_at)
            select 'floor', host_id, 'tasks', record_id, version, 'journal', version, 'node', '', 'doing', '', '', '', body, hash, 0
            from unnest(@hosts, @records, @versions, @bodies, @hashes) as r(host_id, record_id, version, body, hash)
            on conflict (host_id, collection, record_id) do update set version = excluded.version, journal_id = excluded.journal_id,
                seq = excluded.seq, origin = excluded.origin, snapshot_id = excluded.snapshot_id, status = excluded.status,
                agent = excluded.agent, level = excluded.level, parent_id = excluded.parent_id, body = excluded.body,
                body_hash = excluded.body_hash, changed_at = excluded.changed_at, deleted_at = excluded.deleted_at
            """;

        private const string EventsSql = """
            insert into events (team_id, seq, kind, host_id, entity_id, version, at)
            select 'floor', version, 'TASK_CHANGED', host_id, record_id, version, 0 from unnest(@hosts, @records, @versions) as r(host_id, record_id, version)
            """;

        private readonly NpgsqlCommand _records;
        private readonly NpgsqlCommand _events;

        public PostgresRows(NpgsqlConnection connection)
        {
            _records = new NpgsqlCommand(RecordsSql, connection);
            _events = new NpgsqlCommand(EventsSql, connection);
            foreach (var command in (NpgsqlCommand[])[_records, _events])
            {
                command.Parameters.Add(new NpgsqlParameter("hosts", NpgsqlDbType.Array | NpgsqlDbType.Text));
                command.Parameters.Add(new NpgsqlParameter("records", NpgsqlDbType.Array | NpgsqlDbType.Text));
                command.Parameters.Add(new NpgsqlParameter("versions", NpgsqlDbType.Array | NpgsqlDbType.Bigint));
            }

            _records.Parameters.Add(new NpgsqlParameter("bodies", NpgsqlDbType.Array | NpgsqlDbType.Bytea));
            _records.Parameters.Add(new NpgsqlParameter("hashes", NpgsqlDbType.Array | NpgsqlDbType.Text));
            _records.Prepare();
            _events.Prepare();
        }

        public void Write(DbTransaction transaction, Row[] rows)
        {
            foreach (var command in (NpgsqlCommand[])[_records, _events])
            {
                command.Transaction = (NpgsqlTransaction)transaction;
                command.Parameters["hosts"].Value = rows.Select(row => row.HostId).ToArray();
                command.Parameters["records"].Value = rows.Select(row => row.TaskId).ToArray();
                command.Parameters["versions"].Value = rows.Select(row => row.Version).ToArray();
            }

            _records.Parameters["bodies"].Value = rows.Select(row => row.Body).ToArray();
            _records.Parameters["hashes"].Value = rows.Select(row => row.Hash).ToArray();
            _records.ExecuteNonQuery();
            _events.ExecuteNonQuery();
        }

        public void Dispose()
        {
            _records.Dispose();
            _events.Dispose();
        }
    }
}
