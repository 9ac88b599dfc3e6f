using System.Data;
using System.Data.Common;
using Dapper;
using Npgsql;

namespace Hub.Storage;

internal sealed class PostgresEngine : StoreEngine
{
    public const string Role = "hub_app";

    /// <summary>
    /// The policy of a tenant table. Its condition is one that no index serves: the statements find their rows by their own conditions, and a
    /// plan must not read all of a team because the policy names the team. A policy under another name is replaced.
    /// </summary>
    internal const string Policy = "hub_teams";

    /// <summary>The comment of a table whose rows the Hub's role may add and read, never change or remove.</summary>
    private const string AppendOnly = "append only";

    // Any number of our own; advisory locks are per database.
    private const long MigrationLock = 0x687562_0001;

    // Settings of the transaction, as one statement that is planned once; its row is of no interest. It goes with queries that have
    // parameters of their own.
    private const string EnterScopeSql = """
        select set_config('role', @scope_role, true), set_config('hub.team_ids', @scope_teams, true),
            set_config('plan_cache_mode', @scope_plans, true)
        """;

    private const string ReadOnlySql = "set_config('transaction_read_only', 'on', true)";

    // How a list is read best depends on how much its host has, which a plan made for any host does not know. For what is found by key, as is
    // all that is written for a team, one plan is as good as another, and takes longer to make than the statement takes to run. What is done
    // for all teams is either, so the server chooses; that plan is not made anew where it is by key.
    private const string PlansOfLists = "force_custom_plan";
    private const string PlansByKey = "force_generic_plan";
    private const string PlansOfSystem = "auto";

    /// <summary>Numbers and inserts at once; an event knows how many of its team come after it.</summary>
    private const string WriteEventsSql = """
        with counted as (
            insert into team_counters (team_id, event_seq) select * from unnest(@teams, @counts)
            on conflict (team_id) do update set event_seq = team_counters.event_seq + excluded.event_seq
            returning team_id, event_seq),
        written as (
            insert into events (team_id, seq, kind, host_id, entity_id, version, at)
            select r.team_id, c.event_seq - r.after, r.kind, r.host_id, r.entity_id, r.version, @now
            from unnest(@teamIds, @after, @kinds, @hostIds, @entityIds, @versions) as r(team_id, after, kind, host_id, entity_id, version)
            join counted c on c.team_id = r.team_id)
        select team_id, event_seq from counted
        """;

    // A server that accepts and then says nothing must not hold a caller: each step of the driver is bounded. Both may be set in DATABASE_URL.
    private const int ConnectSeconds = 5;
    private const int CommandSeconds = 15;

    // Statements a session keeps planned, which takes longer than to run them. The Hub has fewer.
    private const int StatementsMax = 200;

    private readonly PostgresDialect _dialect;

    private readonly StoreOptions _options;

    private readonly TimeProvider _time;

    private readonly ILoggerFactory _logs;

    private readonly string _writerConnectionString;

    private readonly string _listenConnectionString;

    private readonly NpgsqlDataSource _readers;

    private PostgresEventRelay? _relay;

    public PostgresEngine(StoreOptions options, TimeProvider time, ILoggerFactory logs)
    {
        _options = options;
        _time = time;
        _logs = logs;
        var requireTls = options.Backend == StoreBackend.Supabase;
        var reader = Bounded(PostgresAddress.Parse(options.ConnectionString, requireTls));
        _dialect = new PostgresDialect($"{reader.Host}:{reader.Port}");
        reader.MaxPoolSize = options.ReadersMax;
        reader.ApplicationName ??= "hub";
        reader.NoResetOnClose = true; // What a read sets ends with its transaction.
        _readers = NpgsqlDataSource.Create(reader);

        var writer = Bounded(PostgresAddress.Parse(options.ConnectionString, requireTls));
        writer.Pooling = false; // The Writer owns its connection and must see its end.
        writer.ApplicationName ??= "hub-writer";
        _writerConnectionString = writer.ConnectionString;

        var listen = Bounded(PostgresAddress.Parse(options.ListenConnectionString ?? options.ConnectionString, requireTls));
        listen.Pooling = false;
        listen.ApplicationName ??= "hub-listen";
        listen.KeepAlive = 15; // seconds; a dead peer is found although nothing is sent
        _listenConnectionString = listen.ConnectionString;
    }

    public override IDialect Dialect => _dialect;

    public override TimeSpan SharedGroupTarget => TimeSpan.FromMilliseconds(20);

    public override int SharedWeightMax => 1_024;

    public override int WriterCount => _options.WriterCount;

    public override DbConnection OpenWriter()
    {
        var connection = new NpgsqlConnection(_writerConnectionString);
        try
        {
            // Not Open, which the driver does not bound: beside a server that accepts and says nothing it waits for as long as that lasts.
            connection.OpenAsync().GetAwaiter().GetResult();
            // A lock is not waited for longer than a caller would; a session whose process froze inside a transaction is ended by the
            // server, so that its row locks cannot stop the other replicas.
            connection.Execute(
                FormattableString.Invariant($"set lock_timeout = {(int)_options.LockTimeout.TotalMilliseconds}; set idle_in_transaction_session_timeout = '60s'"));
            // What is written is found by key; a plan made while a table was still empty would read all of it for every group.
            connection.Execute("set enable_seqscan = off; set enable_hashjoin = off; set enable_mergejoin = off; set jit = off");
            if (!_options.RelaxedDurability)
            {
                RequireDurability(connection);
            }
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    public override DbTransaction BeginWrite(DbConnection connection) => connection.BeginTransaction(IsolationLevel.ReadCommitted);

    public override void RequireStored(DbConnection connection)
    {
        // The server keeps its own files.
    }

    public override void EnterScope(DbConnection connection, DbTransaction transaction, TeamScope scope) =>
        connection.Execute(EnterScopeSql, ValuesOf(scope, PlansByKey), transaction);

    public override IReadOnlyList<T> Query<T>(
        DbConnection connection, DbTransaction transaction, TeamScope? enter, string sql, DynamicParameters values)
    {
        if (enter is not { } scope)
        {
            return connection.Query<T>(sql, values, transaction).AsList();
        }

        values.AddDynamicParams(ValuesOf(scope, PlansByKey));
        using var results = connection.QueryMultiple($"{EnterScopeSql}; {sql}", values, transaction);
        results.ReadSingle<string>();
        return results.Read<T>().AsList();
    }

    public override void BeginJob(DbConnection connection, DbTransaction transaction, TeamScope scope, bool releasePrevious)
    {
        var savepoint = releasePrevious ? "release savepoint job; savepoint job; " : "savepoint job; ";
        connection.Execute(savepoint + EnterScopeSql, ValuesOf(scope, PlansByKey), transaction);
    }

    public override void Execute(DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> calls)
    {
        using var batch = BatchOf(connection, transaction, calls);
        batch.ExecuteNonQuery();
    }

    public override IReadOnlyList<(string TeamId, long Seq)> Commit(
        DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> before, TeamScope? enter,
        IReadOnlyList<IGrouping<string, PendingEvent>> teams, long nowMs)
    {
        using var batch = BatchOf(connection, transaction, before);
        if (enter is { } scope)
        {
            Add(batch, EnterScopeSql, [("scope_role", Role), ("scope_teams", scope.Csv), ("scope_plans", PlansByKey)]);
        }

        if (teams.Count > 0)
        {
            AddEvents(batch, teams, nowMs);
        }

        // The server skips it where one before it fails.
        Add(batch, "commit", []);
        using var reader = batch.ExecuteReader();
        if (enter is not null)
        {
            reader.NextResult();
        }

        var last = new List<(string TeamId, long Seq)>(teams.Count);
        while (reader.Read())
        {
            last.Add((reader.GetString(0), reader.GetInt64(1)));
        }

        while (reader.NextResult())
        {
            // The commit is the last of them: what refuses it is thrown here.
        }

        return last;
    }

    public override async Task<T> ReadAsync<T>(TeamScope scope, Func<StoreReader, Task<T>> read, CancellationToken ct)
    {
        await using var connection = await _readers.OpenConnectionAsync(ct);
        await using var transaction = await connection.BeginTransactionAsync(IsolationLevel.RepeatableRead, ct);
        var result = await read(ReaderOf(scope, PlansOfLists, connection, transaction, ct));
        await transaction.CommitAsync(ct);
        return result;
    }

    public override async Task<IReadOnlyList<T>> QueryAsync<T>(TeamScope scope, string sql, object? args, bool byKey, CancellationToken ct)
    {
        // What goes in one round trip is a transaction of its own, which saves the round trip of a commit.
        await using var connection = await _readers.OpenConnectionAsync(ct);
        var plans = byKey ? PlansByKey : PlansOfLists;
        return await ReaderOf(scope, plans, connection, transaction: null, ct).QueryAsync<T>(sql, args);
    }

    public override void LockMigrations(DbConnection connection, DbTransaction transaction) =>
        connection.Execute("select pg_advisory_xact_lock(@MigrationLock)", new { MigrationLock }, transaction, commandTimeout: 0);

    public override string MigrationSql(Migration migration) =>
        migration.Sql.Replace("{blob}", _dialect.BlobType, StringComparison.Ordinal) + ";\n" + migration.PostgresSql;

    public override void PrepareRoles(DbConnection connection, DbTransaction transaction) =>
        // Roles belong to the cluster, so another database's Hub may create it at the same moment.
        connection.Execute(
            $"""
            do $$ begin
              if not exists (select from pg_roles where rolname = '{Role}') then
                create role {Role} nologin nosuperuser nobypassrls;
              end if;
            exception when duplicate_object or unique_violation then null;
            end $$;
            do $$ begin
              if not pg_has_role(current_user, '{Role}', 'member') then
                execute format('grant {Role} to %I', current_user);
              end if;
            end $$;
            """,
            transaction: transaction);

    public override void SecureTables(DbConnection connection, DbTransaction transaction) =>
        // The second policy is for the owner, whom FORCE subjects too: the system scope runs as the owner and sees every row.
        connection.Execute(
            $"""
            do $$
            declare missing record;
            begin
              execute format('grant usage on schema %I to {Role}', current_schema());
              for missing in
                select c.oid::regclass as name, needed from pg_class c
                cross join lateral (select case when obj_description(c.oid, 'pg_class') = '{AppendOnly}'
                    then array['select', 'insert'] else array['select', 'insert', 'update', 'delete'] end as needed) rights
                where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
                  and not (select bool_and(has_table_privilege('{Role}', c.oid, one)) from unnest(needed) one)
              loop
                execute format('grant %s on %s to {Role}', array_to_string(missing.needed, ', '), missing.name);
              end loop;
              for missing in
                select c.oid::regclass as name from pg_class c
                join pg_attribute a on a.attrelid = c.oid and a.attname = 'team_id' and not a.attisdropped
                where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
                  and not (c.relrowsecurity and c.relforcerowsecurity
                           and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = '{Policy}'))
              loop
                execute format('alter table %s enable row level security', missing.name);
                execute format('alter table %s force row level security', missing.name);
                execute format('drop policy if exists hub_team on %s', missing.name);
                execute format('drop policy if exists hub_system on %s', missing.name);
                execute format('drop policy if exists {Policy} on %s', missing.name);
                execute format(
                  'create policy {Policy} on %s to {Role} using ((team_id || '''') = any((select string_to_array(current_setting(''hub.team_ids'', true), '',''))::text[]))',
                  missing.name);
                execute format('create policy hub_system on %s to %I using (true)', missing.name, current_user);
              end loop;
            end $$;
            """,
            transaction: transaction);

    public override void SchemaReady(EventSignal events) =>
        _relay = new PostgresEventRelay(_readers, _listenConnectionString, events, _dialect, _time, _logs.CreateLogger<PostgresEventRelay>());

    public override void AnnounceEvents() => _relay?.Announce();

    public override async ValueTask DisposeAsync()
    {
        if (_relay is not null)
        {
            await _relay.DisposeAsync();
        }
        await _readers.DisposeAsync();
    }

    private StoreReader ReaderOf(TeamScope scope, string plans, DbConnection connection, DbTransaction? transaction, CancellationToken ct) =>
        new(_dialect, connection, transaction, ct, $"{EnterScopeSql}, {ReadOnlySql}", ValuesOf(scope, plans));

    private static void AddEvents(NpgsqlBatch batch, IReadOnlyList<IGrouping<string, PendingEvent>> teams, long nowMs)
    {
        PendingEvent[] events = [.. teams.SelectMany(team => team)];
        Add(batch, WriteEventsSql, [
            ("teams", teams.Select(team => team.Key).ToArray()),
            ("counts", teams.Select(team => (long)team.Count()).ToArray()),
            ("now", nowMs),
            ("teamIds", Array.ConvertAll(events, e => e.TeamId)),
            ("after", teams.SelectMany(team => team.Select((_, i) => (long)(team.Count() - 1 - i))).ToArray()),
            ("kinds", Array.ConvertAll(events, e => e.Kind)),
            ("hostIds", Array.ConvertAll(events, e => e.HostId)),
            ("entityIds", Array.ConvertAll(events, e => e.EntityId)),
            ("versions", Array.ConvertAll(events, e => e.Version)),
        ]);
    }

    private static NpgsqlBatch BatchOf(DbConnection connection, DbTransaction transaction, IReadOnlyList<RowsCall> calls)
    {
        var batch = new NpgsqlBatch((NpgsqlConnection)connection, (NpgsqlTransaction)transaction);
        foreach (var call in calls)
        {
            foreach (var sql in call.ArraysSql)
            {
                Add(batch, sql, call.ColumnNames.Select((column, i) => (column, (object)call.Values(i))));
            }
        }

        return batch;
    }

    private static void Add(NpgsqlBatch batch, string sql, IEnumerable<(string Name, object Value)> values)
    {
        var command = new NpgsqlBatchCommand(sql);
        foreach (var (name, value) in values)
        {
            command.Parameters.Add(new NpgsqlParameter(name, value));
        }

        batch.BatchCommands.Add(command);
    }

    /// <summary>Parameters of <see cref="EnterScopeSql"/>.</summary>
    private static object ValuesOf(TeamScope scope, string plans) => scope.IsSystem
        ? new { scope_role = "none", scope_teams = "", scope_plans = PlansOfSystem }
        : new { scope_role = Role, scope_teams = scope.Csv, scope_plans = plans };

    private NpgsqlConnectionStringBuilder Bounded(NpgsqlConnectionStringBuilder address)
    {
        // A pooler that cannot LISTEN gives each transaction another session, which knows no prepared statement.
        if (!address.ShouldSerialize("Max Auto Prepare") && _options.ListenConnectionString is null)
        {
            address.MaxAutoPrepare = StatementsMax;
        }

        address.Timeout = address.ShouldSerialize("Timeout") ? address.Timeout : ConnectSeconds;
        address.CommandTimeout = address.ShouldSerialize("Command Timeout") ? address.CommandTimeout : CommandSeconds;
        return address;
    }

    private static void RequireDurability(NpgsqlConnection connection)
    {
        // remote_apply waits for more than on does; everything else may lose an acknowledged commit.
        var setting = connection.QuerySingle<string>("show synchronous_commit");
        if (setting is "on" or "remote_apply")
        {
            return;
        }
        connection.Execute("set synchronous_commit = on");
        setting = connection.QuerySingle<string>("show synchronous_commit");
        if (setting != "on")
        {
            throw new StoreRefusedException(
                StoreRefusal.NotDurable,
                $"PostgreSQL would not keep what it acknowledged (synchronous_commit={setting}); set HUB_DURABILITY=relaxed to accept that.");
        }
    }
}
