-- An index costs every write of a row that it holds, so each holds the rows only that the lists it serves can show; these lists say the
-- condition themselves, because the planner takes a partial index only where it follows from the statement.
drop index records_host_status;
create index records_status on records (host_id, collection, status, version, record_id) where status <> '';
drop index records_host_parent;
create index records_parent on records (host_id, collection, parent_id, version, record_id) where parent_id <> '';
create index records_agent on records (host_id, collection, agent, version, record_id) where agent <> '';

-- Who was not heard of for a time is asked of approvals without a link alone.
drop index records_changed;
create index records_polled on records (changed_at) where collection = 'run_approvals' and journal_id = '' and deleted_at is null;

-- What changed on one host, among what changed in its team.
create index events_host on events (team_id, host_id, seq) where host_id is not null;
