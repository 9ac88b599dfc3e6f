using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

/// <summary>Jobs that share their work, and statements over many rows.</summary>
public abstract class SharedWorkTests(StoreFixture fixture)
{
    private const string Team = TestSchema.Team;

    [Fact]
    public async Task Write_InputsThatMeetInAGroup_AreWorkedOnAtOnceInTheirOrder()
    {
        var work = new Notes();
        await using var store = await LinkedAsync();

        var held = await store.HoldWriterAsync();
        Task<string>[] writes = [.. Enumerable.Range(0, 20).Select(i => NoteAsync(store, work, $"n{i:00}"))];
        await held.DisposeAsync();

        var answers = await Task.WhenAll(writes).Within();
        Assert.Equal(Enumerable.Range(0, 20).Select(i => $"n{i:00} of 20"), answers);
        Assert.Equal([20], work.Runs);
        Assert.Equal(20, (await store.NotesAsync()).Count);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(6)]
    public async Task Write_OneInputFails_ItAloneBearsTheFailureAndNoneIsTriedAgainTwice(int culprit)
    {
        var work = new Notes();
        await using var store = await LinkedAsync();
        await store.AddNoteAsync("taken");

        var held = await store.HoldWriterAsync();
        Task<string>[] writes = [.. Enumerable.Range(0, 7).Select(i => NoteAsync(store, work, i == culprit ? "taken" : $"n{i}"))];
        await held.DisposeAsync();

        var failure = await Assert.ThrowsAsync<ConstraintException>(() => writes[culprit].Within());
        Assert.Equal(ConstraintKind.Unique, failure.Kind);
        await Task.WhenAll(writes.Where((_, i) => i != culprit)).Within();
        Assert.Equal([7, 1, 1, 1, 1, 1, 1, 1], work.Runs);
        Assert.Equal(7, (await store.NotesAsync()).Count);
    }

    [Fact]
    public async Task Write_FenceOfOneIsOld_ItIsLeftOutAndTheOthersAreWorkedOn()
    {
        var work = new Notes();
        await using var store = await LinkedAsync();

        var held = await store.HoldWriterAsync();
        var (first, old, last) = (NoteAsync(store, work, "first"), NoteAsync(store, work, "old", epoch: 0), NoteAsync(store, work, "last"));
        await held.DisposeAsync();

        await Assert.ThrowsAsync<LinkFencedException>(() => old.Within());
        await Task.WhenAll(first, last).Within();
        Assert.Equal(["first", "last"], await store.NotesAsync());
    }

    [Fact]
    public async Task Write_OfSeveralTeams_EachTeamIsWorkedOnByItself()
    {
        var work = new Notes();
        await using var store = await LinkedAsync();
        await store.AddLinkAsync("other host", 1, "team-b");

        var held = await store.HoldWriterAsync();
        Task<string>[] writes =
        [
            .. Enumerable.Range(0, 3).SelectMany(i => new[]
            {
                NoteAsync(store, work, $"a{i}"),
                store.WriteSharedAsync("team-b", new Fence("other host", 1), work, ("team-b", $"b{i}"), isBulk: true),
            }),
        ];
        await held.DisposeAsync();

        Assert.All(await Task.WhenAll(writes).Within(), answer => Assert.EndsWith(" of 3", answer, StringComparison.Ordinal));
        Assert.Equal(6, (await store.NotesAsync()).Count);
    }

    [Fact]
    public async Task Write_OtherSharedWorkLiesBetween_EachIsWorkedOnAtOnceInItsOrder()
    {
        var (work, other) = (new Notes(), new Notes());
        await using var store = await LinkedAsync();

        var held = await store.HoldWriterAsync();
        Task<string>[] writes = [.. Enumerable.Range(0, 6).Select(i => NoteAsync(store, i % 2 == 0 ? work : other, $"n{i}"))];
        await held.DisposeAsync();

        Assert.Equal(Enumerable.Range(0, 6).Select(i => $"n{i} of 3"), await Task.WhenAll(writes).Within());
        Assert.Equal([3, 3], work.Runs.Concat(other.Runs));
    }

    [Fact]
    public async Task Write_OtherWorkOfTheTeamLiesBetween_KeepsItsPlace()
    {
        var work = new Notes();
        var order = new List<string>(); // Only the writer's thread adds.
        await using var store = await LinkedAsync();

        var held = await store.HoldWriterAsync();
        Task[] writes =
        [
            NoteAsync(store, work, "n0"),
            store.WriteBulkAsync(Team, new Fence("host", 1), tx =>
            {
                order.AddRange(tx.Query<string>("select note_id from notes order by note_id"));
                return true;
            }),
            NoteAsync(store, work, "n1"),
        ];
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();

        Assert.Equal(["n0"], order);
    }

    [Fact]
    public async Task Statement_OverManyRows_WritesAndFindsEachWithItsNulls()
    {
        var find = new RowsStatement<string>(
            "select n.note_id, n.payload, n.size from {rows} join notes n on n.note_id = r.note_id",
            Column<string>.Of("note_id", id => id));
        await using var store = await fixture.OpenTestStoreAsync(time: new ManualTimeProvider());

        var found = await store.WriteAsync(Team, tx =>
        {
            tx.Execute(Insert, [new Note("a", [1, 2], 3), new Note("b", null, 4), new Note("c", [], 5)]);
            return tx.Query<string, Note>(find, ["b", "none", "a"]);
        }).Within();

        Assert.Equal(2, found.Count);
        Assert.Equal([1, 2], found.Single(note => note.NoteId == "a").Payload);
        Assert.Equal((4, null), (found.Single(note => note.NoteId == "b").Size, found.Single(note => note.NoteId == "b").Payload));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(4)]
    public async Task Statement_RowsThatEndAJobAreRefused_ItAloneBearsTheFailure(int culprit)
    {
        await using var store = await fixture.OpenTestStoreAsync();
        await store.AddNoteAsync("taken");

        var held = await store.HoldWriterAsync();
        Task<int>[] writes = [.. Enumerable.Range(0, 5).Select(i => store.WriteAsync(Team, tx =>
        {
            tx.Execute(Insert, [new Note($"first of {i}", null, 0)]);
            tx.Execute(Insert, [new Note(i == culprit ? "taken" : $"second of {i}", null, 0)]);
            return i;
        }))];
        await held.DisposeAsync();

        var failure = await Assert.ThrowsAsync<ConstraintException>(() => writes[culprit].Within());
        Assert.Equal(ConstraintKind.Unique, failure.Kind);
        var written = await Task.WhenAll(writes.Where((_, i) => i != culprit)).Within();
        Assert.Equal(Enumerable.Range(0, 5).Where(i => i != culprit), written);
        Assert.Equal(1 + (2 * 4), (await store.NotesAsync()).Count);
    }

    /// <summary>Parsers throw what drivers throw too.</summary>
    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Write_JobThrowsWhatLooksLikeAnOutage_ItIsItsOwn(int others)
    {
        await using var store = await fixture.OpenTestStoreAsync();

        var held = await store.HoldWriterAsync();
        Task[] notes = [.. Enumerable.Range(0, others).Select(i => store.AddNoteAsync($"n{i}"))];
        var cut = store.WriteAsync<bool>(Team, _ => throw new IOException("cut short"));
        var late = store.WriteAsync<bool>(Team, _ => throw new TimeoutException("late"));
        await held.DisposeAsync();

        await Assert.ThrowsAsync<IOException>(() => cut.Within());
        await Assert.ThrowsAsync<TimeoutException>(() => late.Within());
        await Assert.ThrowsAsync<IOException>(() => store.WriteAsync<bool>(Team, _ => throw new IOException("alone")).Within());
        await Task.WhenAll(notes).Within();
        Assert.Null(store.Condition.Outage);
    }

    [Fact]
    public async Task Statement_OnlyJobOfItsGroupIsRefused_NothingOfItIsStoredAndTheNextWorks()
    {
        await using var store = await fixture.OpenTestStoreAsync();
        await store.AddNoteAsync("taken");

        await Assert.ThrowsAsync<ConstraintException>(() => store.WriteAsync(Team, tx =>
        {
            tx.InsertNote("before");
            tx.AppendEvent(Team, "NOTE", hostId: null, "before", version: 1);
            tx.Execute(Insert, [new Note("taken", null, 0)]);
            return true;
        }).Within());

        await store.AddNoteAsync("after");
        Assert.Equal(["after", "taken"], await store.NotesAsync());
    }

    [Fact]
    public async Task Statement_NextJobIsOfAnotherTeam_RowsAreWrittenInTheirOwn()
    {
        await using var store = await fixture.OpenTestStoreAsync();
        var runs = 0; // Only the writer's thread counts.

        var held = await store.HoldWriterAsync();
        Task[] writes = [.. new[] { Team, "team-b", Team }.Select((team, i) => store.WriteAsync(team, tx =>
        {
            tx.Execute(InsertInto(team), [new Note($"n{i}", null, 0)]);
            return runs++;
        }))];
        await held.DisposeAsync();
        await Task.WhenAll(writes).Within();

        Assert.Equal(3, (await store.NotesAsync()).Count);
        Assert.Equal(3, runs); // A row that the scope refused would have let the group run again.
    }

    private static RowsStatement<Note> Insert { get; } = InsertInto(Team);

    private static RowsStatement<Note> InsertInto(string team) => new(
        "insert into notes (note_id, team_id, body, payload, size, parent_id) select * from {rows}",
        Column<Note>.Of("note_id", note => note.NoteId),
        Column<Note>.Of("team_id", _ => team),
        Column<Note>.Of("body", note => note.NoteId),
        Column<Note>.Of("payload", note => note.Payload),
        Column<Note>.Of("size", note => note.Size),
        Column<Note>.Of("parent_id", _ => (string?)null));

    private async Task<Store> LinkedAsync()
    {
        var store = await fixture.OpenTestStoreAsync(time: new ManualTimeProvider());
        await store.AddLinkAsync("host", 1);
        return store;
    }

    private static Task<string> NoteAsync(Store store, Notes work, string noteId, long epoch = 1) =>
        store.WriteSharedAsync(Team, new Fence("host", epoch), work, (Team, noteId), isBulk: true);

    private sealed record Note(string NoteId, byte[]? Payload, long Size);

    /// <summary>Inserts notes and tells each how many there were with it.</summary>
    private sealed class Notes : ISharedWork<(string Team, string NoteId), string>
    {
        /// <summary>Inputs of each run; only the writer's thread adds.</summary>
        public List<int> Runs { get; } = [];

        public int Weight((string Team, string NoteId) input) => 1;

        public IReadOnlyList<string> Run(StoreTransaction transaction, IReadOnlyList<(string Team, string NoteId)> inputs)
        {
            Runs.Add(inputs.Count);
            foreach (var (team, noteId) in inputs)
            {
                transaction.InsertNote(noteId, team);
            }

            return [.. inputs.Select(input => $"{input.NoteId} of {inputs.Count}")];
        }
    }
}

public sealed class SqliteSharedWorkTests(SqliteStoreFixture fixture) : SharedWorkTests(fixture), IClassFixture<SqliteStoreFixture>;

public sealed class PostgresSharedWorkTests(PostgresStoreFixture fixture) : SharedWorkTests(fixture), IClassFixture<PostgresStoreFixture>;
