-- What a plan keeps for a time only, as its record's collection and status say. An index costs every write of a row that it holds: this one
-- holds what is over, and so changes no more, not what nodes write again and again.
alter table records add column is_history bigint not null default 0;
update records set is_history = 1
where deleted_at is null and (collection in ('task_comments', 'reflections', 'run_events', 'trust_events')
    or (collection = 'tasks' and status in ('done', 'cancelled', 'resolved_externally'))
    or (collection = 'insights' and status = 'closed')
    or (collection = 'runs' and status in ('completed', 'failed', 'cancelled', 'archived')));
drop index records_dated;
create index records_history on records (team_id, collection, version) where is_history = 1;

-- Events get older in the order of their numbers, and a host is of one team.
drop index events_at;
drop index events_host;
