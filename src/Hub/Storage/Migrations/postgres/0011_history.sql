create index events_host on events (host_id, seq) where host_id is not null;
