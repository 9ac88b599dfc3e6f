-- Events in the order of their numbers in one tree, not in that of their rows and of an index beside it.
alter table events rename to events_before;
create table events (
    team_id text not null,
    seq bigint not null,
    kind text not null,
    host_id text,
    entity_id text not null,
    version bigint not null,
    at bigint not null,
    primary key (team_id, seq)
) without rowid;
insert into events select team_id, seq, kind, host_id, entity_id, version, at from events_before;
drop table events_before;
create index events_host on events (host_id, seq) where host_id is not null;
