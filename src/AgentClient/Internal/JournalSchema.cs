namespace Hub.AgentClient.Internal;

/// <summary>The tables of the journal file. A change of this text raises <see cref="Version"/> and brings a step from the version before.</summary>
internal static class JournalSchema
{
    /// <summary>Kept in SQLite's user_version.</summary>
    public const int Version = 1;

    public const string Text = """
        create table meta(key text primary key, value text not null);

        -- last_seq: highest number ever given; acked_seq: everything up to it is stored by the Hub.
        create table lanes(lane integer primary key, last_seq integer not null, acked_seq integer not null);

        -- id: order of changes. seq is null until a batch is formed for sending. The data lane keeps one row per record.
        create table outbox(id integer primary key autoincrement, lane integer not null, record_key text not null, seq integer, entry blob not null);
        create unique index outbox_record on outbox(record_key) where lane = 3;
        create index outbox_key on outbox(lane, record_key);
        create index outbox_seq on outbox(lane, seq, id);

        -- whole: mirror holds every record the Hub can have of this node, so that a snapshot may be made from it.
        create table collections(collection integer primary key, whole integer not null, snapshot_pending integer not null);
        create table mirror(collection integer not null, record_key text not null, entry blob not null, primary key(collection, record_key));
        create table staging(collection integer not null, record_key text not null, entry blob, primary key(collection, record_key));

        create table commands(command_id text not null, attempt integer not null, state integer not null, offer blob not null,
            outcome blob, finished_at integer, primary key(command_id, attempt));
        create index commands_state on commands(state, finished_at);
        create table uploads(command_id text not null, attempt integer not null, result blob not null, primary key(command_id, attempt));

        create table inbox(seq integer primary key, message blob not null);
        """;
}
