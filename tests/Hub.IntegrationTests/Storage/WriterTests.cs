using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

public sealed class SqliteWriterTests(SqliteStoreFixture fixture) : WriterTests(fixture), IClassFixture<SqliteStoreFixture>
{
    [Fact]
    public async Task Write_DiskIsFull_GroupIsGivenBackAndTheNextWorks()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var before = store.AddNoteAsync("before");
        var filling = store.WriteAsync(TestSchema.Team, transaction =>
        {
            // The limit is the connection's, which is opened again after the fault.
            transaction.Execute("pragma max_page_count = 1");
            transaction.Execute(
                "insert into notes(note_id, team_id, body, payload) values ('big', 'team-a', 'big', @payload)", new { payload = new byte[1 << 20] });
        });
        await held.DisposeAsync();

        await Assert.ThrowsAsync<StoreUnavailableException>(() => before.Within());
        await Assert.ThrowsAsync<StoreUnavailableException>(() => filling.Within());
        await store.AddNoteAsync("after").Within();
        Assert.Equal(["after"], await store.NotesAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Write_WithoutEnd_LogStartsOver(bool areThereReads)
    {
        const int pageBytes = 4096;
        const int groups = 300;
        const int pagesOfGroup = 100;
        var options = await Fixture.CreateTestDatabaseAsync();
        await using var store = await Fixture.OpenAsync(options);
        using var written = new CancellationTokenSource();
        var reading = Task.Run(async () =>
        {
            while (areThereReads && !written.IsCancellationRequested)
            {
                await store.NotesAsync();
            }
        });

        for (var i = 0; i < groups; i++)
        {
            await store.WriteAsync(TestSchema.Team, transaction => transaction.Execute(
                "insert into notes(note_id, team_id, body, payload) values (@id, 'team-a', @id, @payload)",
                new { id = $"{i}", payload = new byte[pagesOfGroup * pageBytes] })).Within();
        }

        await written.CancelAsync();
        await reading.Within();

        // All pages are in it at least once, had it never started over.
        var log = new FileInfo(options.SqlitePath + "-wal").Length;
        Assert.InRange(log, 1, groups * pagesOfGroup * pageBytes / 2);
    }

    [Fact]
    public async Task Dispose_FileWasReadAndWritten_LeavesNoLog()
    {
        var options = await Fixture.CreateTestDatabaseAsync();
        await using (var store = await Fixture.OpenAsync(options))
        {
            await store.AddNoteAsync("a").Within();
            Assert.Equal(["a"], await store.NotesAsync());
        }

        Assert.False(File.Exists(options.SqlitePath + "-wal"));
    }
}

public sealed class PostgresWriterTests(PostgresStoreFixture fixture) : WriterTests(fixture), IClassFixture<PostgresStoreFixture>;

public abstract class WriterTests(StoreFixture fixture)
{
    protected StoreFixture Fixture { get; } = fixture;

    private const string Team = TestSchema.Team;

    [Fact]
    public async Task Write_JobReturnsValue_CallerGetsItAndRowIsStored()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var answer = await store.WriteAsync(Team, transaction =>
        {
            transaction.InsertNote("a");
            return transaction.QuerySingle<long>("select count(*) from notes");
        }).Within();

        Assert.Equal(1, answer);
        Assert.Equal(["a"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_JobsQueuedWhileOneRuns_CommitOnce()
    {
        var commits = 0;
        await using var store = await Fixture.OpenTestStoreAsync(
            options => options with { FaultInjector = step => commits += step == WriteStep.AfterCommit ? 1 : 0 }, new ManualTimeProvider());

        var held = await store.HoldWriterAsync();
        var writes = Enumerable.Range(0, 20).Select(i => store.AddNoteAsync($"n{i}")).ToArray();
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();

        Assert.Equal(2, commits); // The one that held the writer, and all the others.
    }

    [Fact]
    public async Task Write_MoreJobsThanAGroupHolds_CommitInSeveralGroups()
    {
        var commits = 0;
        await using var store = await Fixture.OpenTestStoreAsync(
            options => options with { FaultInjector = step => commits += step == WriteStep.AfterCommit ? 1 : 0 }, new ManualTimeProvider());

        var held = await store.HoldWriterAsync();
        var writes = Enumerable.Range(0, Writer.GroupJobsMax + 1).Select(_ => store.WriteAsync(Team, _ => { })).ToArray();
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();

        Assert.Equal(3, commits);
    }

    [Fact]
    public async Task Write_CommitNotMadeYet_TaskIsOpenAndRowUnseen()
    {
        using var beforeCommit = new SemaphoreSlim(0);
        using var commit = new ManualResetEventSlim();
        var options = await Fixture.CreateTestDatabaseAsync() with
        {
            FaultInjector = step =>
            {
                if (step == WriteStep.BeforeCommit)
                {
                    beforeCommit.Release();
                    commit.Wait(WithinExtensions.DefaultLimit);
                }
            },
        };
        await using var store = await Fixture.OpenAsync(options);

        var write = store.AddNoteAsync("a");
        await beforeCommit.WaitAsync().Within();

        Assert.False(write.IsCompleted);
        Assert.Empty(Fixture.CommittedNotes(options));
        commit.Set();
        await write.Within();
        Assert.Equal(["a"], Fixture.CommittedNotes(options));
    }

    [Fact]
    public async Task Write_JobThrows_ItsCallerGetsTheExceptionAndTheGroupGoesOn()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var before = store.AddNoteAsync("before");
        var throwing = store.WriteAsync(Team, transaction =>
        {
            transaction.InsertNote("undone");
            throw new FormatException("mine");
        });
        var after = store.AddNoteAsync("after");
        await held.DisposeAsync();

        Assert.Equal("mine", (await Assert.ThrowsAsync<FormatException>(() => throwing.Within())).Message);
        await Task.WhenAll(before, after).Within();
        Assert.Equal(["after", "before"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_JobThrows_ItsGroupRunsOnceMoreAndTheNextGoesOnAtOnce()
    {
        var runs = new List<string>(); // Only the writer's thread adds.
        await using var store = await Fixture.OpenTestStoreAsync(options => options, new ManualTimeProvider());

        async Task WriteGroupAsync(string group)
        {
            var held = await store.HoldWriterAsync();
            var good = store.WriteAsync(Team, _ => runs.Add($"{group} good"));
            var bad = store.WriteAsync(Team, _ =>
            {
                runs.Add($"{group} bad");
                throw new FormatException("mine");
            });
            await held.DisposeAsync();
            await good.Within();
            await Assert.ThrowsAsync<FormatException>(() => bad.Within());
        }

        await WriteGroupAsync("first");
        await WriteGroupAsync("second");

        Assert.Equal(["first good", "first bad", "first good", "first bad", "second good", "second bad"], runs);
    }

    [Fact]
    public async Task Write_JobGoesOnAfterFailedStatement_FailsAlone()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddNoteAsync("a").Within();

        var held = await store.HoldWriterAsync();
        var hiding = store.WriteAsync(Team, transaction =>
        {
            transaction.InsertNote("undone");
            try
            {
                transaction.InsertNote("a");
            }
            catch (ConstraintException)
            {
                // The mistake under test.
            }
        });
        var after = store.AddNoteAsync("b");
        await held.DisposeAsync();

        Assert.IsType<ConstraintException>((await Assert.ThrowsAsync<InvalidOperationException>(() => hiding.Within())).InnerException);
        await after.Within();
        Assert.Equal(["a", "b"], await store.NotesAsync());
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(3, false)]
    [InlineData(6, false)]
    [InlineData(3, true)]
    public async Task Write_CommitFailsForOneJob_ItAloneBearsTheConstraint(int culprit, bool areThereEvents)
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var writes = Enumerable.Range(0, 7).Select(i => store.WriteAsync(Team, transaction =>
        {
            transaction.Execute(
                "insert into notes(note_id, team_id, body, late_parent_id) values (@id, @team, @id, @parent)",
                new { id = $"n{i}", team = Team, parent = i == culprit ? "nobody" : null });
            if (areThereEvents)
            {
                transaction.AppendEvent(Team, "note", null, $"n{i}", version: 1);
            }
        })).ToArray();
        await held.DisposeAsync();

        var failure = await Assert.ThrowsAsync<ConstraintException>(() => writes[culprit].Within());
        Assert.Equal(ConstraintKind.ForeignKey, failure.Kind);
        await Task.WhenAll(writes.Where((_, i) => i != culprit)).Within();
        Assert.Equal(6, (await store.NotesAsync()).Count);
    }

    [Fact]
    public async Task Write_JobDestroysItsSavepoint_OthersCommitWithoutIt()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var before = store.AddNoteAsync("before");
        var destroying = store.WriteAsync(Team, transaction =>
        {
            transaction.Execute("rollback");
            throw new FormatException("mine");
        });
        var after = store.AddNoteAsync("after");
        await held.DisposeAsync();

        await Assert.ThrowsAsync<FormatException>(() => destroying.Within());
        await Task.WhenAll(before, after).Within();
        Assert.Equal(["after", "before"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_JobEndsTheTransaction_ItAloneFails()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        var before = store.AddNoteAsync("before");
        var ending = store.WriteAsync(Team, transaction => transaction.Execute("rollback"));
        await held.DisposeAsync();

        await Assert.ThrowsAsync<InvalidOperationException>(() => ending.Within());
        await before.Within();
        Assert.Equal(["before"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_CancelledBeforeStart_NeverRuns()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        using var cancel = new CancellationTokenSource();

        var held = await store.HoldWriterAsync();
        var write = store.WriteAsync(Team, transaction => transaction.InsertNote("a"), cancel.Token);
        await cancel.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => write.Within());
        await held.DisposeAsync();
        await store.AddNoteAsync("b").Within();

        Assert.Equal(["b"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_CancelledAfterStart_Commits()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        using var cancel = new CancellationTokenSource();

        await store.WriteAsync(
            Team,
            transaction =>
            {
                cancel.Cancel();
                transaction.InsertNote("a");
            },
            cancel.Token).Within();

        Assert.Equal(["a"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_QueueIsFull_CallersWaitAndAllCommit()
    {
        const int bound = 4;
        await using var store = await Fixture.OpenTestStoreAsync(options => options with { QueueJobsMax = bound });

        var held = await store.HoldWriterAsync();
        var writes = Enumerable.Range(0, 50).Select(i => store.AddNoteAsync($"n{i}")).ToArray();

        Assert.Equal(bound, store.QueuedJobs);
        Assert.DoesNotContain(writes, write => write.IsCompleted);
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();
        Assert.Equal(50, (await store.NotesAsync()).Count);
    }

    [Fact]
    public async Task OnCommitted_SeveralJobs_RunsInJobOrderBeforeTheTaskCompletes()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        var order = new List<int>();

        var held = await store.HoldWriterAsync();
        var writes = Enumerable.Range(0, 10).Select(async i =>
        {
            await store.WriteAsync(Team, transaction => transaction.OnCommitted(() => order.Add(i)));
            Assert.Contains(i, order.ToArray());
        }).ToArray();
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();

        Assert.Equal(Enumerable.Range(0, 10), order);
    }

    [Fact]
    public async Task OnCommitted_JobFails_DoesNotRun()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        var ran = false;

        await Assert.ThrowsAsync<FormatException>(() => store.WriteAsync(Team, transaction =>
        {
            transaction.OnCommitted(() => ran = true);
            throw new FormatException();
        }).Within());

        Assert.False(ran);
    }

    [Fact]
    public async Task OnCommitted_EffectThrows_IsLoggedAndTheWriteSucceeds()
    {
        Fixture.Logs.Announce("EffectFailed");
        await using var store = await Fixture.OpenTestStoreAsync();

        await store.WriteAsync(Team, transaction =>
        {
            transaction.InsertNote("a");
            transaction.OnCommitted(() => throw new FormatException());
        }).Within();

        Assert.Equal(["a"], await store.NotesAsync());
    }

    [Fact]
    public async Task NowMs_ClockIsSetBack_DoesNotGoBack()
    {
        var time = new ManualTimeProvider();
        await using var store = await Fixture.OpenTestStoreAsync(time: time);

        var first = await store.WriteAsync(Team, transaction => transaction.NowMs).Within();
        time.SetClock(time.GetUtcNow() - TimeSpan.FromHours(1));
        var second = await store.WriteAsync(Team, transaction => transaction.NowMs).Within();

        Assert.Equal(first, second);
    }

    [Fact]
    public async Task Dispose_JobsQueued_AreWritten()
    {
        var options = await Fixture.CreateTestDatabaseAsync();
        var store = await Fixture.OpenAsync(options);

        var held = await store.HoldWriterAsync();
        var write = store.AddNoteAsync("a");
        var dispose = store.DisposeAsync().AsTask();
        await held.DisposeAsync();
        await dispose.Within();

        await write.Within();
        Assert.Equal(["a"], Fixture.CommittedNotes(options));
        await Assert.ThrowsAsync<StoreUnavailableException>(() => store.AddNoteAsync("b").Within());
    }

    [Fact]
    public async Task Transaction_UsedAfterItsJob_Throws()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var leaked = await store.WriteAsync(Team, transaction => transaction).Within();

        Assert.Throws<InvalidOperationException>(() => leaked.Execute("delete from notes"));
    }

    [Fact]
    public async Task Read_RowCommittedBetweenStatements_SnapshotDoesNotSeeIt()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        var (before, after) = await store.ReadAsync(TeamScope.Of(Team), async reader =>
        {
            var first = await reader.QuerySingleAsync<long>("select count(*) from notes");
            await store.AddNoteAsync("a").Within();
            return (first, await reader.QuerySingleAsync<long>("select count(*) from notes"));
        }).Within();

        Assert.Equal((0, 0), (before, after));
    }

    [Fact]
    public async Task Read_StatementWrites_IsRefused()
    {
        await using var store = await Fixture.OpenTestStoreAsync();

        await Assert.ThrowsAnyAsync<Exception>(() => store.ReadAsync(
            TeamScope.Of(Team), reader => reader.QueryAsync<string>("delete from notes returning note_id")).Within());
    }

    [Fact]
    public async Task Rows_PositionalRecord_AreConvertedWhateverTheDriverReturns()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        byte[] payload = [1, 2, 3];

        var note = await store.WriteAsync(Team, transaction =>
        {
            transaction.Execute(
                "insert into notes(note_id, team_id, body, payload, pinned, size) values ('a', @Team, 'b', @payload, @pinned, 7)",
                new { Team, payload, pinned = true });
            return transaction.QuerySingle<NoteRow>("select size, pinned, payload, parent_id, note_id from notes");
        }).Within();

        Assert.Equal(("a", true, 7, null), (note.NoteId, note.Pinned, note.Size, note.ParentId));
        Assert.Equal(payload, note.Payload);
    }

    [Fact]
    public async Task Rows_PositionalRecordStruct_AreConvertedWhateverTheDriverReturns()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        await store.AddNoteAsync("a").Within();

        var note = await store.ReadAsync(
            TeamScope.Of(Team), reader => reader.QuerySingleAsync<NoteFlags>("select size, pinned, parent_id from notes")).Within();

        Assert.Equal(new NoteFlags(false, 0, null), note);
    }

    [Fact]
    public async Task In_ListOfValues_FindsThemAll()
    {
        await using var store = await Fixture.OpenTestStoreAsync();
        foreach (var id in new[] { "a", "b,\"", "c" })
        {
            await store.AddNoteAsync(id).Within();
        }
        var sql = $"select note_id from notes where {store.Dialect.In("note_id", "ids")} order by note_id";

        var found = await store.ReadAsync(
            TeamScope.Of(Team), reader => reader.QueryAsync<string>(sql, new { ids = reader.Dialect.InValue(["c", "b,\"", "x"]) })).Within();
        var none = await store.ReadAsync(
            TeamScope.Of(Team), reader => reader.QueryAsync<string>(sql, new { ids = reader.Dialect.InValue(Array.Empty<string>()) })).Within();

        Assert.Equal(["b,\"", "c"], found);
        Assert.Empty(none);
    }

    private readonly record struct NoteFlags(bool Pinned, int Size, string? ParentId);

    private sealed record NoteRow(string NoteId, bool Pinned, int Size, byte[]? Payload, string? ParentId);
}
