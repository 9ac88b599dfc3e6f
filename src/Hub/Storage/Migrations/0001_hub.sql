-- One text for both engines: text ids (UUIDv7 where the Hub makes them), bigint epoch milliseconds, JSON and messages as opaque values.
-- Every table that belongs to a team has team_id: row level security hangs on it.

create table teams (
    team_id text not null primary key,
    name text not null,
    created_at bigint not null
);

create table users (
    user_id text not null primary key,
    email text not null,
    name text not null,
    created_at bigint not null,
    constraint users_email unique (email)
);

create table team_members (
    team_id text not null references teams (team_id),
    user_id text not null references users (user_id),
    role text not null,
    created_at bigint not null,
    primary key (team_id, user_id)
);
create index team_members_user on team_members (user_id);

create table api_keys (
    api_key_id text not null primary key,
    team_id text not null references teams (team_id),
    name text not null,
    secret_hash text not null,
    role text not null,
    created_by text not null,
    created_at bigint not null,
    revoked_at bigint,
    constraint api_keys_secret_hash unique (secret_hash)
);

create table hosts (
    host_id text not null primary key,
    team_id text not null references teams (team_id),
    name text not null,
    host_type text not null,
    capabilities text not null,
    labels text not null,
    node_version text not null,
    platform text not null,
    state text not null,
    state_reason text not null,
    state_since bigint not null,
    last_seen_at bigint,
    last_heartbeat_at bigint,
    -- The last full heartbeat by REST and the last status on a link, as the node sent them.
    heartbeat text not null,
    node_status text not null,
    cloned_since bigint,
    enrolment_key text,
    created_at bigint not null,
    revoked_at bigint,
    -- A deleted host keeps its row and its dead credentials, so that its node is told DELETED whenever it comes back.
    deleted_at bigint,
    constraint hosts_enrolment_key unique (team_id, enrolment_key)
);
create index hosts_team_name on hosts (team_id, name, host_id);

create table credentials (
    credential_id text not null primary key,
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    secret_hash text not null,
    created_at bigint not null,
    -- Set when a newer credential replaces it: it stays valid for the grace time.
    expires_at bigint,
    revoked_at bigint,
    constraint credentials_secret_hash unique (secret_hash)
);
create index credentials_host on credentials (host_id);

create table join_tokens (
    join_token_id text not null primary key,
    team_id text not null references teams (team_id),
    -- Set by the first claim, or at creation: the token always leads back to this host.
    host_id text references hosts (host_id) on delete cascade,
    secret_hash text not null,
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint,
    constraint join_tokens_secret_hash unique (secret_hash)
);
create index join_tokens_host on join_tokens (host_id);

-- One row per host: the fence and all positions of its link.
create table links (
    host_id text not null primary key references hosts (host_id) on delete cascade,
    team_id text not null,
    epoch bigint not null,
    journal_id text not null,
    -- Epoch under which the journal was last written: an older copy of it shows itself by a lower one.
    journal_epoch bigint not null,
    instance_id text not null,
    link_id text not null,
    replica_id text not null,
    state text not null,
    protocol bigint not null,
    command_types text not null,
    connected_at bigint not null,
    ended_at bigint,
    commands_seq bigint not null,
    chat_seq bigint not null,
    data_seq bigint not null,
    bulk_seq bigint not null,
    -- Downstream chat: numbers belong to the host. Given so far, and stored by the node so far.
    chat_down_seq bigint not null,
    chat_down_acked bigint not null
);
create index links_replica on links (replica_id, state);

create table replicas (
    replica_id text not null primary key,
    started_at bigint not null,
    renewed_at bigint not null
);

create table tasks (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    task_id text not null,
    version bigint not null,
    journal_id text not null,
    seq bigint not null,
    -- 'node' or 'cloud': who wrote the stored version.
    origin text not null,
    snapshot_id text not null,
    status text not null,
    body {blob},
    body_hash text not null,
    changed_at bigint not null,
    deleted_at bigint,
    primary key (host_id, task_id)
);
create index tasks_host_version on tasks (host_id, version, task_id);
create index tasks_host_status on tasks (host_id, status, version, task_id);
create index tasks_deleted on tasks (deleted_at) where deleted_at is not null;

-- The re-sync a host is in the middle of, per collection.
create table snapshots (
    host_id text not null references hosts (host_id) on delete cascade,
    team_id text not null,
    collection text not null,
    snapshot_id text not null,
    base_seq bigint not null,
    started_at bigint not null,
    primary key (host_id, collection)
);

create table sync_conflicts (
    conflict_id text not null primary key,
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    collection text not null,
    record_id text not null,
    base_version bigint not null,
    stored_version bigint not null,
    incoming_version bigint not null,
    stored_body {blob},
    incoming_body {blob},
    created_at bigint not null,
    resolved_at bigint
);
create index sync_conflicts_host on sync_conflicts (host_id, created_at);

create table rejected_deltas (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    rejected_id text not null,
    journal_id text not null,
    lane text not null,
    seq bigint not null,
    record_id text not null,
    reason text not null,
    detail text not null,
    created_at bigint not null,
    noted_at bigint,
    primary key (host_id, rejected_id)
);

create table chat_messages (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    message_id text not null,
    direction text not null,
    channel text not null,
    sent_at bigint not null,
    body {blob},
    body_hash text not null,
    received_at bigint not null,
    -- Messages to a node only: its downstream number, when a poll was handed it, when the node had it.
    down_seq bigint,
    handed_out_at bigint,
    delivered_at bigint,
    idempotency_key text,
    fingerprint text,
    primary key (host_id, message_id),
    constraint chat_messages_idempotency_key unique (team_id, host_id, idempotency_key)
);
create unique index chat_messages_down on chat_messages (host_id, down_seq);
create index chat_messages_received on chat_messages (host_id, direction, received_at);
create index chat_messages_handed_out on chat_messages (host_id, handed_out_at);
create index chat_messages_sent on chat_messages (host_id, sent_at, message_id);
create index chat_messages_waiting on chat_messages (host_id, down_seq) where direction = 'to_node' and delivered_at is null;

create table commands (
    command_id text not null primary key,
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    type text not null,
    payload text not null,
    state text not null,
    reason text not null,
    attempt bigint not null,
    max_attempts bigint not null,
    idempotency_key text,
    fingerprint text not null,
    created_by text not null,
    created_at bigint not null,
    updated_at bigint not null,
    accept_by bigint not null,
    finish_within bigint not null,
    offered_until bigint,
    accepted_at bigint,
    finish_by bigint,
    finished_at bigint,
    -- Journal that holds the attempt: a new journal means that the attempt is lost.
    journal_id text not null,
    cancel_requested_at bigint,
    cancel_by bigint,
    cancel_reason text not null,
    result text,
    error text not null,
    late_result text,
    traceparent text not null
);
create unique index commands_idempotency_key on commands (team_id, host_id, idempotency_key);
create index commands_host_created on commands (host_id, created_at, command_id);
-- The open commands of a host, and of all hosts by the time at which something is due.
create index commands_open on commands (host_id, state, created_at)
    where state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED', 'ACCEPTED', 'RUNNING');
create index commands_accept_by on commands (accept_by) where state in ('AWAITING_APPROVAL', 'QUEUED', 'OFFERED');
create index commands_offered_until on commands (offered_until) where state = 'OFFERED';
create index commands_finish_by on commands (finish_by) where state in ('ACCEPTED', 'RUNNING');
create index commands_cancel_by on commands (cancel_by) where cancel_by is not null;

create table command_timeline (
    team_id text not null,
    command_id text not null references commands (command_id) on delete cascade,
    step bigint not null,
    state text not null,
    reason text not null,
    attempt bigint not null,
    at bigint not null,
    detail text not null,
    primary key (command_id, step)
);

create table team_counters (
    team_id text not null primary key,
    event_seq bigint not null
);

-- What changed, not what it changed to: watchers read the record itself.
create table events (
    team_id text not null,
    seq bigint not null,
    kind text not null,
    host_id text,
    entity_id text not null,
    version bigint not null,
    at bigint not null,
    primary key (team_id, seq)
);
create index events_at on events (at);

create table watch_tickets (
    ticket_hash text not null primary key,
    team_id text not null,
    principal text not null,
    expires_at bigint not null
);
create index watch_tickets_expires on watch_tickets (expires_at);
