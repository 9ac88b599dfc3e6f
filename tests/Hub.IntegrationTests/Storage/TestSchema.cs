using Dapper;
using Hub.Storage;
using Hub.TestKit;

namespace Hub.IntegrationTests.Storage;

/// <summary>The tables the engine itself needs, and notes as somebody's data.</summary>
internal static class TestSchema
{
    public const string Team = "team-a";

    public static readonly Migration First = new(1, "first", """
        create table team_counters (team_id text not null primary key, event_seq bigint not null);
        create table events (
            team_id text not null, seq bigint not null, kind text not null, host_id text, entity_id text not null,
            version bigint not null, at bigint not null, primary key (team_id, seq));
        create table links (
            host_id text not null primary key, team_id text not null, epoch bigint not null, commands_seq bigint not null default 0,
            chat_seq bigint not null default 0, data_seq bigint not null default 0, bulk_seq bigint not null default 0);
        create table parents (parent_id text not null primary key, team_id text not null);
        create table notes (
            note_id text not null primary key,
            team_id text not null,
            body text not null,
            payload {blob},
            pinned boolean not null default false,
            size integer not null default 0,
            parent_id text,
            late_parent_id text,
            constraint notes_body unique (team_id, body),
            constraint notes_size check (size >= 0),
            constraint notes_parent foreign key (parent_id) references parents (parent_id),
            constraint notes_late_parent foreign key (late_parent_id) references parents (parent_id) deferrable initially deferred);
        create unique index notes_pinned on notes (team_id, size) where pinned;
        """);

    /// <param name="time">Null for one that stands still, so that no group ends early because its jobs took their time.</param>
    public static async Task<Store> OpenTestStoreAsync(
        this StoreFixture fixture, Func<StoreOptions, StoreOptions>? change = null, TimeProvider? time = null)
    {
        var options = await fixture.CreateTestDatabaseAsync();
        return await fixture.OpenAsync(change is null ? options : change(options), time ?? new ManualTimeProvider());
    }

    /// <summary>One writer on either engine, so that a held writer holds every team.</summary>
    public static async Task<StoreOptions> CreateTestDatabaseAsync(this StoreFixture fixture) =>
        await fixture.CreateDatabaseAsync() with { Migrations = [First], WriterCount = 1 };

    public static void InsertNote(this StoreTransaction transaction, string noteId, string team = Team) =>
        transaction.Execute("insert into notes(note_id, team_id, body) values (@noteId, @team, @noteId)", new { noteId, team });

    public static Task AddNoteAsync(this Store store, string noteId, string team = Team) =>
        store.WriteAsync(team, transaction => transaction.InsertNote(noteId, team));

    public static Task<IReadOnlyList<string>> NotesAsync(this Store store) =>
        store.ReadAsync(TeamScope.System, reader => reader.QueryAsync<string>("select note_id from notes order by note_id"));

    /// <summary>What another connection sees, hence what is committed.</summary>
    public static List<string> CommittedNotes(this StoreFixture fixture, StoreOptions options)
    {
        using var connection = fixture.Connect(options);
        return connection.Query<string>("select note_id from notes order by note_id").AsList();
    }

    public static Task AddLinkAsync(this Store store, string hostId, long epoch, string team = Team) =>
        store.WriteAsync(team, transaction => transaction.Execute(
            "insert into links(host_id, team_id, epoch) values (@hostId, @team, @epoch)", new { hostId, team, epoch }));

    /// <summary>Copies a table's only row, or the one that is meant, so many times; each copy has values of its own in some columns.</summary>
    public static Task CopyRowAsync(this Store store, string team, string table, string[] own, int copies, string which = "") =>
        store.WriteAsync(team, tx =>
        {
            var columns = ((IDictionary<string, object>)tx.Query<object>($"select * from {table} limit 1")[0]).Keys;
            var values = columns.Select(column => own.Contains(column) ? "'copy-' || i" : column);
            tx.Execute(
                $"""
                insert into {table} ({string.Join(", ", columns)})
                with recursive n (i) as (select 1 union all select i + 1 from n where i < @copies)
                select {string.Join(", ", values)} from {table} cross join n {which}
                """,
                new { copies });
        });

    /// <summary>Occupies the writer until disposed: what is written meanwhile becomes one group.</summary>
    public static async Task<HeldWriter> HoldWriterAsync(this Store store, string team = Team, Action? onCommitted = null)
    {
        var held = new HeldWriter(store, team, onCommitted ?? (() => { }));
        await held.Holding.Within();
        return held;
    }
}

internal sealed class HeldWriter : IAsyncDisposable
{
    private readonly TaskCompletionSource _holding = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly ManualResetEventSlim _release = new();

    private readonly Task _job;

    public HeldWriter(Store store, string team, Action onCommitted) => _job = store.WriteAsync(team, transaction =>
    {
        transaction.OnCommitted(onCommitted);
        _holding.TrySetResult();
        _release.Wait(WithinExtensions.DefaultLimit);
    });

    public Task Holding => _holding.Task;

    public async ValueTask DisposeAsync()
    {
        _release.Set();
        await _job.Within();
        _release.Dispose();
    }
}
