-- Organisations hold teams; a plan says how long a team's history is kept (null: for ever).
create table orgs (
    org_id text not null primary key,
    name text not null,
    created_by text,
    created_at bigint not null
);

create table plans (
    plan text not null primary key,
    retention_days bigint
);
insert into plans (plan, retention_days) values ('free', 30), ('pro', 90), ('team', null);

alter table teams add column org_id text references orgs (org_id);
alter table teams add column plan text not null default 'team';
alter table teams add column suspended_at bigint;
alter table teams add column suspended_reason text not null default '';
create index teams_org on teams (org_id);
insert into orgs (org_id, name, created_at) select 'org-' || team_id, name, created_at from teams;
update teams set org_id = 'org-' || team_id;

-- Null for people who sign in elsewhere; external_id is their id there.
alter table users add column password_hash text;
alter table users add column external_id text;
create unique index users_external_id on users (external_id);

-- One row at most: who signed up first. Two first ones, on two replicas, meet here.
create table founders (
    seat bigint not null primary key,
    user_id text not null
);

-- A session is a family of refresh tokens, of which each is good once.
create table sessions (
    session_id text not null primary key,
    user_id text not null references users (user_id),
    created_at bigint not null,
    expires_at bigint not null,
    revoked_at bigint
);
create index sessions_user on sessions (user_id);
create index sessions_expires on sessions (expires_at);

create table refresh_tokens (
    token_hash text not null primary key,
    session_id text not null references sessions (session_id) on delete cascade,
    created_at bigint not null,
    used_at bigint
);
create index refresh_tokens_session on refresh_tokens (session_id);

create table password_resets (
    token_hash text not null primary key,
    user_id text not null references users (user_id),
    expires_at bigint not null
);
create index password_resets_user on password_resets (user_id);
create index password_resets_expires on password_resets (expires_at);

create table invites (
    invite_id text not null primary key,
    team_id text not null references teams (team_id),
    email text not null,
    role text not null,
    secret_hash text not null,
    created_by text not null,
    created_at bigint not null,
    expires_at bigint not null,
    accepted_at bigint,
    accepted_by text,
    revoked_at bigint,
    constraint invites_secret_hash unique (secret_hash)
);
create index invites_team on invites (team_id, created_at);
