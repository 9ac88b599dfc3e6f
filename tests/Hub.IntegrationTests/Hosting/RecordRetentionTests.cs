using Google.Protobuf;
using Hub.Contracts.V1;
using Hub.Hosting;
using Hub.Records;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Hosting;

/// <summary>Records, feedback, usage lines and settled conflicts go when the team's plan no longer keeps them, by their own date.</summary>
public abstract class RecordRetentionTests(StoreFixture fixture)
{
    private const long DayMs = 24L * 60 * 60 * 1000;

    /// <summary>What a record of each collection needs to be history.</summary>
    private static readonly (string Collection, string Over, string Open)[] Kinds =
    [
        ("tasks", "done", "doing"),
        ("insights", "closed", "candidate"),
        ("runs", "completed", "working"),
    ];

    /// <summary>These are history from the start.</summary>
    private static readonly string[] Logs = ["task_comments", "reflections", "run_events", "trust_events"];

    [Theory]
    [InlineData("free", 30)]
    [InlineData("pro", 90)]
    [InlineData("team", null)]
    public async Task Sweep_OfATeam_RemovesWhatIsOverAndOlderThanItsPlanKeeps(string plan, int? days)
    {
        await using var scene = await Scene.StartAsync(fixture, plan);
        var edge = (days ?? 3_650) * DayMs;
        await scene.AddAsync(Scene.Team, "old", edge);
        await scene.AddAsync(Scene.Team, "young", edge - 1);

        await scene.SweepAsync();

        string[] kept =
        [
            .. Kinds.Select(kind => $"{kind.Collection} old open"), "run_approvals old", "contexts old",
            .. Kinds.SelectMany(kind => new[] { $"{kind.Collection} young", $"{kind.Collection} young open" }),
            .. Logs.Select(log => $"{log} young"), "run_approvals young", "contexts young", "feedback young", "usage young", "conflict young",
            "conflict old open", "conflict young open",
        ];
        string[] gone = [.. Kinds.Select(kind => $"{kind.Collection} old"), .. Logs.Select(log => $"{log} old"), "feedback old", "usage old", "conflict old"];
        Assert.Equal((days is null ? [.. kept, .. gone] : kept).Order(StringComparer.Ordinal), await scene.StoredAsync(Scene.Team));
    }

    [Fact]
    public async Task Sweep_OfOneTeam_LeavesTheOthers()
    {
        await using var scene = await Scene.StartAsync(fixture, "free");
        await scene.AddTeamAsync("rich", "pro");
        await scene.AddAsync(Scene.Team, "old", 31 * DayMs);
        await scene.AddAsync("rich", "old", 31 * DayMs);
        var before = await scene.StoredAsync("rich");

        await scene.SweepAsync();

        Assert.Equal(before, await scene.StoredAsync("rich"));
        Assert.DoesNotContain("tasks old", await scene.StoredAsync(Scene.Team));
    }

    [Fact]
    public async Task Plan_ThatChanges_CountsFromTheNextSweep()
    {
        await using var scene = await Scene.StartAsync(fixture, "pro");
        await scene.AddAsync(Scene.Team, "old", 31 * DayMs);
        await scene.SweepAsync();
        var before = await scene.StoredAsync(Scene.Team);

        await scene.SetPlanAsync(Scene.Team, "free");
        await scene.SweepAsync();

        Assert.Contains("tasks old", before);
        Assert.DoesNotContain("tasks old", await scene.StoredAsync(Scene.Team));
    }

    [Fact]
    public async Task Sweep_OfMoreThanABatch_RemovesAllOfItABatchAtATime()
    {
        var commits = 0;
        await using var scene = await Scene.StartAsync(
            fixture, "free", step => Interlocked.Add(ref commits, step == WriteStep.AfterCommit ? 1 : 0));
        await scene.AddManyAsync(Scene.Team, (2 * Retention.BatchMax) + 1, 31 * DayMs);
        var before = Volatile.Read(ref commits);

        await scene.SweepAsync();

        Assert.Empty(await scene.StoredAsync(Scene.Team));
        Assert.Equal(3 + Retention.Sweeps.Length - 1, Volatile.Read(ref commits) - before); // And one for each other kind, of which nothing is due.
    }

    [Fact]
    public async Task Sweep_OfEvents_RemovesThoseOfEachTeamThatAreOlderThanAWeek()
    {
        await using var scene = await Scene.StartAsync(fixture, "free");
        await scene.AddTeamAsync("rich", "pro");
        await scene.AddTeamAsync("young", "pro");
        await scene.AddEventsAsync(Scene.Team, Retention.BatchMax + 1, 7 * DayMs);
        await scene.AddEventsAsync(Scene.Team, 1, (7 * DayMs) - 1);
        await scene.AddEventsAsync("rich", 1, 7 * DayMs);
        await scene.AddEventsAsync("young", 1, (7 * DayMs) - 1);

        await scene.SweepAsync();

        Assert.Equal([$"{Scene.Team} {Retention.BatchMax + 2}", "young 1"], await scene.EventsAsync());
    }

    [Fact]
    public async Task RecordThatIsOver_SentByANode_IsNotTaken()
    {
        await using var scene = await Scene.StartAsync(fixture, "free");
        var (hostId, credential) = await scene.Hub.ClaimAsync();
        var old = scene.NowMs - (30 * DayMs);
        using (var polling = scene.Hub.As(credential))
        {
            var answer = await polling.WriteAsync(
                $"/api/hosts/{hostId}/runs/run/stream",
                $$"""{"events":[{"id":"old","createdAt":{{old}}},{"id":"young","createdAt":{{old + 1}}}]}""");
            Assert.Equal(2, answer.Expect(200)["synced"].GetInt32());
        }

        await using var node = await RawNode.ConnectAsync(scene.Hub, credential);
        await node.ReadAsync();
        await node.SendAsync(RawNode.Batch(
            Lane.Data, 1, DeltaOf("old", old * 1000, "done"), DeltaOf("young", (old * 1000) + 1, "done"), DeltaOf("open", old * 1000, "doing")));
        await node.ReadUntilAsync(frame => frame.Ack is { Lane: Lane.Data, Seq: 3 });

        using var you = scene.Hub.As(await scene.Hub.UserTokenAsync());
        var events = (await you.ReadAsync($"/api/hosts/{hostId}/runs/run/events")).Expect(200)["events"].EnumerateArray();
        Assert.Equal("young", Assert.Single(events).GetProperty("id").GetString());
        Assert.Equal(["open doing", "young done"], await you.TasksOfAsync(hostId));
    }

    private static Entry DeltaOf(string id, long version, string status) => new()
    {
        Delta = new Delta
        {
            RecordId = id,
            Op = DeltaOp.Upsert,
            Collection = Collection.Tasks,
            Version = version,
            Task = new HostTask { Id = id, Title = id, Status = status },
        },
    };

    /// <summary>A Hub whose default team has a plan, and rows of any age.</summary>
    private sealed class Scene(HubHost hub, ManualTimeProvider time) : IAsyncDisposable
    {
        public const string Team = HubHost.Team;

        private const string InsertSql = """
            insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level,
                parent_id, body, body_hash, changed_at, is_history)
            values (@team, @host, @collection, @id, @version, '', 0, 'node', '', @status, '', '', '', @body, '', @now, @history)
            """;

        public HubHost Hub => hub;

        public long NowMs => time.GetUtcNow().ToUnixTimeMilliseconds();

        public static async Task<Scene> StartAsync(StoreFixture fixture, string plan, Action<WriteStep>? step = null)
        {
            var time = new ManualTimeProvider();
            var options = await fixture.CreateDatabaseAsync() with { FaultInjector = step };
            var scene = new Scene(await HubHost.StartAsync(fixture, options, time), time);
            await scene.SetPlanAsync(Team, plan);
            await scene.AddHostAsync(Team);
            return scene;
        }

        public async Task AddTeamAsync(string team, string plan)
        {
            await WriteAsync("insert into teams (team_id, name, created_at, plan) values (@team, @team, 1, @plan)", new { team, plan });
            await AddHostAsync(team);
        }

        public Task SetPlanAsync(string team, string plan) => WriteAsync("update teams set plan = @plan where team_id = @team", new { team, plan });

        public async Task AddAsync(string team, string id, long ageMs)
        {
            var at = NowMs - ageMs;
            foreach (var (collection, over, open) in Kinds)
            {
                await AddRecordAsync(team, collection, id, at, over);
                await AddRecordAsync(team, collection, $"{id} open", at, open);
            }

            foreach (var collection in Logs.Append("run_approvals").Append("contexts"))
            {
                await AddRecordAsync(team, collection, id, at, "done");
            }

            await WriteAsync(
                """
                insert into feedback (feedback_id, team_id, host_id, kind, status, body, created_at, version, fingerprint)
                values (@team || @id, @team, '', '', 'OPEN', @body, @at, 1, '')
                """,
                new { team, id, at, body = Array.Empty<byte>() });
            // A day of use is over when all of it is.
            var day = DateTimeOffset.FromUnixTimeMilliseconds(id == "old" ? at - DayMs : at)
                .ToString("yyyy-MM-dd", System.Globalization.CultureInfo.InvariantCulture);
            await WriteAsync("insert into usage_ledger values (@team, @host, @day, @id, '', 1, 1, 1, 1)", new { team, host = $"host-{team}", day, id });
            foreach (var (conflict, resolved) in new[] { (id, (long?)at), ($"{id} open", null) })
            {
                await WriteAsync(
                    """
                    insert into sync_conflicts (conflict_id, team_id, host_id, collection, record_id, base_version, stored_version, incoming_version,
                        created_at, resolved_at)
                    values (@team || @conflict, @team, @host, 'tasks', @conflict, 1, 2, 3, @at, @resolved)
                    """,
                    new { team, host = $"host-{team}", conflict, at, resolved });
            }
        }

        public Task AddManyAsync(string team, int count, long ageMs) => hub.Store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                foreach (var i in Enumerable.Range(0, count))
                {
                    tx.Execute(InsertSql, RecordOf(team, "run_events", $"event-{i}", NowMs - ageMs, ""));
                }
            }).Within();

        /// <summary>Adds events after those of the team.</summary>
        public Task AddEventsAsync(string team, int count, long ageMs) => hub.Store.WriteAsync(
            Store.SystemTeam,
            tx =>
            {
                for (var i = 0; i < count; i++)
                {
                    tx.Execute("insert into team_counters (team_id, event_seq) values (@team, 0) on conflict (team_id) do nothing", new { team });
                    tx.Execute("update team_counters set event_seq = event_seq + 1 where team_id = @team", new { team });
                    tx.Execute(
                        """
                        insert into events (team_id, seq, kind, entity_id, version, at)
                        select team_id, event_seq, 'FEEDBACK', 'e', 1, @at from team_counters where team_id = @team
                        """,
                        new { team, at = NowMs - ageMs });
                }
            }).Within();

        /// <summary>The team and number of each.</summary>
        public async Task<IEnumerable<string>> EventsAsync() => (await hub.Store.ReadAsync(
            TeamScope.System, reader => reader.QueryAsync<string>("select team_id || ' ' || seq from events"))).Order(StringComparer.Ordinal);

        public Task SweepAsync() => hub.SweepRetentionAsync();

        public async Task<IEnumerable<string>> StoredAsync(string team) => (await hub.Store.ReadAsync(
            TeamScope.System,
            reader => reader.QueryAsync<string>(
                """
                select collection || ' ' || record_id from records where team_id = @team
                union all select 'feedback ' || substr(feedback_id, length(@team) + 1) from feedback where team_id = @team
                union all select 'usage ' || agent from usage_ledger where team_id = @team
                union all select 'conflict ' || record_id from sync_conflicts where team_id = @team
                """,
                new { team }))).Order(StringComparer.Ordinal);

        public ValueTask DisposeAsync() => hub.DisposeAsync();

        private Task AddHostAsync(string team) => WriteAsync(
            """
            insert into hosts (host_id, team_id, name, host_type, capabilities, labels, node_version, platform, state, state_reason, state_since,
                heartbeat, node_status, created_at)
            values (@host, @team, 'n', '', '', '', '', '', 'NEW', 'UNSPECIFIED', 1, '', '', 1)
            """,
            new { team, host = $"host-{team}" });

        private Task AddRecordAsync(string team, string collection, string id, long at, string status) =>
            WriteAsync(InsertSql, RecordOf(team, collection, id, at, status));

        private static object RecordOf(string team, string collection, string id, long at, string status)
        {
            var kind = RecordCollections.Named(collection);
            var body = kind.Read([], 0);
            body.Descriptor.FindFieldByName("status")?.Accessor.SetValue(body, status);
            var history = kind.IsHistory(body) ? 1L : 0;
            return new { team, host = $"host-{team}", collection, id, version = at * 1000, status, body = body.ToByteArray(), now = at, history };
        }

        private async Task WriteAsync(string sql, object args) => await hub.Store.WriteAsync(Store.SystemTeam, tx => tx.Execute(sql, args)).Within();
    }
}

public sealed class SqliteRecordRetentionTests(SqliteStoreFixture fixture) : RecordRetentionTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresRecordRetentionTests(PostgresStoreFixture fixture) : RecordRetentionTests(fixture), IClassFixture<PostgresStoreFixture>;
