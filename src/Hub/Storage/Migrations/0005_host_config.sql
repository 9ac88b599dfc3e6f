-- Ciphertexts of the dashboard for a node, as they were given. The Hub has no key to them.
create table host_secrets (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    name text not null,
    scope text not null,
    ciphertext text not null,
    iv text not null,
    auth_tag text not null,
    wrapped_dek text not null,
    updated_by text not null,
    updated_at bigint not null,
    primary key (host_id, name, scope)
);

create table host_webhooks (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    webhook_id text not null,
    provider text not null,
    events text not null,
    signing_secret_name text not null,
    active boolean not null,
    primary key (host_id, webhook_id)
);

-- What a team's nodes may use. The credentials are sealed with HUB_SECRETS_KEY.
create table team_capabilities (
    team_id text not null references teams (team_id),
    name text not null,
    sealed text not null,
    updated_by text not null,
    updated_at bigint not null,
    primary key (team_id, name)
);

-- Which commands of a team wait for a person.
create table approval_policies (
    team_id text not null references teams (team_id),
    policy_id text not null,
    name text not null,
    command_types text not null,
    approver_role text not null,
    creator_may_decide boolean not null,
    updated_by text not null,
    updated_at bigint not null,
    primary key (team_id, policy_id)
);

-- The rule that held a command, as it was then: a policy changed or removed later does not loosen it.
alter table commands add column approval_policy text not null default '';
alter table commands add column approver_role text not null default '';
alter table commands add column creator_may_decide boolean not null default true;
update commands set approver_role = 'admin' where state = 'AWAITING_APPROVAL';

create index commands_awaiting on commands (team_id, created_at, command_id) where state = 'AWAITING_APPROVAL';
