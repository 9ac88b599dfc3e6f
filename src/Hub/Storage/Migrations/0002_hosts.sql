-- A token was claimed: from then on it leads back to its host for good. Tokens that have a host count as claimed, since nothing tells
-- those that were from those that never were, and a node must not lose its way back.
alter table join_tokens add column claimed_at bigint;
update join_tokens set claimed_at = created_at where host_id is not null;

-- A person named the host: the name its node sends at each claim no longer counts.
alter table hosts add column name_set_at bigint;

-- What a host should be against what it says it is.
create table host_properties (
    team_id text not null,
    host_id text not null references hosts (host_id) on delete cascade,
    name text not null,
    -- JSON; null where nobody wants anything.
    desired text,
    desired_generation bigint not null,
    desired_by text not null,
    desired_at bigint,
    reported text,
    reported_generation bigint not null,
    reported_at bigint,
    error text not null,
    primary key (host_id, name)
);
-- The hosts that are not as people want them.
create index host_properties_drift on host_properties (host_id)
    where desired is not null and (reported_generation < desired_generation or error <> '');
