-- What people and nodes say; host_id is empty where it is about no host.
create table feedback (
    feedback_id text not null primary key,
    team_id text not null,
    host_id text not null,
    kind text not null,
    status text not null,
    body {blob} not null,
    created_at bigint not null,
    version bigint not null,
    idempotency_key text,
    fingerprint text not null,
    constraint feedback_idempotency_key unique (team_id, idempotency_key)
);
create index feedback_team on feedback (team_id, created_at, feedback_id);
