-- One table for all collections that nodes sync. What lists filter by stands in columns; which field of its message each holds is the
-- collection's choice (Hub.Records.RecordCollections).
create table records (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    collection text not null,
    record_id text not null,
    version bigint not null,
    journal_id text not null,
    seq bigint not null,
    -- 'node' or 'cloud': who wrote the stored version.
    origin text not null,
    snapshot_id text not null,
    status text not null,
    agent text not null,
    level text not null,
    parent_id text not null,
    body {blob},
    body_hash text not null,
    changed_at bigint not null,
    deleted_at bigint,
    primary key (host_id, collection, record_id)
);
create index records_host_version on records (host_id, collection, version, record_id);
create index records_host_status on records (host_id, collection, status, version, record_id);
create index records_host_parent on records (host_id, collection, parent_id, version, record_id);
create index records_team on records (team_id, collection, host_id, record_id);
create index records_deleted on records (deleted_at) where deleted_at is not null;
create index records_changed on records (collection, changed_at);

-- The hash of none: the next time its node sends a task, the columns that tasks did not have are filled.
insert into records (team_id, host_id, collection, record_id, version, journal_id, seq, origin, snapshot_id, status, agent, level, parent_id,
    body, body_hash, changed_at, deleted_at)
select team_id, host_id, 'tasks', task_id, version, journal_id, seq, origin, snapshot_id, status, '', '', '', body, '', changed_at, deleted_at
from tasks;
drop table tasks;

-- What was used per day, by agent (model is '') and by model (agent is ''). A millionth of a US dollar is the unit of cost.
create table usage_ledger (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    day text not null,
    agent text not null,
    model text not null,
    cost_micros bigint not null,
    input_tokens bigint not null,
    output_tokens bigint not null,
    event_count bigint not null,
    primary key (host_id, day, agent, model)
);

-- What a person decided, for nodes that poll decisions.
create table run_decisions (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    event_id text not null,
    decision text not null,
    decided_by text not null,
    decided_at bigint not null,
    acked_at bigint,
    primary key (host_id, event_id)
);
