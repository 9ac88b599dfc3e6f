-- Who did what in a team; written in the transaction of the act, never changed, never removed.
create table audit_log (
    audit_id text not null primary key,
    team_id text not null references teams (team_id),
    at bigint not null,
    actor_kind text not null,
    actor text not null,
    action text not null,
    -- What it was done to: a member, a key, a host, a command.
    subject text not null,
    host_id text,
    detail text not null
);
create index audit_log_team on audit_log (team_id, at, audit_id);
